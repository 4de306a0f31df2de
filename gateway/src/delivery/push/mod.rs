//! The push lane: one idempotent producer for webhooks and ephemeral sessions.
//!
//! A record is `Ok` when every in-sync replica has it. One that is not confirmed within the deadline is `Unavailable`:
//! it may have arrived all the same, and is sent again with the same id (at least once, repeats recognised).
//! Records enter librdkafka's queue in the caller's order; its idempotence keeps that order through retries.

mod batch;
mod context;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

pub use self::batch::Batch as Sending;
use self::batch::{Batch, Report};
use self::context::PushContext;
pub use self::context::PushFigures;
use super::link::{Link, LinkState};
use super::settings::{KafkaSettings, SettingsError, Topics};
use super::verdict::{self, Verdict};
use super::{PublishError, Publisher};
use crate::pipeline::record::Record;
use crate::spool::Lane;

/// How long a record may wait for its confirmation, unless the caller says otherwise: below the three seconds after
/// which the most impatient providers give a webhook up.
pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(2500);

/// How long callers wait for a producer that never gives records up, where they do not follow them any longer.
const PATIENT_LIMIT: Duration = Duration::from_secs(10);

/// A producer that broke for good is replaced at most this often.
const REPLACE_INTERVAL: Duration = Duration::from_secs(1);

/// How often `flush` looks whether the queue is empty.
const FLUSH_TICK: Duration = Duration::from_millis(10);

type PushProducer = ThreadedProducer<PushContext>;

/// The push lane on Kafka. Starts without Kafka too, and stays: records are `Unavailable` until it comes.
pub struct KafkaPublisher {
    config: ClientConfig,
    topics: Topics,
    max_record_bytes: usize,
    link: Arc<Link>,
    figures: Arc<PushFigures>,
    broken: Arc<AtomicBool>,
    /// Records have no deadline of their own.
    patient: bool,
    producer: ArcSwap<PushProducer>,
    /// Made when Kafka refuses a request for the first time.
    alone: OnceLock<PushProducer>,
    replaced: Mutex<Instant>,
}

impl KafkaPublisher {
    /// For callers that follow their records as long as it takes (a spool): the producer never gives any up by itself, so
    /// that what it has once is sent once, and in order.
    pub fn start_patient(settings: &KafkaSettings) -> Result<Self, SettingsError> {
        // librdkafka's word for no end.
        Self::start(settings, Duration::ZERO)
    }

    /// Makes the producer; connecting goes on in the background. Fails for settings that no Kafka could repair.
    pub fn start(settings: &KafkaSettings, deadline: Duration) -> Result<Self, SettingsError> {
        let config = settings.push(deadline)?;
        let (link, figures, broken) = (Arc::new(Link::new()), Arc::default(), Arc::default());
        let producer = make(&config, &link, &figures, &broken)?;
        Ok(Self {
            topics: settings.topics.clone(),
            max_record_bytes: settings.max_message_bytes()?,
            config,
            link,
            figures,
            broken,
            patient: deadline.is_zero(),
            producer: ArcSwap::from_pointee(producer),
            alone: OnceLock::new(),
            replaced: Mutex::new(Instant::now()),
        })
    }

    /// Whether Kafka is reachable, for status and metrics.
    pub fn link(&self) -> LinkState {
        self.link.state()
    }

    /// Counters, for metrics.
    pub fn figures(&self) -> &PushFigures {
        &self.figures
    }

