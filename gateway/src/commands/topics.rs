//! `inlet topics`: what has to exist on Kafka.

use std::path::PathBuf;

use clap::Subcommand;
use connector_sdk::Entry;

use super::{Failure, output};
use crate::config;
use crate::delivery::settings::KafkaSettings;
use crate::delivery::topics;

#[derive(Subcommand)]
pub enum Command {
    /// Print name, key, policy, retention, partitions, writer, reader and ACLs of every topic
    Print {
        /// Configuration file; without it, the defaults
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

pub fn run(command: &Command, entries: &'static [Entry]) -> Result<(), Failure> {
    let Command::Print { config } = command;
    let settings = match config {
        Some(file) => {
            let config = config::load(file, entries)?.config;
            config.kafka.settings(&config.topics)
        }
        None => KafkaSettings::new(vec!["localhost:9092".to_owned()]),
    };
    output::print(&topics::print(&settings))
}
