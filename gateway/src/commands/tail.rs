//! `inlet tail`: events live from Kafka.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use connector_sdk::Entry;
use serde_json::Value;

use super::{Failure, block_on, output, stop_signal};
use crate::config;
use crate::delivery::consumer::{Tail, TailFrom};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::record::TopicRole;

#[derive(Args)]
pub struct Options {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: Option<PathBuf>,
    /// Brokers, instead of a configuration file
    #[arg(short, long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// Only this channel (email, chat, sms, social, voice, form, …)
    #[arg(long)]
    channel: Option<String>,
    /// Only this instance
    #[arg(long)]
    connector: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Dead letters instead of events
    #[arg(long)]
    deadletter: bool,
    /// From the beginning of the topic instead of from now
    #[arg(long)]
    from_beginning: bool,
}

pub fn run(options: &Options, entries: &'static [Entry]) -> Result<(), Failure> {
    let settings = match (&options.config, &options.brokers) {
        (_, Some(brokers)) => KafkaSettings::new(brokers.split(',').map(str::to_owned).collect()),
        (Some(file), None) => {
            let config = config::load(file, entries)?.config;
            config.kafka.settings(&config.topics)
        }
        (None, None) => return Err(Failure::wrong_use("say where Kafka is: -c FILE or --brokers HOST:PORT")),
    };
    let role = if options.deadletter { TopicRole::DeadLetter } else { TopicRole::Events };
    let from = if options.from_beginning { TailFrom::Beginning } else { TailFrom::End };
    block_on(async {
        let opened = Tail::open(&settings, &[role], from).await;
        let mut tail = opened.map_err(|error| Failure::failed(error.to_string()))?;
        let follow = async {
            loop {
                let record = tail.next().await.map_err(|error| Failure::failed(error.to_string()))?;
                if let Some(line) = line(options, &record.value) {
                    let mut out = std::io::stdout().lock();
                    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                        return Ok(());
                    }
                }
            }
        };
        tokio::select! {
            done = follow => done,
            () = stop_signal() => Ok(()),
        }
    })
}

fn line(options: &Options, value: &[u8]) -> Option<String> {
    let Ok(event) = serde_json::from_slice::<Value>(value) else {
        return Some(format!("(a record of {} bytes that is not JSON)", value.len()));
    };
    let is =
        |field: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| event[field] == wanted.as_str());
    let instance = if options.deadletter { "instance" } else { "connector" };
    if !is("channel", &options.channel) || !is(instance, &options.connector) {
        return None;
    }
    Some(match (options.json, options.deadletter) {
        (true, _) => event.to_string(),
        (false, false) => output::event_line(&event),
        (false, true) => {
            let text = |field: &str| event[field].as_str().unwrap_or("");
            format!(
                "{}  {}  {}: {} ({})",
                text("received_at"),
                text("instance"),
                text("reason"),
                text("detail"),
                text("position")
            )
        }
    })
}
