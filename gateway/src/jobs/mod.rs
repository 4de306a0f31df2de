//! Work that an operator starts and that ends: import, backfill, audit.
//!
//! What they publish goes through the same line and a transactional lane of its own
//! ([`JobLane`](crate::delivery::replay::job::JobLane)), so that each input is on Kafka exactly once wherever the command
//! was killed; the same command goes on from there. The live intake of the instance may run meanwhile.

pub mod audit;
pub mod backfill;
pub mod feed;
pub mod import;
mod progress;
mod published;

use std::sync::Arc;

use connector_sdk::{Connector, Io};

use crate::config::LoadedConfig;
use crate::delivery::replay::CursorsError;
use crate::delivery::settings::{KafkaSettings, SettingsError};
use crate::delivery::topics::{self, Severity, TopicsError};
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::enrich::Enricher;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Line, SharedLine};
use crate::telemetry::counters::Metrics;

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The user has to change the call or the configuration.
    #[error("{0}")]
    WrongUse(String),
    #[error("{0}")]
    Failed(String),
    #[error("stopped; the same command goes on from where it was")]
    Stopped,
}

impl From<SettingsError> for JobError {
    fn from(error: SettingsError) -> Self {
        Self::WrongUse(error.to_string())
    }
}

impl From<CursorsError> for JobError {
    fn from(error: CursorsError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<TopicsError> for JobError {
    fn from(error: TopicsError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What jobs on one instance need.
pub struct Job {
    pub settings: KafkaSettings,
    pub instance: Arc<Instance>,
    pub line: SharedLine,
    pub io: Io,
    /// What is left of the connector: its intakes are not run.
    pub connector: Connector,
}

impl Job {
    /// Takes the instance out of the configuration.
    pub fn new(loaded: &mut LoadedConfig, name: &str) -> Result<Self, JobError> {
        let config = &loaded.config;
        let Some(at) = loaded.connectors.iter().position(|(have, ..)| have == name) else {
            let known: Vec<_> = config.instances.keys().map(String::as_str).collect();
            let text = format!("no instance '{name}' in the configuration; there are {}", known.join(", "));
            return Err(JobError::WrongUse(text));
        };
        let own = config.instance(name);
        let (_, entry, connector) = loaded.connectors.swap_remove(at);
        let own = own.ok_or_else(|| JobError::WrongUse(format!("no instance '{name}' in the configuration")))?;
        let instance = Arc::new(Instance {
            counters: Arc::new(Metrics::default().instance(name, entry.name)),
            name: name.to_owned(),
            connector: entry.name,
            parse: connector.parse.clone(),
            source: connector.source,
            config: own,
        });
        let blobs = BlobStore::open(&config.blobs, &config.data_dir).map_err(JobError::WrongUse)?;
        let line = Arc::new(Line {
            enricher: Enricher { blobs, detect_language: config.detect_language },
            inline_max_bytes: config.inline_max.0,
        });
        let client = crate::io::http::Client::new().map_err(JobError::Failed)?;
        let io = crate::io::for_instance(&client, &config.data_dir, name);
        Ok(Self { settings: config.kafka.settings(&config.topics), instance, line, io, connector })
    }
}

/// Kafka answers and the topics are as they must be: people wait in front of a command.
pub async fn check_topics(settings: &KafkaSettings) -> Result<(), JobError> {
    let findings = topics::ensure(settings).await?;
    match findings.iter().find(|finding| finding.severity() == Severity::Error) {
        Some(fault) => Err(JobError::Failed(fault.to_string())),
        None => Ok(()),
    }
}
