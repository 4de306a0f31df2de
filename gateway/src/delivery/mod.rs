//! Delivery to Kafka: two lanes, one settle rule.
//!
//! * [`push`]: the plain idempotent producer for webhooks and ephemeral sessions: at least once, repeats recognised.
//! * [`replay`]: one transactional producer per owned shard: the events and the cursor commit together, exactly once.
//!
//! Whoever calls hears `Ok` only when every in-sync replica has the records.

pub mod consumer;
pub mod embedded;
mod link;
pub mod memory;
pub mod push;
pub mod replay;
mod sections;
pub mod settings;
mod topic_settings;
pub mod topics;
mod verdict;

pub use link::{LinkState, why_away};

use async_trait::async_trait;
use connector_sdk::{Blob, Timestamp};
use tokio::time::Instant;

use crate::pipeline::record::Record;
use crate::telemetry::counters::{Fate, InstanceCounters};

/// Why records are not safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Kafka does not confirm now; the same records may be sent again later.
    #[error("Kafka does not confirm: {0}")]
    Unavailable(String),
    /// Kafka will never take this record (its size, its timestamp): a dead letter. Missing topics and rights are
    /// `Unavailable`: people repair them, and then the same record is taken.
    #[error("Kafka refuses record {index}: {reason}")]
    Refused { index: usize, reason: String },
}

/// One accepted input, prepared: what a lane becomes responsible for.
#[derive(Clone)]
pub struct Parcel<'a> {
    pub records: Vec<Record>,
    /// What the blob store did not take: to be stored before the records are sent. Only for publishers that take it.
    pub blobs: Vec<Blob>,
    pub accepted_at: Timestamp,
    /// When its sender has to hear what became of it; absent: it is worth any wait.
    pub answer_by: Option<Instant>,
    /// What it counts as when its records are on Kafka, and for whom.
    pub fate: Fate,
    pub counters: &'a InstanceCounters,
}

/// Where inputs are safe.
#[must_use = "whoever counts the inputs has to know that the spool has them"]
pub enum Safe {
    /// Every in-sync replica has the records.
    OnKafka,
    /// Fsynced in the spool, which counts them when Kafka has them.
    Spooled(Receipt),
}

impl Safe {
    /// The inputs were counted: as what they are, or as spooled.
    pub fn claim(self) {
        if let Self::Spooled(receipt) = self {
            receipt.claim();
        }
    }
}

/// The spool's receipt for the inputs of one call. Where nobody claims it (the caller has given the inputs back
/// meanwhile), the spool's copies are counted as inputs of their own.
pub struct Receipt(Vec<InstanceCounters>);

impl Receipt {
    /// For the inputs of one call.
    pub fn new(counters: Vec<InstanceCounters>) -> Self {
        Self(counters)
    }

    /// The inputs were counted as spooled.
    pub fn claim(mut self) {
        self.0.clear();
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.0.iter().for_each(|counters| counters.recovered(1));
    }
}

/// The push lane.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends all records, in order per key, and waits until they are safe.
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError>;

    /// The same for accepted inputs, in their order. An index in an error counts the records of all of them.
    async fn deliver(&self, parcels: Vec<Parcel<'_>>) -> Result<Safe, PublishError> {
        if parcels.iter().any(|parcel| !parcel.blobs.is_empty()) {
            return Err(PublishError::Unavailable("the blob store does not take the input's blobs".to_owned()));
        }
        self.publish(parcels.into_iter().flat_map(|parcel| parcel.records).collect()).await.map(|()| Safe::OnKafka)
    }

    /// Whether parcels may bring blobs that the store did not take.
    fn takes_blobs(&self) -> bool {
        false
    }

    /// Whether it keeps to `answer_by` by itself: its callers then need no clock.
    fn keeps_time(&self) -> bool {
        false
    }
}
