//! The push lane: one idempotent producer for webhooks and ephemeral sessions.
//!
//! A record is `Ok` when every in-sync replica has it. One that is not confirmed within the deadline is `Unavailable`:
//! it may have arrived all the same, and is sent again with the same id (at least once, repeats recognised).
//! Records enter librdkafka's queue in the caller's order; its idempotence keeps that order through retries.

mod batch;
mod context;
mod end;
mod gather;
mod sender;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::message::{Header, OwnedHeaders};
use tokio::sync::Notify;

use self::batch::Batch;
pub use self::batch::Batch as Sending;
use self::context::PushContext;
pub use self::context::PushFigures;
use self::end::{End, PushProducer};
use self::sender::{Outgoing, Sender};
use super::link::{Link, LinkState};
use super::settings::{KafkaSettings, SettingsError};
use super::verdict::{self, Verdict};
use super::{PublishError, Publisher};
use crate::pipeline::record::Record;
use crate::spool::Lane;

/// How long a record may wait for its confirmation, unless the caller says otherwise: below the three seconds after
/// which the most impatient providers give a webhook up.
pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(2500);

/// How long callers wait for a producer that never gives records up, where they do not follow them any longer.
const PATIENT_LIMIT: Duration = Duration::from_secs(10);

/// How often `flush` looks whether the queue is empty.
const FLUSH_TICK: Duration = Duration::from_millis(10);

/// The push lane on Kafka. Starts without Kafka too, and stays: records are `Unavailable` until it comes.
pub struct KafkaPublisher {
    end: Arc<End>,
    sender: Arc<Sender>,
    overdue: Option<JoinHandle<()>>,
    max_record_bytes: usize,
    /// Records have no deadline of their own.
    patient: bool,
    /// Made when Kafka refuses a request for the first time.
    alone: OnceLock<PushProducer>,
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
        let sender = Arc::new(Sender::new());
        let context = PushContext {
            link: Arc::new(Link::new()),
            figures: Arc::default(),
            broken: Arc::default(),
            sender: Some(sender.clone()),
        };
        let end = Arc::new(End::new(settings.push(deadline)?, settings.topics.clone(), context)?);
        let overdue = Some(sender.start(&end)?);
        let max_record_bytes = settings.max_message_bytes()?;
        let patient = deadline.is_zero();
        Ok(Self { end, sender, overdue, max_record_bytes, patient, alone: OnceLock::new() })
    }

    /// Whether Kafka is reachable, for status and metrics.
    pub fn link(&self) -> LinkState {
        self.end.link().state()
    }

    /// Counters, for metrics.
    pub fn figures(&self) -> &PushFigures {
        self.end.figures()
    }

    /// Records whose verdict is still to come.
    pub fn in_flight(&self) -> usize {
        self.sender.len()
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
                let made = self.end.make_alone();
                let producer = made.map_err(|error| PublishError::Unavailable(error.to_string()))?;
                self.alone.get_or_init(|| producer)
            }
        };
        for (index, record) in records.iter().enumerate() {
            let batch = Batch::of(1);
            let sent = self.end.send(producer, Outgoing::new(&batch, index, record));
            sent.unwrap_or_else(|failure| batch.settle(1, Some(failure)));
            batch.settled().await?;
        }
        Ok(())
    }

    /// Puts all records into the queue, or says which one is too large before any is sent.
    fn enqueue(&self, records: &[Record]) -> Result<Arc<Batch>, PublishError> {
        self.fits(records.iter())?;
        Ok(self.put(records))
    }

    fn fits<'r>(&self, mut records: impl Iterator<Item = &'r Record>) -> Result<(), PublishError> {
        let limit = self.max_record_bytes;
        let sizes = records.by_ref().map(Record::wire_bytes).enumerate();
        let Some((index, bytes)) = sizes.into_iter().find(|(_, bytes)| *bytes > limit) else { return Ok(()) };
        self.figures().refused.fetch_add(1, Ordering::Relaxed);
        Err(PublishError::Refused { index, reason: format!("{bytes} bytes, at most {limit} can be sent") })
    }

    fn put(&self, records: &[Record]) -> Arc<Batch> {
        let batch = Batch::of(records.len());
        let outgoing = |(index, record)| Outgoing::new(&batch, index, record);
        // Made before the queue is locked.
        match records {
            [record] => self.sender.put([outgoing((0, record))]),
            records => self.sender.put(records.iter().enumerate().map(outgoing).collect::<Vec<_>>()),
        }
        batch
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        self.sender.finish();
        if let Some(overdue) = self.overdue.take() {
            // One that panicked has said so.
            let _ = overdue.join();
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
        if !self.end.link().is_usable() {
            return Err(PublishError::Unavailable("Kafka is away".to_owned()));
        }
        tokio::time::timeout(PATIENT_LIMIT, published).await.unwrap_or_else(|_| {
            self.end.link().stalled();
            Err(PublishError::Unavailable("not confirmed in time".to_owned()))
        })
    }
}

#[async_trait]
impl Lane for KafkaPublisher {
    fn send(&self, inputs: &[&[Record]]) -> Result<Vec<Arc<Sending>>, PublishError> {
        self.fits(inputs.iter().copied().flatten())?;
        Ok(inputs.iter().map(|records| self.put(records)).collect())
    }

    async fn send_alone(&self, records: &[Record]) -> Result<(), PublishError> {
        self.publish_alone(records).await
    }

    fn is_usable(&self) -> bool {
        self.end.link().is_usable()
    }

    fn stalled(&self) {
        self.end.link().stalled();
    }

    fn went_away(&self) -> &Notify {
        self.end.link().went_down()
    }
}

pub(in crate::delivery) fn headers(record: &Record) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record.headers.iter().fold(empty, |all, (key, value)| all.insert(Header { key, value: Some(value.as_bytes()) }))
}
