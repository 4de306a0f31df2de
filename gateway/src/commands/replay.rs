//! `inlet replay`: kept inputs, parsed again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use connector_sdk::{Entry, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, block_on, output, stop_signal};
use crate::archive::Archive;
use crate::archive::replay::{Choice, Summary, replay};
use crate::config;
use crate::config::model::Span;
use crate::pipeline::record::TopicRole;

#[derive(Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// What to parse again: dead letters, or all inputs that are kept
    #[arg(long)]
    from: From,
    /// Only inputs of this instance, or of this connector's instances
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Only inputs received since then: 2026-01-31, an RFC 3339 time, or a span before now (24h)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only inputs received before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only dead letters with this reason (malformed_json)
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Say what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Deadletter,
    Raw,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    if options.from == From::Raw && options.reason.is_some() {
        return Err(Failure::wrong_use("--reason is for dead letters: raw inputs have none"));
    }
    let loaded = config::load(&options.config, entries)?;
    let choice = Choice {
        from: if options.from == From::Raw { TopicRole::Raw } else { TopicRole::DeadLetter },
        connector: options.connector.clone(),
        since: options.since,
        until: options.until,
        reason: options.reason.clone(),
        dry_run: options.dry_run,
    };
    block_on(async {
        let archive = Archive::open(loaded).map_err(Failure::failed)?;
        let bar = progress();
        let done = tokio::select! {
            done = replay(&archive, &choice, &bar) => done.map_err(Failure::failed),
            () = stop_signal() => Err(Failure::failed("interrupted; begun anew it goes on where it was")),
        };
        bar.finish_and_clear();
        output::print(&told(&done?, &choice))
    })
}

/// A bar over the records that are read; nothing where nobody sees it.
pub fn progress() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} records read, {elapsed}");
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

/// A point in time as people write it, also as a span before now.
pub fn time(text: &str) -> Result<Timestamp, String> {
    let date = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    let ago = || {
        let span: Span = serde_json::from_value(text.into()).ok()?;
        Some(crate::clock::now().minus(span.0))
    };
    Timestamp::parse(text)
        .or_else(date)
        .or_else(ago)
        .ok_or_else(|| "write 2026-01-31, 2026-01-31T12:00:00Z, or a span before now such as 24h".to_owned())
}

fn told(summary: &Summary, choice: &Choice) -> String {
    let what = if choice.from == TopicRole::Raw { "raw inputs" } else { "dead letters" };
    let verb = if choice.dry_run { "would be replayed" } else { "replayed" };
    let Summary { chosen, replayed, events, .. } = summary;
    let mut text = format!("{chosen} {what}: {replayed} {verb} ({events} events)\n");
    let mut list = |head: &str, counts: &BTreeMap<String, usize>| {
        for (name, count) in counts {
            let _ = writeln!(text, "  {count} {head} {name}");
        }
    };
    list("still rejected:", &summary.rejected);
    list("of an instance that is not in the configuration:", &summary.not_configured);
    if summary.without_bytes > 0 {
        let _ = writeln!(text, "  {} without their bytes", summary.without_bytes);
    }
    if summary.refused > 0 {
        let _ = writeln!(text, "  {} of which Kafka refuses a record", summary.refused);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let noon = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(time("2026-01-31T12:00:00Z"), Ok(noon));
        assert_eq!(time("2026-01-31").unwrap().plus(std::time::Duration::from_secs(12 * 3600)), noon);
        let day = crate::clock::now().since(time("24h").unwrap());
        assert!((86_399..86_401).contains(&day.as_secs()), "{day:?}");
        assert!(time("soon").is_err());
    }
}
