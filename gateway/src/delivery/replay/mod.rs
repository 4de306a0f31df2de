//! The replay lane: ownership of shards by a consumer group, and one transactional producer per owned shard that holds
//! replay instances. See `docs/ARCHITECTURE.md`, Delivery.
//!
//! * [`partition`]: which shard an instance belongs to. [`codec`]: how a position is written.
//! * `group`: one thread polls the owners' group and announces [`Ownership`]. It gives liveness, never safety.
//! * `shard`: one thread and one producer a shard. Initialising the producer fences whoever had the shard before; the
//!   positions are read after that, and from then on each transaction commits events and positions together.
//! * Any error ends the [`Epoch`]: the producer is dropped, made anew, and the positions are read again.

mod calls;
pub mod codec;
mod control;
mod cursors;
mod entry;
mod group;
mod handle;
pub mod job;
pub mod manage;
mod owned;
pub mod partition;
mod shard;
mod slot;
mod status;
#[cfg(test)]
mod tests;
mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

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

/// Streams that begin like this are not a connector's: positions of jobs (`inlet:import:…`), and marks.
pub const RESERVED_PREFIX: &str = "inlet:";

impl CursorKey {
    pub fn new(instance: impl Into<String>, stream: StreamId) -> Self {
        Self { instance: instance.into(), stream }
    }

    /// Whether no connector's live intake wrote it.
    pub fn is_reserved(&self) -> bool {
        self.stream.0.starts_with(RESERVED_PREFIX)
    }
}

pub use cursors::{CursorsError, StoredCursor, list_cursors};
pub use handle::{InstanceRef, Replay, ReplayHandle};
pub use status::{LaneState, LastError, ReplayStatus, ShardStatus};

/// Makes the dead letter that takes the place of an input's records, from the reason.
pub type DeadLetterMaker = Arc<dyn Fn(&str) -> Vec<Record> + Send + Sync>;

/// One input of a replay source: its records and the position after it, to be committed together.
pub struct Input {
    pub key: CursorKey,
    /// Absent: the position does not move.
    pub cursor_after: Option<Cursor>,
    pub records: Vec<Record>,
    /// Makes the dead letter that takes the place of the records when Kafka refuses one of them for good.
    pub dead_letter: DeadLetterMaker,
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
    /// Committed positions of the shard's instances when the epoch began (or was [`refreshed`](Self::refreshed)).
    pub cursors: Arc<HashMap<CursorKey, Cursor>>,
    /// Bounded; a full queue is the back-pressure.
    pub lane: mpsc::Sender<Input>,
    pub ended: CancellationToken,
    committed: Committed,
}

/// Positions as of the last commit.
type Committed = Arc<RwLock<HashMap<CursorKey, Cursor>>>;

impl Epoch {
    pub(in crate::delivery) fn begin(
        cursors: HashMap<CursorKey, Cursor>,
        lane: mpsc::Sender<Input>,
        ended: CancellationToken,
    ) -> Self {
        Self { committed: Arc::new(RwLock::new(cursors.clone())), cursors: Arc::new(cursors), lane, ended }
    }

    /// The same epoch with the positions of now, for a source that starts again inside it: everything that was queued
    /// before is settled first, so that nothing of it is read twice. `None`: the epoch has ended.
    pub async fn refreshed(&self) -> Option<Self> {
        let (settled, done) = oneshot::channel();
        // An input with neither records nor position commits nothing and keeps its place in the queue.
        let barrier = Input {
            key: CursorKey { instance: String::new(), stream: StreamId::new("") },
            cursor_after: None,
            records: Vec::new(),
            dead_letter: Arc::new(|_| Vec::new()),
            settled,
        };
        tokio::select! {
            sent = self.lane.send(barrier) => sent.ok()?,
            () = self.ended.cancelled() => return None,
        }
        done.await.ok()?;
        let cursors = Arc::new(read(&self.committed).clone());
        Some(Self { cursors, ..self.clone() })
    }

    /// Notes what a transaction committed.
    pub(in crate::delivery) fn note_committed(&self, positions: impl IntoIterator<Item = (CursorKey, Cursor)>) {
        self.committed.write().unwrap_or_else(std::sync::PoisonError::into_inner).extend(positions);
    }
}

fn read(committed: &Committed) -> std::sync::RwLockReadGuard<'_, HashMap<CursorKey, Cursor>> {
    committed.read().unwrap_or_else(std::sync::PoisonError::into_inner)
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
