//! Workers of all replicas share a topic; what is done is committed, what is not is done again elsewhere.

use std::sync::{Arc, Mutex};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::KafkaError;

use super::progress::Progress;
use super::{ConsumeError, Received};
use crate::delivery::link::{lock, log};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::record::TopicRole;

/// A record to work on. Dropping it without [`done`](Self::done) leaves it (and what comes after it in its partition)
/// to be done again after a restart.
pub struct Job {
    pub received: Received,
    assignment: u64,
    shared: Arc<Shared>,
}

struct Shared {
    topic: String,
    consumer: StreamConsumer<Members>,
    progress: Arc<Mutex<Progress>>,
}

/// Membership in the group of the fetch workers: at least once, several jobs at a time.
pub struct GroupConsumer {
    shared: Arc<Shared>,
}

impl GroupConsumer {
    /// Joins as soon as Kafka is there.
    pub fn join(settings: &KafkaSettings) -> Result<Self, ConsumeError> {
        let topic = settings.topics.get(TopicRole::Fetches).name.clone();
        let progress: Arc<Mutex<Progress>> = Arc::default();
        let members = Members { progress: progress.clone() };
        let consumer: StreamConsumer<Members> =
            settings.workers(&settings.fetches_group())?.create_with_context(members)?;
        consumer.subscribe(&[&topic])?;
        Ok(Self { shared: Arc::new(Shared { topic, consumer, progress }) })
    }

    /// The next job. Waits through outages; fails only when the client is given up: then join again. To be called
    /// again within minutes: the group takes a silent member's partitions away. May be dropped and called again.
    pub async fn next(&self) -> Result<Job, ConsumeError> {
        let shared = &self.shared;
        loop {
            match shared.consumer.recv().await {
                Ok(message) => {
                    let received = Received::of(TopicRole::Fetches, &message);
                    let assignment = lock(&shared.progress).begin(received.partition, received.offset);
                    return Ok(Job { received, assignment, shared: shared.clone() });
                }
                Err(KafkaError::MessageConsumptionFatal(code)) => return Err(ConsumeError::Kafka(code.to_string())),
                Err(error) => tracing::debug!(%error, "fetch workers wait"),
            }
        }
    }
}

impl Job {
    /// The work is done and its results are safe: the group may go on behind it.
    pub fn done(self) {
        let (partition, offset) = (self.received.partition, self.received.offset);
        // Held until the offset is noted: an older one must not overtake it.
        let mut progress = lock(&self.shared.progress);
        let Some(next) = progress.done(partition, offset, self.assignment) else { return };
        // Stored offsets are committed every second, when a partition is revoked and when the group is left. It is the
        // last done offset that is stored: the client adds one. A partition that is just being taken away is no
        // concern: its next owner does the job again.
        if next > 0
            && let Err(error) = self.shared.consumer.store_offset(&self.shared.topic, partition, next - 1)
        {
            tracing::debug!(partition, offset, %error, "a finished job could not be noted");
        }
    }
}

struct Members {
    progress: Arc<Mutex<Progress>>,
}

impl ClientContext for Members {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Members {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut progress = lock(&self.progress);
            partitions.elements().iter().for_each(|element| progress.revoke(element.partition()));
        }
    }
}
