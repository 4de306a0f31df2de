//! Which way an input goes: past an empty spool, or behind what it holds (D5).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::sync::Notify;

/// Entries between their commit and Kafka's confirmation.
#[derive(Default)]
pub(super) struct Gate {
    /// Committed, and not handed to the producer yet.
    unsent: AtomicU64,
    /// Handed to the producer, and not confirmed yet.
    in_flight: AtomicU64,
    /// The last entry whose commit is complete, with all that is known of it.
    through: AtomicI64,
    pub changed: Notify,
}

/// What stands before an input that comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// All of it is on its way to Kafka.
    UnderWay,
    Waiting,
}

impl Gate {
    /// Entries up to this id were committed; before any of their senders hears of it.
    pub fn committed(&self, entries: u64, through: i64) {
        self.through.fetch_max(through, Ordering::AcqRel);
        self.unsent.fetch_add(entries, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// One was handed to the producer.
    pub fn sent(&self) {
        // In this order: an entry is never in neither.
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.unsent.fetch_sub(1, Ordering::AcqRel);
    }

    /// Entries that were committed are not there any longer: the database was damaged.
    pub fn vanished(&self, entries: u64) {
        self.unsent.fetch_sub(entries, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// One is on Kafka.
    pub fn confirmed(&self) {
        if self.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    pub fn before(&self) -> Before {
        if self.unsent.load(Ordering::Acquire) > 0 {
            Before::Waiting
        } else if self.in_flight.load(Ordering::Acquire) > 0 {
            Before::UnderWay
        } else {
            Before::Nothing
        }
    }

    /// Entries up to this id may be read.
    pub fn through(&self) -> i64 {
        self.through.load(Ordering::Acquire)
    }

    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Acquire)
    }
}
