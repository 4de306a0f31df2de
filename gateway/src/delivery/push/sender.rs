//! Hands records to librdkafka, group by group, one group at a time: so they enter its queue in the callers' order.
//!
//! Whoever makes a group due sends it, a caller or librdkafka's thread with its reports: to wake a thread for each group
//! costs more than to hand it over. A thread of its own looks after what waits for too long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use rdkafka::message::OwnedHeaders;

use super::batch::Batch;
use super::end::End;
use super::gather::Gather;
use crate::delivery::settings::SettingsError;
use crate::pipeline::record::{Record, TopicRole};

/// A record on its way out, apart from its caller.
pub(super) struct Outgoing {
    pub batch: Arc<Batch>,
    /// Within its call.
    pub index: usize,
    pub topic: TopicRole,
    pub key: String,
    pub value: Bytes,
    pub headers: OwnedHeaders,
}

impl Outgoing {
    pub fn new(batch: &Arc<Batch>, index: usize, record: &Record) -> Self {
        let Record { topic, key, value, .. } = record;
        let headers = super::headers(record);
        Self { batch: batch.clone(), index, topic: *topic, key: key.clone(), value: value.clone(), headers }
    }
}

/// What waits, and the right to hand it over.
pub(super) struct Sender {
    gather: Gather<Outgoing>,
    /// Kafka's end, which knows this for its reports. None: before the start, and at the end, when nothing is handed over
    /// any more: librdkafka's own thread must not be the last that holds it.
    turn: Mutex<Option<Weak<End>>>,
}

impl Sender {
    pub fn new() -> Self {
        Self { gather: Gather::new(), turn: Mutex::default() }
    }

    /// Records go to `end` from now on. The thread runs until [`finish`](Self::finish).
    pub fn start(self: &Arc<Self>, end: &Arc<End>) -> Result<JoinHandle<()>, SettingsError> {
        *self.turn() = Some(Arc::downgrade(end));
        let sender = self.clone();
        let look_after = move || {
            while sender.gather.overdue() {
                let turn = sender.turn();
                sender.hand_over_all(turn.as_ref());
                drop(turn);
                sender.hand_over();
            }
        };
        let thread = std::thread::Builder::new().name("push-overdue".to_owned());
        thread.spawn(look_after).map_err(|error| SettingsError::Client(format!("no thread for the push lane: {error}")))
    }

    /// Puts some into the queue in their order, and nobody's between them.
    pub fn put(&self, outgoing: impl IntoIterator<Item = Outgoing>) {
        if self.gather.put(outgoing) {
            self.hand_over();
        }
    }

    /// One that was handed over has its verdict.
    pub fn arrived(&self) {
        if self.gather.arrived() {
            self.hand_over();
        }
    }

    /// Those that wait or are on their way.
    pub fn len(&self) -> usize {
        self.gather.len()
    }

    /// Hands over what waits. Afterwards no report does.
    pub fn finish(&self) {
        self.gather.end();
        let mut turn = self.turn();
        self.hand_over_all(turn.take().as_ref());
    }

    /// Hands over what is due. Returns at once where somebody is at it, who then does this too: reports must not wait for
    /// each other.
    fn hand_over(&self) {
        while self.gather.is_due() {
            let turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if !self.hand_over_all(turn.as_ref()) {
                return;
            }
            // Given back before the next look: who found it taken meanwhile relies on that look.
            drop(turn);
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<Weak<End>>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that waits, for whoever has the turn; `false` where there is no end to hand it to.
    fn hand_over_all(&self, end: Option<&Weak<End>>) -> bool {
        let Some(end) = end.and_then(Weak::upgrade) else { return false };
        let producer = end.current();
        let mut failed: Option<(Arc<Batch>, _)> = None;
        for outgoing in self.gather.take() {
            let batch = outgoing.batch.clone();
            // The rest of a call is not sent: its order would be lost. What went before is waited for.
            let is_rest = failed.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &batch));
            let failure = match (is_rest, &failed) {
                (true, Some((_, failure))) => Some(Clone::clone(failure)),
                _ => end.send(&producer, outgoing).err(),
            };
            if let Some(failure) = failure {
                self.gather.arrived();
                batch.settle(1, Some(failure.clone()));
                failed = Some((batch, failure));
            }
        }
        true
    }
}
