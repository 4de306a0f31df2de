//! One transactional producer and its calls, in the only order that is safe.

use std::collections::BTreeSet;
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
    /// Kafka will never take one of its records: by position, the inputs whose records were in the refused requests
    /// (innocent ones may have shared them).
    Refused { reason: String, suspects: BTreeSet<usize> },
    /// Somebody else has the transactional id now, or the broker gave up on us; the owners' group tells which.
    Fenced(String),
    /// Anything else; the positions have to be read again.
    Broken(String),
}

impl Failed {
    pub fn reason(self) -> String {
        match self {
            Self::Refused { reason, .. } | Self::Fenced(reason) | Self::Broken(reason) => reason,
        }
    }
}

/// Whose producer it is.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// Partition of the cursors topic that holds its positions.
    pub shard: i32,
    /// Whoever initialises it last is the one who may commit.
    pub transactional_id: String,
    /// Whose positions they are: a job's (its instance and name), or those of all instances of the shard.
    pub job: Option<(String, String)>,
}

impl Seat {
    /// Positions that nobody else writes while this is not fenced.
    pub fn owns(&self, key: &CursorKey) -> bool {
        match &self.job {
            None => !key.is_reserved(),
            Some((instance, name)) => {
                let rest = key.stream.0.strip_prefix(name.as_str());
                key.instance == *instance && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

/// A producer that has fenced its predecessors.
pub(super) struct Transactions<'a> {
    producer: BaseProducer<Reports>,
    topics: &'a Topics,
    shard: i32,
    control: &'a Control,
    /// Behind the producer: dropped after it.
    closing: Closing<'a>,
}

/// Dropping a producer is a blocking call too: watched from [`Transactions::drop`] on until this is dropped.
struct Closing<'a>(&'a Control);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.calls.end();
    }
}

impl Drop for Transactions<'_> {
    fn drop(&mut self) {
        self.closing.0.calls.begin("closing the producer");
    }
}

/// A record of the cursors topic, or of another one like it.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub topic: String,
    pub partition: i32,
    pub key: String,
    /// Absent: a tombstone.
    pub value: Option<String>,
}

/// Proof that every record of the transaction was confirmed; nothing else allows a commit.
struct Sent(());

/// Collects what was not confirmed.
#[derive(Default)]
struct Reports {
    unconfirmed: Mutex<Vec<Unconfirmed>>,
    /// Why librdkafka gave the transaction up: its records are only told that they were purged.
    given_up: Mutex<Option<String>>,
}

/// Facility of the log lines that tell why a transaction was given up.
const TRANSACTION_ERROR: &str = "TXNERR";

struct Unconfirmed {
    error: KafkaError,
    topic: String,
    /// Position of the input, [`POSITIONS`] for a stored position.
    input: usize,
}

/// Marks the records of the cursors topic.
const POSITIONS: usize = usize::MAX;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if facility == TRANSACTION_ERROR {
            lock(&self.given_up).get_or_insert_with(|| text.to_owned());
        }
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, input: usize) {
        if let Err((error, message)) = result {
            lock(&self.unconfirmed).push(Unconfirmed {
                error: error.clone(),
                topic: message.topic().to_owned(),
                input,
            });
        }
    }
}

impl<'a> Transactions<'a> {
    /// Makes the producer and fences whoever had the shard before; what that one left open is aborted. Waits for Kafka
    /// until the control stops it; `waiting` is told why.
    pub fn open(
        settings: &'a KafkaSettings,
        seat: &'a Seat,
        control: &'a Control,
        waiting: impl Fn(String),
    ) -> Result<Self, Failed> {
        let broken = |error: &dyn std::fmt::Display| Failed::Broken(error.to_string());
        let config = settings.transactional(&seat.transactional_id).map_err(|e| broken(&e))?;
        let producer: BaseProducer<Reports> = config.create_with_context(Reports::default()).map_err(|e| broken(&e))?;
        let this = Self { producer, topics: &settings.topics, shard: seat.shard, control, closing: Closing(control) };
        loop {
            let init = || this.producer.init_transactions(CALL_SLICE);
            match control.calls.during("init_transactions", init) {
                Ok(()) => return Ok(this),
                Err(error) if control.is_running() && is_retriable(&error) => {
                    tracing::debug!(seat = %seat.transactional_id, %error, "replay lane: init_transactions is called again");
                    waiting(format!("init_transactions: {error}"));
                    this.producer.poll(Duration::ZERO);
                }
                Err(error) => {
                    let reason = verdict::explain(&error, &settings.topics.cursors.name);
                    return Err(this.broken(&error, format!("init_transactions: {reason}")));
                }
            }
        }
    }

