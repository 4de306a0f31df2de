//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential back-off with full jitter: half to whole of a doubling span.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// The next span; the source's own wish wins where it is longer.
    pub fn next(&mut self, wanted: Option<Duration>) -> Duration {
        let full = self.base.saturating_mul(1 << self.attempt.min(16)).min(self.cap);
        self.attempt += 1;
        // A fresh random state is the standard library's source of randomness; quality does not matter here.
        let random = RandomState::new().hash_one(self.attempt) % 1000;
        let jittered = full / 2 + (full / 2).mul_f64(random as f64 / 1000.0);
        jittered.max(wanted.unwrap_or(Duration::ZERO))
    }

    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_and_honours_the_source() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for attempt in 0..20u32 {
            let full = Duration::from_millis(100 << attempt.min(10)).min(Duration::from_secs(2));
            let span = backoff.next(None);
            assert!(span >= full / 2 && span <= full, "{attempt}: {span:?}");
        }
        assert_eq!(backoff.next(Some(Duration::from_secs(90))), Duration::from_secs(90));
    }
}
