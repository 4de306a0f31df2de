//! Gathers records while others are on their way: few and large requests under load, no waiting without it.
//!
//! A request costs the broker and the client the same whether it holds one record or a hundred. A fixed `linger.ms` is
//! either too short for many connections or too long for few; here the next group goes as soon as as many wait as are on
//! their way, nothing is on its way, or the first of them has waited for [`GATHER_MAX`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that a record waits here; a broker that does not answer must not hold the others up.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// What waits to be sent, in order, for one sender.
pub(super) struct Gather<T> {
    waiting: Mutex<Waiting<T>>,
    due: Condvar,
    /// Length of what waits, to be looked at without its lock.
    count: AtomicUsize,
    /// Taken by the sender, and not arrived.
    on_the_way: AtomicUsize,
    /// The sender has been woken and has not taken anything yet.
    told: AtomicBool,
}

struct Waiting<T> {
    items: Vec<T>,
    first: Instant,
    ended: bool,
}

impl<T> Gather<T> {
    pub fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting { items: Vec::new(), first: Instant::now(), ended: false }),
            due: Condvar::new(),
            count: AtomicUsize::new(0),
            on_the_way: AtomicUsize::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// Adds some in their order, and nobody's between them.
    pub fn put(&self, items: impl IntoIterator<Item = T>) {
        let mut waiting = self.lock();
        let starts_clock = waiting.items.is_empty();
        if starts_clock {
            waiting.first = Instant::now();
        }
        waiting.items.extend(items);
        self.count.store(waiting.items.len(), Ordering::SeqCst);
        if starts_clock || self.is_due() {
            self.tell(&waiting);
        }
    }

    /// One that was taken has its verdict.
    pub fn arrived(&self) {
        self.on_the_way.fetch_sub(1, Ordering::SeqCst);
        // A sender that was told looks after this.
        if self.is_due() && !self.told.load(Ordering::SeqCst) {
            self.tell(&self.lock());
        }
    }

    /// Those that wait or are on their way.
    pub fn len(&self) -> usize {
        // In this order, as they move: none is overlooked, one may be counted twice.
        self.count.load(Ordering::SeqCst) + self.on_the_way.load(Ordering::SeqCst)
    }

    /// For the sender: blocks until some are due, and takes all that wait; each has to be said to have arrived. `None`:
    /// it has ended, and nothing is left.
    pub fn next(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        loop {
            self.told.store(false, Ordering::SeqCst);
            let left = GATHER_MAX.saturating_sub(waiting.first.elapsed());
            if !waiting.items.is_empty() && (self.is_due() || waiting.ended || left.is_zero()) {
                let capacity = waiting.items.len();
                let items = std::mem::replace(&mut waiting.items, Vec::with_capacity(capacity));
                self.on_the_way.fetch_add(items.len(), Ordering::SeqCst);
                self.count.store(0, Ordering::SeqCst);
                return Some(items);
            }
            if waiting.items.is_empty() && waiting.ended {
                return None;
            }
            waiting = if waiting.items.is_empty() {
                self.due.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.due.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// Nothing more is put in; what waits is still taken.
    pub fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        self.due.notify_one();
    }

    fn is_due(&self) -> bool {
        let waiting = self.count.load(Ordering::SeqCst);
        waiting > 0 && waiting >= self.on_the_way.load(Ordering::SeqCst)
    }

    /// With the lock, so that the sender is not between its look and its sleep.
    fn tell(&self, _: &MutexGuard<'_, Waiting<T>>) {
        if !self.told.swap(true, Ordering::SeqCst) {
            self.due.notify_one();
        }
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
        gather.put([1, 2, 3, 4]);
        assert_eq!(gather.next(), Some(vec![1, 2, 3, 4]));
        gather.put([5]);
        gather.put([6]);
        assert!(!gather.is_due());
        gather.arrived();
        assert!(!gather.is_due(), "three are on their way");
        gather.arrived();
        assert!(gather.is_due());
        assert_eq!(gather.next(), Some(vec![5, 6]));
    }

    #[test]
    fn none_waits_for_what_does_not_arrive() {
        let gather = Gather::new();
        gather.put(0..100);
        assert_eq!(gather.next().map(|items| items.len()), Some(100));
        let began = Instant::now();
        gather.put([100]);
        assert_eq!(gather.next(), Some(vec![100]));
        assert!(began.elapsed() >= GATHER_MAX, "it was due before");
    }

    #[test]
    fn whoever_waits_for_work_is_woken_and_ends_with_it() {
        let gather = std::sync::Arc::new(Gather::new());
        let sender = std::thread::spawn({
            let gather = gather.clone();
            move || {
                let mut taken = Vec::new();
                while let Some(items) = gather.next() {
                    items.iter().for_each(|_| gather.arrived());
                    taken.extend(items);
                }
                taken
            }
        });
        (0..1000).for_each(|n| gather.put([n]));
        gather.end();
        assert_eq!(sender.join().expect("no panic"), (0..1000).collect::<Vec<_>>());
    }
}
