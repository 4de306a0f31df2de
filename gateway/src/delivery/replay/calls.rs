//! Watches the blocking calls into librdkafka: some of them have been seen to outlast their own time-outs.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::delivery::link::lock;

/// The call that a thread is in.
#[derive(Default)]
pub(super) struct Calls(Mutex<Option<(&'static str, Instant)>>);

impl Calls {
    /// Runs a blocking call under watch.
    pub fn during<T>(&self, name: &'static str, call: impl FnOnce() -> T) -> T {
        self.begin(name);
        let result = call();
        self.end();
        result
    }

    /// For a call that ends elsewhere than it begins.
    pub fn begin(&self, name: &'static str) {
        *lock(&self.0) = Some((name, Instant::now()));
    }

    pub fn end(&self) {
        *lock(&self.0) = None;
    }

    /// The call that has lasted for longer than `limit`.
    pub fn overdue(&self, limit: Duration) -> Option<&'static str> {
        lock(&self.0).filter(|(_, since)| since.elapsed() > limit).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_call_is_overdue() {
        let calls = Calls::default();
        calls.during("call", || {
            assert_eq!(calls.overdue(Duration::from_secs(60)), None);
            assert_eq!(calls.overdue(Duration::ZERO), Some("call"));
        });
        assert_eq!(calls.overdue(Duration::ZERO), None);
    }
}
