//! The replay lane as one instance sees it during one epoch: what goes in, in order, and what becomes of it.
//!
//! A stream's position must never pass an input that was not taken. So the lane closes for good with the first input
//! that it cannot take, or that its driver gives up half-way; the driver then begins anew from the committed positions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use connector_sdk::{Cursor, IntakeError, Outcome, RawEvent, StreamId};
use tokio::sync::{RwLock, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::settle::{refused, settle};
use crate::delivery::Safe;
use crate::delivery::replay::{CursorKey, Epoch, Input, Settled};
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, SharedLine, dead_letters_later};
use crate::telemetry::counters::{Fate, InFlight, Returned};

/// Cheap to clone; clones are the same lane.
#[derive(Clone)]
pub struct Lane(Arc<Inner>);

struct Inner {
    instance: Arc<Instance>,
    line: SharedLine,
    epoch: Epoch,
    /// Positions committed through this lane, over those that its epoch began with.
    committed: Arc<Mutex<HashMap<StreamId, Cursor>>>,
    closed: CancellationToken,
    why_closed: OnceLock<String>,
    /// Held while an input is put into the queue: whoever closes the lane waits for that.
    gate: RwLock<()>,
    settling: mpsc::UnboundedSender<Settling>,
}

/// Why the lane did not take an input.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LaneFault {
    /// The epoch has ended: the next one tells from where to go on.
    #[error("the shard's epoch has ended")]
    Ended,
    /// This source has to begin anew within the epoch.
    #[error("{0}")]
    Closed(String),
}

impl LaneFault {
    pub fn into_intake(self) -> IntakeError {
        IntakeError::retry(self)
    }
}

impl Lane {
    /// On the current runtime. `epoch` must be fresh or [`refreshed`](Epoch::refreshed).
    pub fn new(instance: Arc<Instance>, line: SharedLine, epoch: Epoch) -> Self {
        let (settling, queue) = mpsc::unbounded_channel();
        let committed = Arc::default();
        tokio::spawn(settle_in_order(instance.clone(), Arc::clone(&committed), queue));
        Self(Arc::new(Inner {
            instance,
            line,
            epoch,
            committed,
            closed: CancellationToken::new(),
            why_closed: OnceLock::new(),
            gate: RwLock::new(()),
            settling,
        }))
    }

    /// The committed position of a stream.
    pub fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        let committed = self.0.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.get(stream).or_else(|| self.0.epoch.cursors.get(&self.key(stream))).cloned()
    }

    /// Cancelled when the epoch has ended.
    pub fn ended(&self) -> &CancellationToken {
        &self.0.epoch.ended
    }

    /// Returns, with the reason, when the lane takes nothing more though its epoch goes on.
    pub async fn closed(&self) -> LaneFault {
        self.0.closed.cancelled().await;
        self.fault()
    }

    /// Nothing is taken from now on, also not from tasks that a session left behind. What was queued before is settled.
    pub async fn close(&self) {
        self.shut("the source begins anew");
        drop(self.0.gate.write().await);
    }

    /// Commits a position without input; returns when it is safe.
    pub async fn store(&self, stream: &StreamId, cursor: Cursor) -> Result<(), LaneFault> {
        let (tell, told) = oneshot::channel();
        self.send(stream, Some(cursor), Vec::new(), tell).await?;
        told.await.map(drop).map_err(|_| LaneFault::Ended)
    }

    /// Runs inputs through the line and queues them, to be committed together with the position after them. `tell` hears
    /// the outcome once that is done, and is dropped when it will not be. Waits while the queue is full.
    pub async fn submit(
        &self,
        stream: &StreamId,
        raws: Vec<RawEvent>,
        cursor_after: Option<Cursor>,
        tell: oneshot::Sender<Outcome>,
    ) -> Result<(), LaneFault> {
        let mut half_way = HalfWay { lane: self, reason: Some("an input was given up half-way".to_owned()) };
        let accept = |raw| Entry { raw, prepared: Prepared::default(), in_flight: self.0.instance.counters.accept() };
        let mut inputs: Vec<_> = raws.into_iter().map(accept).collect();
        for input in &mut inputs {
            match self.0.line.prepare(&self.0.instance, &input.raw).await {
                Ok(done) => input.prepared = done,
                Err(fault) => {
                    half_way.reason = Some(fault.to_string());
                    inputs.into_iter().for_each(|input| input.in_flight.settle(Fate::Returned(Returned::Blobs)));
                    drop(half_way);
                    return Err(self.fault());
                }
            }
        }
        self.send(stream, cursor_after, inputs, tell).await?;
        half_way.reason = None;
        Ok(())
    }

    async fn send(
        &self,
        stream: &StreamId,
        cursor_after: Option<Cursor>,
        inputs: Vec<Entry>,
        tell: oneshot::Sender<Outcome>,
    ) -> Result<(), LaneFault> {
        let Inner { instance, line, epoch, closed, .. } = &*self.0;
        let (mut records, mut raws, mut queued) = (Vec::new(), Vec::new(), Vec::new());
        for Entry { raw, mut prepared, in_flight } in inputs {
            let sends = !prepared.records.is_empty();
            records.append(&mut prepared.records);
            if sends {
                raws.push(raw);
            }
            queued.push(Queued { sends, prepared, in_flight });
        }
        let (settled, outcome) = oneshot::channel();
        let input = Input {
            key: self.key(stream),
            cursor_after: cursor_after.clone(),
            records,
            dead_letter: dead_letters_later(line, instance, raws),
            settled,
        };
        let _passing = self.0.gate.read().await;
        tokio::select! {
            biased;
            () = closed.cancelled() => return Err(self.fault()),
            () = epoch.ended.cancelled() => {
                give_back(queued, Returned::Epoch);
                return Err(LaneFault::Ended);
            }
            place = epoch.lane.reserve() => match place {
                Ok(place) => place.send(input),
                Err(_) => {
                    give_back(queued, Returned::Epoch);
                    return Err(LaneFault::Ended);
                }
            },
        }
        let position = cursor_after.map(|cursor| (stream.clone(), cursor));
        // The settling task lives as long as this lane.
        let _ = self.0.settling.send(Settling { queued, position, outcome, tell });
        Ok(())
    }

    fn key(&self, stream: &StreamId) -> CursorKey {
        CursorKey { instance: self.0.instance.name.clone(), stream: stream.clone() }
    }

    fn shut(&self, reason: &str) {
        self.0.why_closed.get_or_init(|| reason.to_owned());
        self.0.closed.cancel();
    }

    fn fault(&self) -> LaneFault {
        LaneFault::Closed(self.0.why_closed.get().cloned().unwrap_or_default())
    }
}

