//! What librdkafka tells the push lane: delivery reports, errors, statistics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use serde::Deserialize;

use super::batch::Report;
use super::sender::Sender;
use super::{Link, PublishError, Verdict, verdict};
use crate::delivery::link::log;

/// Counters of the push lane since the start of the process.
#[derive(Default)]
pub struct PushFigures {
    /// Records that every in-sync replica has.
    pub confirmed: AtomicU64,
    /// Records that were not confirmed in time.
    pub unavailable: AtomicU64,
    /// Records that Kafka never takes.
    pub refused: AtomicU64,
    /// Bytes that wait in the queue, as of the last statistics.
    pub queued_bytes: AtomicU64,
}

impl PushFigures {
    /// Counts a failure and makes the caller's error of it.
    pub(super) fn count(&self, error: &KafkaError, index: usize, topic: &str) -> PublishError {
        let reason = verdict::explain(error, topic);
        match verdict::code(error).map(verdict::verdict) {
            Some(Verdict::Never) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                PublishError::Refused { index, reason }
            }
            Some(Verdict::Later) | None => {
                self.unavailable.fetch_add(1, Ordering::Relaxed);
                PublishError::Unavailable(reason)
            }
        }
    }
}

#[derive(Clone)]
pub(super) struct PushContext {
    pub link: Arc<Link>,
    pub figures: Arc<PushFigures>,
    /// Set when librdkafka will take no more records: the producer has to be replaced.
    pub broken: Arc<AtomicBool>,
    /// Whose records these are; none for those that are sent one by one.
    pub sender: Option<Arc<Sender>>,
}

impl ClientContext for PushContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if matches!(error, KafkaError::Global(RDKafkaErrorCode::Fatal)) {
            self.broken.store(true, Ordering::Relaxed);
            self.link.set_down(reason.to_owned());
        } else {
            self.link.note(&error, reason);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => {
                self.figures.queued_bytes.store(statistics.msg_size, Ordering::Relaxed);
                self.link.observe(statistics.brokers.values().any(|broker| broker.state == "UP"));
            }
            Err(error) => tracing::debug!(%error, "librdkafka statistics are not readable"),
        }
    }
}

impl ProducerContext for PushContext {
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        match result {
            Ok(_) => {
                self.figures.confirmed.fetch_add(1, Ordering::Relaxed);
                self.link.confirm();
                report.batch.settle(1, None);
            }
            Err((error, message)) => {
                if matches!(verdict::code(error), Some(RDKafkaErrorCode::Fatal)) {
                    self.broken.store(true, Ordering::Relaxed);
                }
                let failure = self.figures.count(error, report.index, message.topic());
                report.batch.settle(1, Some(failure));
            }
        }
        // Last: it may send, and whoever waits for this one need not wait for that.
        if let Some(sender) = &self.sender {
            sender.arrived();
        }
    }
}

/// The few of librdkafka's figures that are used (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    msg_size: u64,
    brokers: HashMap<String, BrokerStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
}
