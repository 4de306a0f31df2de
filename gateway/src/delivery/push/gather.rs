//! Gathers records while others are on their way: few and large requests under load, no waiting without it.
//!
//! A request costs the broker and the client the same whether it holds one record or a hundred. A fixed `linger.ms` is
//! either too short for many connections or too long for few; here the next group is due as soon as as many wait as are
//! on their way, nothing is on its way, or the first of them has waited for [`GATHER_MAX`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that a record waits here; a broker that does not answer must not hold the others up.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// What waits to be sent, in order. Whoever makes a group due is told so, and sends it.
pub(super) struct Gather<T> {
    waiting: Mutex<Waiting<T>>,
    timed: Condvar,
    /// Length of what waits, to be looked at without its lock.
    count: AtomicUsize,
    /// Taken, and not arrived.
    on_the_way: AtomicUsize,
}

struct Waiting<T> {
    items: Vec<T>,
    first: Instant,
    /// Somebody looks after what waits for too long.
    is_timed: bool,
    ended: bool,
}

impl<T> Gather<T> {
    pub fn new() -> Self {
        let waiting = Waiting { items: Vec::new(), first: Instant::now(), is_timed: true, ended: false };
        Self {
            waiting: Mutex::new(waiting),
            timed: Condvar::new(),
            count: AtomicUsize::new(0),
            on_the_way: AtomicUsize::new(0),
        }
    }

    /// Adds some in their order, and nobody's between them. Says whether a group is due.
    pub fn put(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut waiting = self.lock();
        if waiting.items.is_empty() {
            waiting.first = Instant::now();
        }
        waiting.items.extend(items);
        self.count.store(waiting.items.len(), Ordering::SeqCst);
        let is_due = self.is_due();
        let to_be_timed = !is_due && !std::mem::replace(&mut waiting.is_timed, true);
        drop(waiting);
        if to_be_timed {
            self.timed.notify_one();
        }
        is_due
    }

    /// One that was taken has its verdict. Says whether a group is due.
    pub fn arrived(&self) -> bool {
        self.on_the_way.fetch_sub(1, Ordering::SeqCst);
        self.is_due()
    }

    /// As many wait as are on their way.
    pub fn is_due(&self) -> bool {
        let waiting = self.count.load(Ordering::SeqCst);
        waiting > 0 && waiting >= self.on_the_way.load(Ordering::SeqCst)
    }

    /// Those that wait or are on their way.
    pub fn len(&self) -> usize {
        // In this order, as they move: none is overlooked, one may be counted twice.
        self.count.load(Ordering::SeqCst) + self.on_the_way.load(Ordering::SeqCst)
    }

    /// All that wait; each has to be said to have arrived.
    pub fn take(&self) -> Vec<T> {
        let mut waiting = self.lock();
        let capacity = waiting.items.len();
        let items = std::mem::replace(&mut waiting.items, Vec::with_capacity(capacity));
        self.on_the_way.fetch_add(items.len(), Ordering::SeqCst);
        self.count.store(0, Ordering::SeqCst);
        items
    }

    /// Blocks until some have waited for too long (`true`) or it has ended. For one thread.
    pub fn overdue(&self) -> bool {
        let mut waiting = self.lock();
        while !waiting.ended {
            let left = GATHER_MAX.saturating_sub(waiting.first.elapsed());
            if waiting.items.is_empty() {
                waiting.is_timed = false;
                waiting = self.timed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            } else if left.is_zero() {
                return true;
            } else {
                waiting = self.timed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        false
    }

    /// Nobody waits in [`overdue`](Self::overdue) any more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.timed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_at_once_and_the_next_when_as_many_wait_as_are_on_their_way() {
        let gather = Gather::new();
        assert!(gather.put([1, 2, 3, 4]));
        assert_eq!(gather.take(), [1, 2, 3, 4]);
        assert!(!gather.put([5]), "four are on their way");
        assert!(!gather.put([6]));
        assert!(!gather.arrived(), "three are");
        assert!(gather.arrived());
        assert_eq!((gather.take(), gather.len()), (vec![5, 6], 4));
    }

    #[test]
    fn none_waits_for_what_does_not_arrive() {
        let gather = Gather::new();
        gather.put(0..100);
        assert_eq!(gather.take().len(), 100);
        let began = Instant::now();
        assert!(!gather.put([100]));
        assert!(gather.overdue());
        assert!(began.elapsed() >= GATHER_MAX, "it was due before");
        assert_eq!(gather.take(), [100]);
    }

    #[test]
    fn whoever_looks_after_the_time_is_woken_for_what_waits_and_at_the_end() {
        let gather = std::sync::Arc::new(Gather::new());
        assert!(gather.put(0..100));
        assert_eq!(gather.take().len(), 100);
        let timed = std::thread::spawn({
            let gather = gather.clone();
            move || {
                let mut taken = Vec::new();
                while gather.overdue() {
                    taken.extend(gather.take());
                }
                taken
            }
        });
        let began = Instant::now();
        for n in 1..=5 {
            assert!(!gather.put([n]), "more than wait are on their way");
            while gather.count.load(Ordering::SeqCst) > 0 {
                assert!(began.elapsed() < Duration::from_secs(20), "{n} was not looked after");
                std::thread::yield_now();
            }
        }
        gather.end();
        assert_eq!(timed.join().expect("no panic"), [1, 2, 3, 4, 5]);
    }
}
