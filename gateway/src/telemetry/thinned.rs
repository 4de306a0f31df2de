//! Log lines that an outage would repeat by the thousand: one in a while, with the number of those left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line in so long.
const EVERY: Duration = Duration::from_secs(5);

/// Decides for one sort of line.
#[derive(Default)]
pub struct Thinned(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Thinned {
    /// Whether it is time for a line; then how many were left out since the last.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_while_and_none_uncounted() {
        let (thinned, begin) = (Thinned::default(), Instant::now());
        assert_eq!(thinned.due_at(begin), Some(0));
        for _ in 0..100 {
            assert_eq!(thinned.due_at(begin + EVERY / 2), None);
        }
        assert_eq!(thinned.due_at(begin + EVERY), Some(100));
        assert_eq!(thinned.due_at(begin + EVERY * 3), Some(0));
    }
}