/// Closes the lane unless the input got through.
struct HalfWay<'a> {
    lane: &'a Lane,
    reason: Option<String>,
}

impl Drop for HalfWay<'_> {
    fn drop(&mut self) {
        if let Some(reason) = &self.reason {
            self.lane.shut(reason);
        }
    }
}

/// An input on its way through the line.
struct Entry {
    raw: RawEvent,
    prepared: Prepared,
    in_flight: InFlight,
}

/// An input in the lane.
struct Queued {
    /// Whether it has records: only then a refusal concerns it.
    sends: bool,
    prepared: Prepared,
    in_flight: InFlight,
}

/// Queued inputs that are committed together.
struct Settling {
    queued: Vec<Queued>,
    position: Option<(StreamId, Cursor)>,
    outcome: oneshot::Receiver<Settled>,
    tell: oneshot::Sender<Outcome>,
}

/// Outlives its lane until everything queued is settled: what is committed is counted as such, whoever still waits.
async fn settle_in_order(
    instance: Arc<Instance>,
    committed: Arc<Mutex<HashMap<StreamId, Cursor>>>,
    mut queue: mpsc::UnboundedReceiver<Settling>,
) {
    while let Some(Settling { queued, position, outcome, tell }) = queue.recv().await {
        let Ok(settled) = outcome.await else {
            give_back(queued, Returned::Epoch);
            continue;
        };
        if let Some((stream, cursor)) = position {
            committed.lock().unwrap_or_else(PoisonError::into_inner).insert(stream, cursor);
        }
        let outcomes = queued.into_iter().map(|Queued { sends, prepared, in_flight }| {
            let is_refused = sends && settled == Settled::DeadLettered;
            settle(&instance, in_flight, if is_refused { refused() } else { prepared }, &Safe::OnKafka)
        });
        // A driver that is gone is no concern of the lane's.
        let _ = tell.send(together(outcomes));
    }
}

/// One outcome of several: the ids of all, dead-lettered where nothing else came of any.
fn together(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let (mut ids, mut dead, mut safe) = (Vec::new(), false, false);
    for outcome in outcomes {
        match outcome {
            Outcome::Safe { event_ids } => {
                safe = true;
                ids.extend(event_ids);
            }
            _ => dead = true,
        }
    }
    if dead && !safe { Outcome::DeadLettered } else { Outcome::Safe { event_ids: ids } }
}

fn give_back(queued: Vec<Queued>, why: Returned) {
    queued.into_iter().for_each(|one| one.in_flight.settle(Fate::Returned(why)));
}
