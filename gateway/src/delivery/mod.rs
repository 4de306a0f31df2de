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

pub use link::LinkState;

use async_trait::async_trait;

use crate::pipeline::record::Record;

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

/// The push lane.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Sends all records, in order per key, and waits for the broker's reports.
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError>;
}