    /// Records whose verdict is still to come.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.producer.load().in_flight_count()).unwrap_or(0)
    }

    /// Waits until every record has its verdict, at most `limit`; says whether that was reached.
    pub async fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.in_flight() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(FLUSH_TICK).await;
        }
        true
    }

    /// One record a request, one request at a time: a request that Kafka refuses takes its innocent records with it, and
    /// only alone it shows which one is to blame. Records of the same call that were taken before are repeated.
    async fn publish_alone(&self, records: &[Record]) -> Result<(), PublishError> {
        let producer = match self.alone.get() {
            Some(producer) => producer,
            None => {
                let mut config = self.config.clone();
                config.set("batch.num.messages", "1").set("linger.ms", "0");
                let made = make(&config, &self.link, &self.figures, &Arc::default());
                let producer = made.map_err(|error| PublishError::Unavailable(error.to_string()))?;
                self.alone.get_or_init(|| producer)
            }
        };
        for (index, record) in records.iter().enumerate() {
            let batch = Batch::of(1);
            self.send(producer, &batch, index, record).unwrap_or_else(|failure| batch.settle(1, Some(failure)));
            batch.settled().await?;
        }
        Ok(())
    }

    fn send(
        &self,
        producer: &PushProducer,
        batch: &Arc<Batch>,
        index: usize,
        record: &Record,
    ) -> Result<(), PublishError> {
        let topic = &self.topics.get(record.topic).name;
        let report = Box::new(Report { batch: batch.clone(), index });
        let mut message = BaseRecord::with_opaque_to(topic, report).key(record.key.as_bytes()).headers(headers(record));
        if !record.value.is_empty() {
            message = message.payload(record.value.as_ref());
        }
        producer.send(message).map_err(|(error, _)| self.figures.count(&error, index, topic))
    }

    /// Puts all records into the queue, or says which one is too large before any is sent.
    fn enqueue(&self, records: &[Record]) -> Result<Arc<Batch>, PublishError> {
        self.fits(records.iter())?;
        Ok(self.put(&self.current(), records))
    }

    fn fits<'r>(&self, mut records: impl Iterator<Item = &'r Record>) -> Result<(), PublishError> {
        let limit = self.max_record_bytes;
        let sizes = records.by_ref().map(Record::wire_bytes).enumerate();
        let Some((index, bytes)) = sizes.into_iter().find(|(_, bytes)| *bytes > limit) else { return Ok(()) };
        self.figures.refused.fetch_add(1, Ordering::Relaxed);
        Err(PublishError::Refused { index, reason: format!("{bytes} bytes, at most {limit} can be sent") })
    }

    fn current(&self) -> Arc<PushProducer> {
        if self.broken.load(Ordering::Relaxed) {
            self.replace();
        }
        self.producer.load_full()
    }

    fn put(&self, producer: &PushProducer, records: &[Record]) -> Arc<Batch> {
        let batch = Batch::of(records.len());
        for (index, record) in records.iter().enumerate() {
            if let Err(failure) = self.send(producer, &batch, index, record) {
                // The rest is not sent: its order would be lost. What went before is waited for.
                batch.settle(records.len() - index, Some(failure));
                break;
            }
        }
        batch
    }

    /// librdkafka declared the producer dead (its identity was lost in a way that idempotence cannot mend): a new one
    /// takes its place. What the old one still holds is reported as unavailable.
    fn replace(&self) {
        let Ok(mut replaced) = self.replaced.try_lock() else { return };
        if replaced.elapsed() < REPLACE_INTERVAL || !self.broken.swap(false, Ordering::Relaxed) {
            return;
        }
        *replaced = Instant::now();
        match make(&self.config, &self.link, &self.figures, &self.broken) {
            Ok(producer) => {
                tracing::warn!("the push lane's producer broke and was replaced");
                let old = self.producer.swap(Arc::new(producer));
                // Dropping flushes and joins a thread.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                tracing::error!(%error, "the push lane's producer broke and cannot be replaced yet");
                self.broken.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        let published = async {
            match self.enqueue(&records)?.settled().await {
                Err(PublishError::Refused { .. }) => self.publish_alone(&records).await,
                settled => settled,
            }
        };
        if !self.patient {
            return published.await;
        }
        // The producer keeps records for as long as it takes; whoever does not follow them must not fill it.
        if !self.link.is_usable() {
            return Err(PublishError::Unavailable("Kafka is away".to_owned()));
        }
        tokio::time::timeout(PATIENT_LIMIT, published).await.unwrap_or_else(|_| {
            self.link.stalled();
            Err(PublishError::Unavailable("not confirmed in time".to_owned()))
        })
    }
}

#[async_trait]
impl Lane for KafkaPublisher {
    fn send(&self, inputs: &[&[Record]]) -> Result<Vec<Arc<Sending>>, PublishError> {
        self.fits(inputs.iter().copied().flatten())?;
        let producer = self.current();
        Ok(inputs.iter().map(|records| self.put(&producer, records)).collect())
    }

    async fn send_alone(&self, records: &[Record]) -> Result<(), PublishError> {
        self.publish_alone(records).await
    }

    fn is_usable(&self) -> bool {
        self.link.is_usable()
    }

    fn stalled(&self) {
        self.link.stalled();
    }

    async fn went_away(&self) {
        self.link.went_down().await;
    }
}

fn make(
    config: &ClientConfig,
    link: &Arc<Link>,
    figures: &Arc<PushFigures>,
    broken: &Arc<AtomicBool>,
) -> Result<PushProducer, SettingsError> {
    let context = PushContext { link: link.clone(), figures: figures.clone(), broken: broken.clone() };
    Ok(config.create_with_context(context)?)
}

pub(in crate::delivery) fn headers(record: &Record) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record.headers.iter().fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(value.as_bytes()) }))
}
