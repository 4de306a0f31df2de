//! What is kept of inputs on `inlet.raw` and `inlet.deadletter`: parsed again ([`replay`]) and taken away ([`erase`]).
//!
//! Both run beside the gateway, from the command line, over the same line and with the same ids.

pub mod erase;
mod kept;
mod read;
pub mod replay;
mod traces;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::kept::Kept;
use crate::config::LoadedConfig;
use crate::delivery::push::KafkaPublisher;
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::enrich::Enricher;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::Line;
use crate::telemetry::counters::Metrics;

/// Nobody waits for an answer here, but for the command's end.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// What both commands work with.
pub struct Archive {
    pub settings: KafkaSettings,
    pub instances: HashMap<String, Arc<Instance>>,
    pub line: Line,
    pub publisher: KafkaPublisher,
}

impl Archive {
    /// From a configuration; connects to nothing yet.
    pub fn open(loaded: LoadedConfig) -> Result<Self, String> {
        let config = loaded.config;
        let settings = config.kafka.settings(&config.topics);
        let blobs = BlobStore::open(&config.blobs, &config.data_dir)?;
        let publisher = KafkaPublisher::start(&settings, PUBLISH_DEADLINE).map_err(|error| error.to_string())?;
        let enricher = Enricher { blobs, detect_language: config.detect_language };
        let metrics = Metrics::default();
        let instances = loaded.connectors.into_iter().filter_map(|(name, entry, connector)| {
            let own = config.instance(&name)?;
            let instance = Instance {
                counters: Arc::new(metrics.instance(&name, entry.name)),
                name: name.clone(),
                connector: entry.name,
                parse: connector.parse,
                source: connector.source,
                config: own,
            };
            Some((name, Arc::new(instance)))
        });
        Ok(Self {
            instances: instances.collect(),
            settings,
            line: Line { enricher, inline_max_bytes: config.inline_max.0 },
            publisher,
        })
    }

    fn blobs(&self) -> &BlobStore {
        &self.line.enricher.blobs
    }
}
