//! What the replay lane tells about itself, for `/api/status` and metrics.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use connector_sdk::Timestamp;
use serde::Serialize;

use crate::clock::now;
use crate::delivery::link::lock;

/// The lane of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplayStatus {
    /// Whether this process is a member of the owners' group now.
    pub member: bool,
    /// The shards that it owns, by number.
    pub shards: Vec<ShardStatus>,
    /// Calls into the Kafka client that did not return in time, since the start; each cost its shard a new producer.
    pub hung_calls: u64,
    /// Of the group itself.
    pub last_error: Option<LastError>,
}

/// One owned shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    pub shard: i32,
    pub state: LaneState,
    /// Counts the epochs of this ownership; a number that rises fast means trouble.
    pub epochs: u64,
    /// Inputs committed in this ownership, dead letters included.
    pub inputs: u64,
    pub dead_letters: u64,
    pub transactions: u64,
    pub last_commit: Option<Timestamp>,
    pub last_error: Option<LastError>,
}

/// What a shard's lane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// No replay instance lives here.
    Idle,
    /// Fencing the owner before, reading the positions.
    Opening,
    Running,
    /// After an error, before the next attempt.
    Waiting,
    Stopping,
}

/// An error and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    pub at: Timestamp,
    pub reason: String,
}

impl LastError {
    fn now(reason: String) -> Self {
        Self { at: now(), reason }
    }
}

/// The status as it is being written.
#[derive(Default)]
pub(super) struct Board {
    group: Mutex<(bool, Option<LastError>)>,
    shards: Mutex<BTreeMap<i32, ShardStatus>>,
    hung_calls: AtomicU64,
}

impl Board {
    pub fn read(&self) -> ReplayStatus {
        let (member, last_error) = lock(&self.group).clone();
        let hung_calls = self.hung_calls.load(Ordering::Relaxed);
        ReplayStatus { member, shards: lock(&self.shards).values().cloned().collect(), hung_calls, last_error }
    }

    pub fn member(&self, member: bool) {
        lock(&self.group).0 = member;
    }

    /// An error of the group; logged when it is a new one.
    pub fn group_error(&self, reason: String) {
        let mut group = lock(&self.group);
        if group.1.as_ref().is_none_or(|known| known.reason != reason) {
            tracing::warn!(%reason, "replay lane: the owners' group");
        }
        group.1 = Some(LastError::now(reason));
    }

    pub fn owned(&self, shard: i32) {
        let status = ShardStatus {
            shard,
            state: LaneState::Idle,
            epochs: 0,
            inputs: 0,
            dead_letters: 0,
            transactions: 0,
            last_commit: None,
            last_error: None,
        };
        lock(&self.shards).insert(shard, status);
    }

    pub fn given_up(&self, shard: i32) {
        lock(&self.shards).remove(&shard);
    }

    /// Changes the entry of a shard that is still owned.
    pub fn change(&self, shard: i32, change: impl FnOnce(&mut ShardStatus)) {
        if let Some(status) = lock(&self.shards).get_mut(&shard) {
            change(status);
        }
    }

    pub fn state(&self, shard: i32, state: LaneState) {
        self.change(shard, |status| status.state = state);
    }

    /// Why an epoch ended; logged when it is a new reason.
    pub fn shard_error(&self, shard: i32, reason: String) {
        self.change(shard, |status| {
            if status.last_error.as_ref().is_none_or(|known| known.reason != reason) {
                tracing::warn!(shard, %reason, "replay lane: the epoch has ended");
            }
            status.last_error = Some(LastError::now(reason));
        });
    }

    /// A lane was given up in a call.
    pub fn hung(&self, shard: i32, reason: String) {
        self.hung_calls.fetch_add(1, Ordering::Relaxed);
        self.change(shard, |status| status.last_error = Some(LastError::now(reason)));
    }

    /// Why a shard is still being opened; an outage is told once, by the link, and not by every shard.
    pub fn shard_waits(&self, shard: i32, reason: String) {
        self.change(shard, |status| status.last_error = Some(LastError::now(reason)));
    }
}
