//! How long to wait before trying again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Exponential back-off with jitter: half to whole of a doubling span. The jitter follows from whose it is and which
/// attempt, so that those who failed together do not come back together, and a run can be repeated.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
    whose: u64,
}

impl Backoff {
    pub fn new(base: Duration, cap: Duration, whose: &str) -> Self {
        Self { base, cap, attempt: 0, whose: hashed(&whose) }
    }

    /// The next span; the source's own wish wins where it is longer.
    pub fn next(&mut self, wanted: Option<Duration>) -> Duration {
        let full = self.base.saturating_mul(1 << self.attempt.min(16)).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        let share = hashed(&(self.whose, self.attempt)) % 1000;
        let jittered = full / 2 + (full / 2).mul_f64(share as f64 / 1000.0);
        jittered.max(wanted.unwrap_or(Duration::ZERO))
    }

    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

fn hashed(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_and_heeds_the_source() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8), "a");
        let spans: Vec<_> = (0..6).map(|_| backoff.next(None)).collect();
        assert!(spans[0] >= Duration::from_millis(500) && spans[0] <= Duration::from_secs(1));
        assert!(spans[5] >= Duration::from_secs(4) && spans[5] <= Duration::from_secs(8));
        assert_eq!(backoff.next(Some(Duration::from_secs(60))), Duration::from_secs(60));
        backoff.reset();
        assert_eq!(backoff.next(None), spans[0]);
    }

    #[test]
    fn two_that_fail_together_come_back_apart() {
        let spans = |whose| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), whose);
            [backoff.next(None), backoff.next(None), backoff.next(None)]
        };
        assert_ne!(spans("a"), spans("b"));
    }
}
