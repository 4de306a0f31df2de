//! `inlet erase`: what is kept of an event or a person is taken away.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use connector_sdk::Entry;

use super::replay::progress;
use super::{Failure, block_on, output, stop_signal};
use crate::archive::Archive;
use crate::archive::erase::{Found, Wanted, erase};
use crate::config;

/// Names shown on a dry run, of each sort.
const SHOWN_MAX: usize = 20;

#[derive(Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// The event with this id
    #[arg(long, value_name = "ID", required_unless_present = "sender")]
    event: Option<String>,
    /// Everything from the sender with this address, number or user id
    #[arg(long, value_name = "IDENTITY", conflicts_with = "event")]
    sender: Option<String>,
    /// Say what would be taken away, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let wanted = match (&options.event, &options.sender) {
        (Some(id), _) => Wanted::Event(id.trim().to_lowercase()),
        (None, Some(identity)) if !identity.trim().is_empty() => Wanted::Sender(identity.trim().to_owned()),
        _ => return Err(Failure::wrong_use("say what to erase: --event ID or --sender IDENTITY")),
    };
    let loaded = config::load(&options.config, entries)?;
    block_on(async {
        let archive = Archive::open(loaded).map_err(Failure::failed)?;
        let bar = progress();
        let done = tokio::select! {
            done = erase(&archive, &wanted, options.dry_run, &bar) => done.map_err(Failure::failed),
            () = stop_signal() => Err(Failure::failed("interrupted; not everything is erased: run it again")),
        };
        bar.finish_and_clear();
        output::print(&told(&done?, options.dry_run))
    })
}

fn told(found: &Found, dry_run: bool) -> String {
    let mut text = String::new();
    let verb = if dry_run { "would be " } else { "" };
    let mut line = |count: usize, what: &str, names: &[String]| {
        let _ = writeln!(text, "{count} {what}");
        if dry_run {
            for name in names.iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "  {name}");
            }
        }
    };
    line(found.event_ids.len(), &format!("events {verb}named to consumers"), &found.event_ids);
    line(found.requests, &format!("erasure.requested {verb}published"), &[]);
    line(found.raw.len(), &format!("raw inputs {verb}erased"), &found.raw);
    line(found.letters.len(), &format!("dead letters {verb}erased"), &found.letters);
    line(found.blobs.len(), &format!("blobs {verb}removed"), &found.blobs);
    if !found.shared_blobs.is_empty() {
        line(found.shared_blobs.len(), "blobs stay: other events have them too", &found.shared_blobs);
    }
    if found.unreadable > 0 {
        line(found.unreadable, "inputs of instances that are not in the configuration could not be looked into", &[]);
    }
    text.push_str(
        "Events stay on their topic until its retention ends; raw inputs and dead letters go when Kafka compacts.\n",
    );
    text
}
