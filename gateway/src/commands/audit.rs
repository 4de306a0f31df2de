//! `inlet audit`: what sources have, and Kafka has not.

use std::path::PathBuf;

use clap::Args;
use connector_sdk::{Entry, Timestamp};
use serde_json::json;

use super::backfill::moment;
use super::{Failure, block_on, output, stop_token};
use crate::config;
use crate::jobs::Job;
use crate::jobs::audit::{self, Audit, StreamAudit};

#[derive(Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// Only this instance; without it, all whose sources can say what they have
    #[arg(long)]
    instance: Option<String>,
    /// Only what the source has since this moment: a date or a full RFC 3339 time
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let mut loaded = config::load(&options.config, entries)?;
    let names: Vec<String> = match &options.instance {
        Some(name) => vec![name.clone()],
        None => {
            let able = loaded.connectors.iter().filter(|(_, _, connector)| connector.history.is_some());
            able.map(|(name, ..)| name.clone()).collect()
        }
    };
    if names.is_empty() {
        return Err(Failure::wrong_use("no instance in the configuration has a source that can say what it has"));
    }
    let jobs: Result<Vec<Job>, _> = names.iter().map(|name| Job::new(&mut loaded, name)).collect();
    let mut jobs = jobs?;
    let audits = block_on(async { Ok(audit::run(&mut jobs, options.since, &stop_token()).await?) })?;
    let missing: usize = audits.iter().map(Audit::missing).sum();
    let unseen = audits.iter().filter(|audit| !audit.is_whole()).count();
    if options.json {
        output::print(&format!("{:#}\n", json!({ "missing": missing, "instances": audits })))?;
    } else {
        output::print(&audits.iter().map(text).collect::<String>())?;
    }
    match (missing, unseen) {
        (0, 0) => Ok(()),
        (0, unseen) => Err(Failure::failed(format!("{unseen} instances could not be looked at as a whole"))),
        (missing, _) => Err(Failure::failed(format!("{missing} items are missing"))),
    }
}

fn text(audit: &Audit) -> String {
    let mut out = format!("{}\n", audit.instance);
    if let Some(error) = &audit.error {
        out.push_str(&format!("  NOT LOOKED AT: {error}\n"));
    } else if audit.streams.is_empty() {
        out.push_str("  no position is stored: nothing was read yet\n");
    }
    if audit.shortened_partitions > 0 {
        out.push_str(
            "  note: the oldest events have left the topic; older items may seem missing (--since leaves them out)\n",
        );
    }
    audit.streams.iter().for_each(|stream| out.push_str(&stream_text(stream)));
    out
}

fn stream_text(audit: &StreamAudit) -> String {
    let StreamAudit { stream, items, published, skipped, dead_lettered, gone, missing, .. } = audit;
    let mut out = format!(
        "  {stream}: {items} items up to the cursor: {published} published, {skipped} skipped, {dead_lettered} dead letters, {} missing\n",
        missing.len()
    );
    if *gone > 0 {
        out.push_str(&format!("    {gone} were removed from the source meanwhile\n"));
    }
    for one in missing {
        out.push_str(&format!("    MISSING {} {}\n", one.uri, one.message_ids.join(" ")));
    }
    if let Some(error) = &audit.error {
        out.push_str(&format!("    NOT LOOKED AT: {error}\n"));
    }
    out
}
