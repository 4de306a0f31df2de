//! An input on its way to Kafka, and the copies of it that wait for what becomes of it.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

const UNDER_WAY: u8 = 0;
const LANDED: u8 = 1;
const FAILED: u8 = 2;

/// Shared by the input that publishes and those that wait for it.
#[derive(Debug)]
pub struct Flight {
    /// Milliseconds since 1970.
    pub began_millis: i64,
    state: AtomicU8,
    ended: Notify,
}

impl Flight {
    pub fn begin(began_millis: i64) -> Self {
        Self { began_millis, state: AtomicU8::new(UNDER_WAY), ended: Notify::new() }
    }

    /// Tells all who wait. Its ids must have left the table's flights before: who waits asks the table anew.
    pub fn end(&self, landed: bool) {
        self.state.store(if landed { LANDED } else { FAILED }, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Waits for the end; true = it landed.
    pub async fn landed(&self) -> bool {
        let mut ended = std::pin::pin!(self.ended.notified());
        // From here on no end is missed.
        ended.as_mut().enable();
        if self.state.load(Ordering::Acquire) == UNDER_WAY {
            ended.await;
        }
        self.state.load(Ordering::Acquire) == LANDED
    }
}
