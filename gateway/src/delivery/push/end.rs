//! Kafka's end of the lane: the producer, and its successor when it breaks for good.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, ThreadedProducer};

use super::batch::Report;
use super::context::{PushContext, PushFigures};
use super::sender::Outgoing;
use super::{Link, PublishError};
use crate::delivery::settings::{SettingsError, Topics};

/// A producer that broke for good is replaced at most this often.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

pub(super) type PushProducer = ThreadedProducer<PushContext>;

pub(super) struct End {
    config: ClientConfig,
    topics: Topics,
    pub context: PushContext,
    pub producer: ArcSwap<PushProducer>,
    replaced: Mutex<Instant>,
}

impl End {
    pub fn new(config: ClientConfig, topics: Topics, context: PushContext) -> Result<Self, SettingsError> {
        let producer = ArcSwap::from_pointee(config.create_with_context(context.clone())?);
        Ok(Self { config, topics, context, producer, replaced: Mutex::new(Instant::now()) })
    }

    pub fn link(&self) -> &Link {
        &self.context.link
    }

    pub fn figures(&self) -> &PushFigures {
        &self.context.figures
    }

    /// A producer beside the others that sends one record a request, at once.
    pub fn make_alone(&self) -> Result<PushProducer, SettingsError> {
        let mut config = self.config.clone();
        config.set("batch.num.messages", "1").set("linger.ms", "0");
        let context = PushContext { broken: Arc::default(), sender: None, ..self.context.clone() };
        Ok(config.create_with_context(context)?)
    }

    /// The producer that works.
    pub fn current(&self) -> Arc<PushProducer> {
        if self.context.broken.load(Ordering::Relaxed) {
            self.replace();
        }
        self.producer.load_full()
    }

    /// Hands a record to librdkafka. What fails here gets no report.
    pub fn send(&self, producer: &PushProducer, outgoing: Outgoing) -> Result<(), PublishError> {
        let Outgoing { batch, index, topic, key, value, headers } = outgoing;
        let topic = &self.topics.get(topic).name;
        let report = Box::new(Report { batch, index });
        let mut message = BaseRecord::with_opaque_to(topic, report).key(key.as_bytes()).headers(headers);
        if !value.is_empty() {
            message = message.payload(value.as_ref());
        }
        producer.send(message).map_err(|(error, _)| self.figures().count(&error, index, topic))
    }

    /// librdkafka declared the producer dead (its identity was lost in a way that idempotence cannot mend): a new one
    /// takes its place. What the old one still holds is reported as unavailable.
    fn replace(&self) {
        let Ok(mut replaced) = self.replaced.try_lock() else { return };
        if replaced.elapsed() < REPLACE_INTERVAL || !self.context.broken.swap(false, Ordering::Relaxed) {
            return;
        }
        *replaced = Instant::now();
        match self.config.create_with_context(self.context.clone()) {
            Ok(producer) => {
                tracing::warn!("the push lane's producer broke and was replaced");
                let old = self.producer.swap(Arc::new(producer));
                // Dropping flushes and joins a thread.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                tracing::error!(%error, "the push lane's producer broke and cannot be replaced yet");
                self.context.broken.store(true, Ordering::Relaxed);
            }
        }
    }
}
