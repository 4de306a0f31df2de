//! `inlet topics`: what has to exist on Kafka.

use std::path::PathBuf;

use clap::Subcommand;
use connector_sdk::Entry;

use super::{Failure, output};
use crate::config;
use crate::delivery::settings::KafkaSettings;
use crate::delivery::topics::TopicSheet;

#[derive(Subcommand)]
pub enum Command {
    /// Print name, key, policy, retention, partitions, writer, reader and ACLs of every topic
    Print {
        /// Configuration file; without it, the defaults
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Who gets the rights, in the commands
        #[arg(long, default_value = "User:inlet")]
        principal: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: &Command, entries: &'static [Entry]) -> Result<(), Failure> {
    let Command::Print { config, principal, json } = command;
    let settings = match config {
        Some(file) => {
            let config = config::load(file, entries)?.config;
            config.kafka.settings(&config.topics)
        }
        None => KafkaSettings::new(vec!["localhost:9092".to_owned()]),
    };
    let sheet = TopicSheet::new(&settings).map_err(|error| Failure::wrong_use(error.to_string()))?;
    if *json {
        return output::print(&(serde_json::to_string_pretty(&sheet).unwrap_or_default() + "\n"));
    }
    let commands = sheet.to_commands(&settings.brokers.join(","), principal);
    output::print(&format!("{}\nAs commands of Kafka's own tools:\n\n{commands}", sheet.to_table()))
}