    /// Serves librdkafka's queues between transactions.
    pub fn idle(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Commits the records (each with its input's position in the part) and the positions together, or nothing of them.
    pub fn run<'r>(
        &self,
        records: impl Iterator<Item = (usize, &'r Record)>,
        positions: &[(CursorKey, Cursor)],
    ) -> Result<(), Failed> {
        let sent = self.send(records, positions)?;
        self.commit(sent)
    }

    /// Commits writes to any partitions together, or none of them.
    pub fn write(&self, writes: &[Write]) -> Result<(), Failed> {
        let deadline = self.begin()?;
        for write in writes {
            let message = || {
                let message = BaseRecord::with_opaque_to(&write.topic, POSITIONS);
                let message = message.partition(write.partition).key(&write.key);
                match &write.value {
                    Some(value) => message.payload(value.as_bytes()),
                    None => message,
                }
            };
            self.enqueue(message, deadline)?;
        }
        let sent = self.drain(deadline)?;
        self.commit(sent)
    }

    fn begin(&self) -> Result<Instant, Failed> {
        let reports = self.producer.context();
        lock(&reports.unconfirmed).clear();
        *lock(&reports.given_up) = None;
        let begun = self.control.calls.during("begin_transaction", || self.producer.begin_transaction());
        begun.map_err(|e| self.broken(&e, format!("begin_transaction: {e}")))?;
        Ok(Instant::now() + DRAIN_LIMIT)
    }

    fn send<'r>(
        &self,
        records: impl Iterator<Item = (usize, &'r Record)>,
        positions: &[(CursorKey, Cursor)],
    ) -> Result<Sent, Failed> {
        let deadline = self.begin()?;
        for (input, record) in records {
            let topic = &self.topics.get(record.topic).name;
            let message = || {
                let message = BaseRecord::with_opaque_to(topic, input);
                message.key(&record.key).payload(record.value.as_ref()).headers(headers(record))
            };
            self.enqueue(message, deadline)?;
        }
        let at = now();
        for (key, cursor) in positions {
            let topic = &self.topics.cursors.name;
            let (key, value) = (encode_key(key), encode_value(cursor, at));
            let message = || {
                let message = BaseRecord::with_opaque_to(topic, POSITIONS);
                message.partition(self.shard).key(&key).payload(value.as_bytes())
            };
            self.enqueue(message, deadline)?;
        }
        self.drain(deadline)
    }

    fn enqueue<'m>(
        &self,
        message: impl Fn() -> BaseRecord<'m, String, [u8], usize>,
        deadline: Instant,
    ) -> Result<(), Failed> {
        loop {
            match self.producer.send(message()) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                    self.producer.poll(POLL_SLICE);
                }
                Err((error, message)) => {
                    let (topic, input) = (message.topic.to_owned(), message.delivery_opaque);
                    return Err(self.failed(&[Unconfirmed { error, topic, input }]));
                }
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
        let unconfirmed = lock(&self.producer.context().unconfirmed);
        if unconfirmed.is_empty() { Ok(Sent(())) } else { Err(self.failed(&unconfirmed)) }
    }

    /// A refusal counts for more than what follows from it (the records behind it fail too). An error that broke the
    /// whole client explains all the others.
    fn failed(&self, unconfirmed: &[Unconfirmed]) -> Failed {
        let refused = || unconfirmed.iter().filter(|u| is_refusal(&u.error) && u.input != POSITIONS);
        if let Some(first) = refused().next() {
            let suspects = refused().map(|u| u.input).collect();
            return Failed::Refused { reason: verdict::explain(&first.error, &first.topic), suspects };
        }
        match (self.producer.client().fatal_error(), unconfirmed.first()) {
            (Some((code, reason)), _) if is_fenced(code) => Failed::Fenced(reason),
            (Some((_, reason)), _) => Failed::Broken(reason),
            (None, Some(first)) => {
                let given_up = lock(&self.producer.context().given_up).clone();
                let reason = given_up.unwrap_or_else(|| verdict::explain(&first.error, &first.topic));
                self.broken(&first.error, reason)
            }
            (None, None) => Failed::Broken("not confirmed".to_owned()),
        }
    }

    /// An error of a call, told apart by whether somebody else has the transactional id.
    fn broken(&self, error: &KafkaError, reason: String) -> Failed {
        let codes = [verdict::code(error), self.producer.client().fatal_error().map(|(code, _)| code)];
        if codes.into_iter().flatten().any(is_fenced) { Failed::Fenced(reason) } else { Failed::Broken(reason) }
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
                Err(error) => return Err(self.broken(&error, format!("commit_transaction: {error}"))),
            }
        }
    }
}

fn is_fenced(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
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
