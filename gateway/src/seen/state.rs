//! How much the index knows.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;

/// How long an input waits for the index at a start; well below the deadline after which it would be given back.
const READY_WAIT: Duration = Duration::from_millis(1500);

/// How soon it is noticed that doubts ended without a change of state.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How much the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Filling {
    /// What this process has published; there is nobody else.
    Local,
    /// It is being read from Kafka.
    Filling,
    /// All that was told within the window.
    Filled,
    /// It was filled, and has not heard of the others for seconds.
    Behind,
    /// What this process has published and could read before Kafka went away.
    Blind,
}

const ALL: [Filling; 5] = [Filling::Local, Filling::Filling, Filling::Filled, Filling::Behind, Filling::Blind];

pub struct State {
    filling: AtomicU8,
    /// Until when "filled" is true without further news, in milliseconds since `made`. A process that is frozen and goes on
    /// asks before anybody can set another state.
    fresh_until: AtomicU64,
    made: Instant,
    /// It was waited for in vain: what it does not know is passed over until it is filled again.
    passed_over: AtomicBool,
    reason: Mutex<Option<String>>,
    changed: Notify,
}

impl State {
    pub fn of(filling: Filling) -> Self {
        Self {
            filling: AtomicU8::new(filling as u8),
            fresh_until: AtomicU64::new(u64::MAX),
            made: Instant::now(),
            passed_over: AtomicBool::new(false),
            reason: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub fn set(&self, filling: Filling, reason: Option<String>) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        if filling == Filling::Filled {
            self.passed_over.store(false, Ordering::Release);
        }
        if self.filling.swap(filling as u8, Ordering::Release) != filling as u8 {
            tracing::debug!(?filling, "seen index");
            self.changed.notify_waiters();
        }
    }

    pub fn get(&self) -> (Filling, Option<String>) {
        (self.now(), self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// A new id is new to all replicas.
    pub fn knows_all_at(&self, now: Instant) -> bool {
        match self.now() {
            Filling::Local => true,
            Filling::Filled => self.millis(now) < self.fresh_until.load(Ordering::Acquire),
            Filling::Filling | Filling::Behind | Filling::Blind => false,
        }
    }

    /// Whatever else comes, what is known is only good until then.
    pub fn fresh_until(&self, until: Instant) {
        self.fresh_until.store(self.millis(until), Ordering::Release);
    }

    fn millis(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.made).as_millis()).unwrap_or(u64::MAX)
    }

    /// What is new here may not be new to all replicas, and it is worth waiting until that is known.
    pub fn doubts(&self) -> bool {
        self.doubts_at(Instant::now())
    }

    pub fn doubts_at(&self, now: Instant) -> bool {
        !self.knows_all_at(now) && !self.passed_over.load(Ordering::Acquire)
    }

    /// Nobody waits any longer; true = somebody did.
    pub fn pass_over(&self) -> bool {
        let waited = self.doubts();
        self.passed_over.store(true, Ordering::Release);
        waited
    }

    /// Returns when there are no doubts.
    pub async fn certain(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.doubts() {
                return;
            }
            // News makes it fresh again without another state.
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    pub async fn ready(&self) {
        if self.now() != Filling::Filling {
            return;
        }
        let mut changed = std::pin::pin!(self.changed.notified());
        changed.as_mut().enable();
        if self.now() == Filling::Filling {
            // After that it goes on with what is known.
            let _ = tokio::time::timeout(READY_WAIT, changed).await;
        }
    }

    pub fn now(&self) -> Filling {
        ALL.into_iter().find(|one| *one as u8 == self.filling.load(Ordering::Acquire)).unwrap_or(Filling::Blind)
    }
}
