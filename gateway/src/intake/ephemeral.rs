//! The session driver for sources that nobody replays: the push lane, in order, tried until Kafka takes it.
//!
//! The queue belongs to the source and outlives its connections: what one of them submitted goes out before what the
//! next one does, and a source that reconnects again and again while Kafka is away fills one bounded queue and then waits.
//! Where there is a spool it stands behind [`PushLine::publisher`], and this queue empties into it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_sdk::{Cursor, IntakeError, Outcome, RawEvent, SessionHost, StreamId, Ticket, Timestamp, async_trait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::backoff::Backoff;
use super::health::{Reporter, State};
use super::push::{PushLine, parcel};
use super::session::said;
use super::settle::{refused, settle};
use crate::delivery::{PublishError, Safe};
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, bare_letter};
use crate::telemetry::counters::InFlight;

/// What one source may have on its way at once; a full queue is the back-pressure.
pub const QUEUE_KIB: usize = 64 << 10;
/// What an input counts beside its body: about what it takes in memory on its way.
const INPUT_KIB: usize = 32;
/// Inputs that are published together.
const BATCH_INPUTS: usize = 256;
/// Pause between attempts: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// When the source was lost, and why; cleared when it is watched again.
pub(super) type LostAt = Arc<Mutex<Option<(Timestamp, String)>>>;

/// Inputs of one source on their way to Kafka. Cheap to clone.
#[derive(Clone)]
pub(super) struct PushQueue {
    instance: Arc<Instance>,
    inputs: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
}

struct Queued {
    raw: RawEvent,
    in_flight: InFlight,
    outcome: oneshot::Sender<Outcome>,
    room: OwnedSemaphorePermit,
}

impl PushQueue {
    /// On the current runtime.
    pub fn start(instance: Arc<Instance>, push: PushLine) -> Self {
        // `room` bounds it.
        let (inputs, queue) = mpsc::unbounded_channel();
        tokio::spawn(work(instance.clone(), push, queue));
        Self { instance, inputs, room: Arc::new(Semaphore::new(QUEUE_KIB)) }
    }

    async fn put(&self, raw: RawEvent) -> Ticket {
        let (outcome, ticket) = Ticket::new();
        let in_flight = self.instance.counters.accept();
        if let Ok(room) = self.room.clone().acquire_many_owned(weight(&raw)).await {
            // Its task lives as long as this queue.
            let _ = self.inputs.send(Queued { raw, in_flight, outcome, room });
        }
        ticket
    }

    /// Waits until everything submitted is settled, at most `limit`.
    pub async fn drained(&self, limit: Duration) {
        let all = self.room.acquire_many(QUEUE_KIB as u32);
        if tokio::time::timeout(limit, all).await.is_err() {
            let left = self.instance.counters.tally().under_way();
            tracing::error!(instance = %self.instance.name, left, "inputs of a source without replay are not safe at the end; they are lost with this process");
        }
    }
}

fn weight(raw: &RawEvent) -> u32 {
    (INPUT_KIB + raw.body.len() / 1024).min(QUEUE_KIB) as u32
}

struct UnderWay {
    raw: RawEvent,
    prepared: Prepared,
    in_flight: InFlight,
    outcome: oneshot::Sender<Outcome>,
    /// Times that Kafka refused it: its records, its letter, and the letter without its bytes.
    refusals: u32,
    _room: OwnedSemaphorePermit,
}

/// Takes inputs in order. Each is tried until it is safe: nobody sends it again.
async fn work(instance: Arc<Instance>, push: PushLine, mut inputs: mpsc::UnboundedReceiver<Queued>) {
    let mut batch = Vec::new();
    while inputs.recv_many(&mut batch, BATCH_INPUTS).await > 0 {
        let mut under_way = Vec::with_capacity(batch.len());
        for queued in batch.drain(..) {
            under_way.push(prepare(&instance, &push, queued).await);
        }
        let safe = deliver(&instance, &push, &mut under_way).await;
        for UnderWay { prepared, in_flight, outcome, .. } in under_way {
            // What became no record is nobody's to spool.
            let its = if prepared.records.is_empty() { &Safe::OnKafka } else { &safe };
            // A session that is gone is no concern of the queue's.
            let _ = outcome.send(settle(&instance, in_flight, prepared, its));
        }
        safe.claim();
    }
}

