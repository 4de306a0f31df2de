//! `inlet import`: messages from files.

use std::path::PathBuf;

use clap::Args;
use connector_sdk::Entry;
use serde_json::json;

use super::{Failure, block_on, output, stop_token};
use crate::config;
use crate::jobs::import::{self, Kind};
use crate::jobs::{Job, feed::Sums};

/// Inputs a second unless told otherwise: live input keeps its room.
pub const DEFAULT_RATE: u32 = 500;

#[derive(Args)]
pub struct Options {
    /// How the messages lie in files
    kind: Kind,
    /// File or folder
    path: PathBuf,
    /// Instance as whose input they count; ids and accounts are as it would give them
    #[arg(long = "as", value_name = "INSTANCE")]
    instance: String,
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// Messages a second at most; 0: as fast as Kafka takes them
    #[arg(long, default_value_t = DEFAULT_RATE)]
    rate: u32,
    /// Start anew, also where an earlier run stopped or ended
    #[arg(long)]
    again: bool,
    /// Leave lines `>From ` of an mbox as they are
    #[arg(long)]
    keep_quoting: bool,
    /// Print the sums as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let mut loaded = config::load(&options.config, entries)?;
    let job = Job::new(&mut loaded, &options.instance)?;
    let what = import::Options {
        kind: options.kind,
        path: options.path.clone(),
        unquote: !options.keep_quoting,
        rate: options.rate,
        again: options.again,
    };
    let sums = block_on(async { Ok(import::run(&job, &what, &stop_token()).await?) })?;
    print(&sums, options.json)
}

/// What the run did.
pub fn print(sums: &Sums, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::print(&format!("{}\n", json!(sums)));
    }
    let Sums { inputs, events, dead_lettered } = sums;
    output::print(&format!("{inputs} messages, {events} events, {dead_lettered} dead letters\n"))
}
