//! The spool in numbers, for metrics, status, readiness and the decision which way an input goes.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use connector_sdk::Timestamp;
use serde::Serialize;

use super::{SpoolError, SpoolSettings};

/// Shared by all parts of a spool.
#[derive(Default)]
pub struct Figures {
    pub entries: AtomicU64,
    pub bytes: AtomicU64,
    pub max_bytes: AtomicU64,
    pub max_age_ms: AtomicI64,
    /// Unix milliseconds of the oldest entry; 0 = none.
    pub oldest_ms: AtomicI64,
    /// The last write reached the disk.
    pub writable: AtomicBool,
    /// Inputs that went into the spool, and entries that Kafka has got since, of this process.
    pub spooled: AtomicU64,
    pub drained: AtomicU64,
    /// Of those drained: confirmed by Kafka after all, and not sent again.
    pub confirmed_late: AtomicU64,
    /// Of those drained: found on Kafka when their turn came, in part or whole, and not sent again.
    pub duplicates: AtomicU64,
    /// Of those drained: refused by Kafka for good, now dead letters.
    pub dead_lettered: AtomicU64,
    /// Something found no room, and nothing was removed since.
    pub turning_away: AtomicBool,
    /// Inputs turned away because the spool was full.
    pub refused_full: AtomicU64,
    /// Writes and reads that the disk or the database failed.
    pub errors: AtomicU64,
    /// Entries whose bytes were damaged; they are kept in the table `damaged`.
    pub damaged: AtomicU64,
    /// Times that a damaged database was moved aside.
    pub quarantined: AtomicU64,
    /// The last failure, for people.
    pub reason: Mutex<Option<String>>,
}

/// The spool as `/api/status` and `inlet spool status` show it.
#[derive(Clone, Debug, Serialize)]
pub struct SpoolState {
    pub entries: u64,
    pub bytes: u64,
    pub max_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    pub over_age: bool,
    pub full: bool,
    pub writable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub damaged: u64,
    pub quarantined: u64,
}

impl Figures {
    pub(super) fn new(settings: &SpoolSettings) -> Self {
        let figures = Self::default();
        figures.max_bytes.store(settings.max_bytes, Ordering::Relaxed);
        let max_age = i64::try_from(settings.max_age.as_millis()).unwrap_or(i64::MAX);
        figures.max_age_ms.store(max_age, Ordering::Relaxed);
        figures.writable.store(true, Ordering::Relaxed);
        figures
    }

    pub fn oldest(&self) -> Option<Timestamp> {
        match self.oldest_ms.load(Ordering::Relaxed) {
            0 => None,
            millis => Timestamp::from_unix_millis(millis),
        }
    }

    /// Age of the oldest entry; zero when there is none.
    pub fn oldest_age(&self, now: Timestamp) -> Duration {
        self.oldest().map_or(Duration::ZERO, |oldest| now.since(oldest))
    }

    /// The oldest entry is older than `max_age`.
    pub fn is_over_age(&self, now: Timestamp) -> bool {
        let limit = self.max_age_ms.load(Ordering::Relaxed);
        i64::try_from(self.oldest_age(now).as_millis()).unwrap_or(i64::MAX) > limit
    }

    pub fn is_full(&self) -> bool {
        self.turning_away.load(Ordering::Relaxed)
    }

    /// Input can be taken: the disk takes writes, and there is room (D14).
    pub fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed) && !self.is_full()
    }

    pub(super) fn failed(&self, reason: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut last = self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(%reason, "the spool cannot be written; input is refused where Kafka does not take it");
        }
        *last = Some(reason);
    }

    /// The last failure again, for input that comes while it lasts.
    pub(super) fn last_failure(&self, dir: &Path) -> SpoolError {
        let reason = self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        SpoolError::Disk { path: dir.to_owned(), reason: reason.unwrap_or_else(|| "it is not open".to_owned()) }
    }

    pub(super) fn worked(&self) {
        if !self.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("the spool can be written again");
            *self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        }
    }

    pub fn state(&self, now: Timestamp) -> SpoolState {
        let number = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        SpoolState {
            entries: number(&self.entries),
            bytes: number(&self.bytes),
            max_bytes: number(&self.max_bytes),
            oldest: self.oldest(),
            over_age: self.is_over_age(now),
            full: self.is_full(),
            writable: self.writable.load(Ordering::Relaxed),
            reason: self.reason.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            damaged: number(&self.damaged),
            quarantined: number(&self.quarantined),
        }
    }
}