async fn prepare(instance: &Instance, push: &PushLine, queued: Queued) -> UnderWay {
    let Queued { raw, in_flight, outcome, room } = queued;
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, &instance.name);
    loop {
        match push.prepare(instance, &raw).await {
            Ok(prepared) => return UnderWay { raw, prepared, in_flight, outcome, refusals: 0, _room: room },
            Err(fault) => {
                tracing::warn!(instance = %instance.name, %fault, "tried again");
                tokio::time::sleep(backoff.next(None)).await;
            }
        }
    }
}

/// Publishes a batch, however long Kafka is away. An input of which Kafka refuses a record for good becomes a dead
/// letter; the others are sent again with the same ids, in the same order.
async fn deliver(instance: &Instance, push: &PushLine, batch: &mut [UnderWay]) -> Safe {
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, &instance.name);
    loop {
        let with_records = batch.iter().filter(|one| !one.prepared.records.is_empty());
        let parcels: Vec<_> =
            with_records.map(|one| parcel(instance, &mut one.prepared.clone(), one.raw.received_at, None)).collect();
        if parcels.is_empty() {
            return Safe::OnKafka;
        }
        let failure = match push.publisher.deliver(parcels).await {
            Ok(safe) => return safe,
            Err(failure) => failure,
        };
        if let PublishError::Refused { index, reason } = &failure
            && let Some(culprit) = owner(batch, *index)
            && replace(instance, push, culprit, reason).await
        {
            continue;
        }
        tracing::debug!(instance = %instance.name, %failure, "tried again");
        tokio::time::sleep(backoff.next(None)).await;
    }
}

/// The input of which a record is the `index`th of all.
fn owner(batch: &mut [UnderWay], index: usize) -> Option<&mut UnderWay> {
    let mut before = 0;
    batch.iter_mut().find(|one| {
        before += one.prepared.records.len();
        index < before
    })
}

/// Puts a dead letter in the place of an input's records; where that was refused too, the smallest there is. False: also
/// that one was refused. Then something is wrong with the topic, and waiting for people loses nothing.
async fn replace(instance: &Instance, push: &PushLine, culprit: &mut UnderWay, reason: &str) -> bool {
    culprit.refusals += 1;
    let letter = match culprit.refusals {
        1 => push.line.refused_letter(instance, &culprit.raw, reason).await,
        2 => bare_letter(instance, &culprit.raw, reason),
        _ => {
            tracing::error!(instance = %instance.name, reason, "Kafka refuses a dead letter; the source waits until it is taken");
            return false;
        }
    };
    culprit.prepared = Prepared { records: vec![letter], ..refused() };
    true
}

/// Host of one connection.
pub(super) struct PushHost {
    pub queue: PushQueue,
    pub reporter: Reporter,
    pub lost_at: LostAt,
}

#[async_trait]
impl SessionHost for PushHost {
    async fn cursor(&self, _: &StreamId) -> Option<Cursor> {
        None
    }

    async fn store_cursor(&self, stream: &StreamId, _: Cursor) -> Result<(), IntakeError> {
        Err(IntakeError::Broken(format!(
            "stream {stream} stores a cursor, but its source is not one that can be replayed"
        )))
    }

    async fn submit(&self, _: &StreamId, raw: RawEvent, _: Option<Cursor>) -> Ticket {
        self.queue.put(raw).await
    }

    async fn connected(&self) {
        let lost = self.lost_at.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((from, reason)) = lost {
            self.reporter.gap(from, crate::clock::now(), &reason);
        }
        self.reporter.set(State::Running, "", "");
    }

    async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        said(&self.reporter, stream, reason);
    }

    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}
