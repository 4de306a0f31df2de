//! The replay lane: ownership of shards by a consumer group, and one transactional producer per owned shard that holds
//! replay instances. See `docs/ARCHITECTURE.md`, Delivery.

use std::collections::HashMap;
use std::sync::Arc;

use connector_sdk::{Cursor, StreamId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::pipeline::record::Record;

/// Key of a stored position: instance and stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CursorKey {
    pub instance: String,
    pub stream: StreamId,
}

/// One input of a replay source: its records and the position after it, to be committed together.
pub struct Input {
    pub key: CursorKey,
    /// Absent: the position does not move.
    pub cursor_after: Option<Cursor>,
    pub records: Vec<Record>,
    /// Makes the dead letter that takes the place of the records when Kafka refuses one of them for good.
    pub dead_letter: Arc<dyn Fn(&str) -> Vec<Record> + Send + Sync>,
    /// Told once the transaction is committed; dropped (not told) when the epoch ends before that.
    pub settled: oneshot::Sender<Settled>,
}

/// How a committed input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Published,
    DeadLettered,
}

/// One life of a shard's transactional producer: from the moment when its cursors were read until an error or a
/// rebalance. Nothing in memory is trusted beyond it: after `ended`, drop what is in flight and wait for the next epoch.
#[derive(Clone)]
pub struct Epoch {
    /// Committed positions of the shard's instances when the epoch began.
    pub cursors: Arc<HashMap<CursorKey, Cursor>>,
    /// Bounded; a full queue is the back-pressure.
    pub lane: mpsc::Sender<Input>,
    pub ended: CancellationToken,
}

/// Ownership of one shard (partition of the cursors topic) by this process.
#[derive(Clone)]
pub struct Ownership {
    pub shard: i32,
    /// Cancelled when the shard is revoked or lost; the group waits (bounded) for `released`.
    pub revoked: CancellationToken,
    /// To be cancelled by the supervisor when everything of this shard has stopped.
    pub released: CancellationToken,
    /// The current epoch of the replay lane; `None` while it is being (re)built, always `None` for a shard without replay instances.
    pub epoch: watch::Receiver<Option<Epoch>>,
}
