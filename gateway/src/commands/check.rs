//! `inlet check`: is the configuration right, and do the accounts answer?

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use connector_sdk::{Entry, SourceClass};

use super::{Failure, block_on};
use crate::config::{self, LoadedConfig};
use crate::delivery::{topics, why_away};

/// Time for one account to answer.
const PROBE_LIMIT: Duration = Duration::from_secs(30);
/// Time for one more attempt at Kafka, to hear why it fails.
const WHY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// Log in to Kafka and to every account, read-only
    #[arg(long)]
    connect: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let loaded = config::load(&options.config, entries)?;
    let count = loaded.connectors.len();
    println!("{}: {count} instance{}, no errors", options.config.display(), if count == 1 { "" } else { "s" });
    impatient(&loaded).iter().for_each(|line| println!("warning: {line}"));
    if options.connect { block_on(connect(loaded)) } else { Ok(()) }
}

/// Instances whose input would be lost in an outage that the budget allows: there is no spool, and nobody sends it again
/// for so long.
fn impatient(loaded: &LoadedConfig) -> Vec<String> {
    let budget = loaded.config.outage_budget.0;
    if loaded.config.spool.on().is_some() {
        return Vec::new();
    }
    let advice = format!("outage_budget is {} s: switch the spool on", budget.as_secs());
    let lost = loaded.connectors.iter().filter_map(|(name, _, connector)| {
        let why = match connector.source {
            SourceClass::Redeliver { horizon } if horizon < budget => {
                format!("its provider sends again for {} s only", horizon.as_secs())
            }
            SourceClass::Ephemeral => "nobody sends its input again".to_owned(),
            SourceClass::Redeliver { .. } | SourceClass::Replay => return None,
        };
        Some(format!("instances.{name}: without a spool {why}; {advice}"))
    });
    lost.collect()
}

async fn connect(loaded: LoadedConfig) -> Result<(), Failure> {
    let mut settings = loaded.config.kafka.settings(&loaded.config.topics);
    // A check looks and changes nothing.
    settings.topics.create = false;
    let mut failed = 0;
    println!("kafka {}", loaded.config.kafka.brokers.join(", "));
    match topics::ensure(&settings).await {
        Ok(findings) if findings.is_empty() => println!("  ok: topics are as configured"),
        Ok(findings) => findings.iter().for_each(|finding| println!("  note: {finding}")),
        Err(error) => {
            failed += 1;
            println!("  FAILED: {error}");
            let why = tokio::task::spawn_blocking(move || why_away(&settings, WHY_LIMIT)).await;
            why.ok().flatten().iter().for_each(|why| println!("  the last connection: {why}"));
        }
    }
    let client = crate::io::http::Client::new().map_err(Failure::failed)?;
    for (name, entry, connector) in &loaded.connectors {
        println!("{name} ({})", entry.name);
        let Some(probe) = &connector.probe else {
            println!("  ok: nothing to log in to; the provider calls us");
            continue;
        };
        let io = crate::io::for_instance(&client, &loaded.config.data_dir, name);
        match tokio::time::timeout(PROBE_LIMIT, probe.probe(&io)).await {
            Ok(Ok(report)) => report.lines.iter().for_each(|line| println!("  ok: {line}")),
            Ok(Err(error)) => {
                failed += 1;
                println!("  FAILED: {error}");
            }
            Err(_) => {
                failed += 1;
                println!("  FAILED: no answer within {} s", PROBE_LIMIT.as_secs());
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::failed(format!("{failed} of the connections failed"))) }
}
