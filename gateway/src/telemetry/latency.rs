//! How long inputs take, in buckets.

/// Upper bounds in seconds; from a fast broker to the longest deadline. What took longer is in a bucket without bound.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A histogram that lies behind its owner's lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    sum_seconds: f64,
    counts: [u64; BOUNDS.len() + 1],
}

impl Latency {
    pub fn observe(&mut self, seconds: f64) {
        self.sum_seconds += seconds;
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket] += 1;
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_seconds
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bounds and what lies in each bucket alone; the last one has no bound.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        BOUNDS.into_iter().chain([f64::MAX]).zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_the_first_bucket_that_holds_it() {
        let mut latency = Latency::default();
        [0.0005, 0.001, 0.0011, 2.5, 11.0].into_iter().for_each(|seconds| latency.observe(seconds));
        let filled: Vec<_> = latency.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.001, 2), (0.0025, 1), (2.5, 1), (f64::MAX, 1)]);
        assert_eq!(latency.count(), 5);
        assert!((latency.sum_seconds() - 13.5026).abs() < 1e-9);
    }
}
