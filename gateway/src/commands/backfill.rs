//! `inlet backfill`: what a source has kept from before.

use std::path::PathBuf;

use clap::Args;
use connector_sdk::{Entry, Timestamp};

use super::import::{DEFAULT_RATE, print};
use super::{Failure, block_on, stop_token};
use crate::config::{self, model};
use crate::jobs::{Job, backfill};

#[derive(Args)]
pub struct Options {
    /// Instance whose source is asked
    instance: String,
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// From this moment on: a date (2026-01-31) or a full RFC 3339 time; or `beginning`
    #[arg(long, value_name = "T")]
    since: String,
    /// Up to this moment, which is left out; without it, up to now
    #[arg(long, value_name = "T", value_parser = moment)]
    until: Option<Timestamp>,
    /// Messages a second at most; 0: as fast as Kafka takes them
    #[arg(long, default_value_t = DEFAULT_RATE)]
    rate: u32,
    /// Start anew, also where an earlier run stopped or ended
    #[arg(long)]
    again: bool,
    /// Print the sums as JSON
    #[arg(long)]
    json: bool,
}

/// A date, or a full time.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    model::moment(text)
        .ok_or_else(|| format!("'{text}' is no date like 2026-01-31 and no time like 2026-01-31T12:00:00Z"))
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let since = match options.since.as_str() {
        "beginning" => None,
        text => Some(moment(text).map_err(Failure::wrong_use)?),
    };
    if let (Some(since), Some(until)) = (since, options.until)
        && until <= since
    {
        return Err(Failure::wrong_use(format!("--until {until} is not after --since {since}")));
    }
    let mut loaded = config::load(&options.config, entries)?;
    let mut job = Job::new(&mut loaded, &options.instance)?;
    let what = backfill::Options { since, until: options.until, rate: options.rate, again: options.again };
    let sums = block_on(async { Ok(backfill::run(&mut job, &what, &stop_token()).await?) })?;
    print(&sums, options.json)
}
