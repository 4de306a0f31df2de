//! One transactional producer and its calls, in the only order that is safe.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::CursorKey;
use super::codec::{encode_key, encode_value};
use super::control::Control;
use crate::clock::now;
use crate::delivery::link::{lock, log};
use crate::delivery::push::headers;
use crate::delivery::settings::{KafkaSettings, Topics};
use crate::delivery::verdict::{self, Verdict};
use crate::pipeline::record::Record;
use connector_sdk::Cursor;

/// One wait inside `init_transactions` or `commit_transaction`; both are called again until they are done, so that a
/// stop is noticed in between.
const CALL_SLICE: Duration = Duration::from_secs(2);
/// Longer than the records' own time-out: then something is wrong with the producer.
const DRAIN_LIMIT: Duration = Duration::from_secs(12);
/// One look for delivery reports.
const POLL_SLICE: Duration = Duration::from_millis(1);

/// Why a transaction did not commit. Its producer is to be dropped either way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Kafka will never take one of its records.
    Refused(String),
    /// Anything else; the positions have to be read again.
    Broken(String),
}

/// A producer that has fenced its predecessors.
pub(super) struct Transactions<'a> {
    producer: BaseProducer<Reports>,
    topics: &'a Topics,
    shard: i32,
    control: &'a Control,
}

/// Proof that every record of the transaction was confirmed; nothing else allows a commit.
struct Sent(());

/// Collects what was not confirmed.
struct Reports(Mutex<Vec<(KafkaError, String)>>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            lock(&self.0).push((error.clone(), message.topic().to_owned()));
        }
    }
}

impl<'a> Transactions<'a> {
    /// Makes the producer and fences whoever had the shard before; what that one left open is aborted. Waits for Kafka
    /// until the control stops it.
    pub fn open(settings: &'a KafkaSettings, shard: i32, control: &'a Control) -> Result<Self, String> {
        let config = settings.shard(shard).map_err(|e| e.to_string())?;
        let reports = Reports(Mutex::default());
        let producer: BaseProducer<Reports> = config.create_with_context(reports).map_err(|e| e.to_string())?;
        let this = Self { producer, topics: &settings.topics, shard, control };
        loop {
            let init = || this.producer.init_transactions(CALL_SLICE);
            match control.calls.during("init_transactions", init) {
                Ok(()) => return Ok(this),
                Err(error) if !control.is_running() => return Err(error.to_string()),
                Err(error) if is_retriable(&error) => {
                    tracing::debug!(shard, %error, "replay lane: init_transactions is called again");
                    this.producer.poll(Duration::ZERO);
                }
                Err(error) => return Err(format!("init_transactions: {error}")),
            }
        }
    }

    /// Serves librdkafka's queues between transactions.
    pub fn idle(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Commits the records and the positions together, or nothing of them.
    pub fn run<'r>(
        &self,
        records: impl Iterator<Item = &'r Record>,
        positions: &[(CursorKey, Cursor)],
    ) -> Result<(), Failed> {
        let sent = self.send(records, positions)?;
        self.commit(sent)
    }

    fn send<'r>(
        &self,
        records: impl Iterator<Item = &'r Record>,
        positions: &[(CursorKey, Cursor)],
    ) -> Result<Sent, Failed> {
        lock(&self.producer.context().0).clear();
        self.producer.begin_transaction().map_err(|e| Failed::Broken(format!("begin_transaction: {e}")))?;
        let deadline = Instant::now() + DRAIN_LIMIT;
        for record in records {
            let topic = &self.topics.get(record.topic).name;
            let message =
                || BaseRecord::to(topic).key(&record.key).payload(record.value.as_ref()).headers(headers(record));
            self.enqueue(message, topic, deadline)?;
        }
        let at = now();
        for (key, cursor) in positions {
            let topic = &self.topics.cursors.name;
            let (key, value) = (encode_key(key), encode_value(cursor, at));
            let message = || BaseRecord::to(topic).partition(self.shard).key(&key).payload(value.as_bytes());
            self.enqueue(message, topic, deadline)?;
        }
        self.drain(deadline)
    }

    fn enqueue<'m>(
        &self,
        message: impl Fn() -> BaseRecord<'m, String, [u8]>,
        topic: &str,
        deadline: Instant,
    ) -> Result<(), Failed> {
        loop {
            match self.producer.send(message()) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                    self.producer.poll(POLL_SLICE);
                }
                Err((error, _)) => return Err(failed(&error, topic)),
            }
        }
    }

    /// Waits for every report; one bad report forbids the commit.
    fn drain(&self, deadline: Instant) -> Result<Sent, Failed> {
        while self.producer.in_flight_count() > 0 {
            if !self.control.may_commit() {
                return Err(Failed::Broken("the shard was taken away".to_owned()));
            }
            if Instant::now() > deadline {
                return Err(Failed::Broken("records are neither confirmed nor given up".to_owned()));
            }
            self.producer.poll(POLL_SLICE);
        }
        // Reports that came together with the last one.
        self.producer.poll(Duration::ZERO);
        let reports = lock(&self.producer.context().0);
        let refused = reports.iter().find(|(error, _)| is_refusal(error)).or(reports.first());
        match refused {
            None => Ok(Sent(())),
            Some((error, topic)) => Err(failed(error, topic)),
        }
    }

    fn commit(&self, _: Sent) -> Result<(), Failed> {
        loop {
            if !self.control.may_commit() {
                return Err(Failed::Broken("the shard was taken away".to_owned()));
            }
            let commit = || self.producer.commit_transaction(CALL_SLICE);
            match self.control.calls.during("commit_transaction", commit) {
                Ok(()) => return Ok(()),
                // Only the same call may follow; begin and abort would answer with a conflict.
                Err(error) if is_timeout(&error) && is_retriable(&error) => {
                    tracing::debug!(shard = self.shard, %error, "replay lane: commit_transaction is called again");
                }
                Err(error) => return Err(Failed::Broken(format!("commit_transaction: {error}"))),
            }
        }
    }
}

fn failed(error: &KafkaError, topic: &str) -> Failed {
    let reason = verdict::explain(error, topic);
    if is_refusal(error) { Failed::Refused(reason) } else { Failed::Broken(reason) }
}

fn is_refusal(error: &KafkaError) -> bool {
    verdict::code(error).map(verdict::verdict) == Some(Verdict::Never)
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(inner) if inner.is_retriable())
}

fn is_timeout(error: &KafkaError) -> bool {
    verdict::code(error) == Some(RDKafkaErrorCode::OperationTimedOut)
}
