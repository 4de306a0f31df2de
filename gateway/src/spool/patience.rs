//! How long inputs wait for Kafka: all of them in one list, looked at now and then. A timer and a notice for each input stand
//! in lists too, and have to be found in them again when it is confirmed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::lane::{Lane, Sent};

/// How often what waits is looked at: so much later than its time an input may be given up.
const TICK: Duration = Duration::from_millis(25);
/// Looked at with the lock held once.
const AT_ONCE: usize = 64;

/// Gives up what is sent and not confirmed in time, and all of it when the lane goes away. Lives on a task.
pub(super) struct Patience {
    waiting: Arc<Waiting>,
    _looking: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Waiting {
    /// By the time until which they wait, which is the order in which they came. Those that are confirmed leave it with
    /// the next look.
    sent: Mutex<VecDeque<(Instant, Sent)>>,
    begun: Notify,
    is_over: AtomicBool,
}

impl Patience {
    /// On the current runtime.
    pub fn new(lane: Arc<dyn Lane>) -> Self {
        let waiting = Arc::<Waiting>::default();
        let looking = tokio::spawn(look_after(waiting.clone(), lane));
        Self { waiting, _looking: AbortOnDropHandle::new(looking) }
    }

    /// Nobody waits from now on. Whoever begins to watch meanwhile finds [`is_over`](Self::is_over) afterwards.
    pub fn end(&self) {
        self.waiting.is_over.store(true, Ordering::SeqCst);
        self.waiting.give_up(true);
    }

    pub fn is_over(&self) -> bool {
        self.waiting.is_over.load(Ordering::SeqCst)
    }

    /// From now on these are given up at `until`, or when the lane goes away.
    pub fn watch(&self, until: Instant, sent: &[Sent]) {
        let mut waiting = self.waiting.lock();
        let is_first = waiting.is_empty();
        waiting.extend(sent.iter().map(|sent| (until, sent.clone())));
        drop(waiting);
        if is_first {
            self.waiting.begun.notify_one();
        }
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Sent)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Gives up those whose time is over, or all of them; true = there were any.
    fn give_up(&self, all: bool) -> bool {
        let mut any = false;
        loop {
            let now = Instant::now();
            let mut waiting = self.lock();
            for _ in 0..AT_ONCE {
                match waiting.front() {
                    None => return any,
                    Some((_, sent)) if sent.is_settled() => {}
                    Some((until, sent)) if all || *until <= now => {
                        sent.give_up();
                        any = true;
                    }
                    Some(_) => return any,
                }
                waiting.pop_front();
            }
        }
    }
}

async fn look_after(waiting: Arc<Waiting>, lane: Arc<dyn Lane>) {
    let mut away = std::pin::pin!(lane.went_away().notified());
    // From here on it is not missed; it may have gone before.
    away.as_mut().enable();
    if !lane.is_usable() {
        waiting.give_up(true);
    }
    loop {
        while waiting.is_empty() {
            waiting.begun.notified().await;
        }
        let went_away = tokio::time::timeout(TICK, away.as_mut()).await.is_ok();
        if went_away {
            // Before the look: it may go away again meanwhile.
            away.set(lane.went_away().notified());
            away.as_mut().enable();
        }
        // It may have gone while nobody waited, and come back.
        let all = went_away && !lane.is_usable();
        if waiting.give_up(all) && !all {
            lane.stalled();
        }
    }
}
