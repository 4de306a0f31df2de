//! The session driver: what a connected session submits goes along the line, in order, several in flight.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use connector_sdk::{Cursor, IntakeError, Outcome, RawEvent, SessionHost, StreamId, Ticket, Timestamp, async_trait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::backoff::Backoff;
use super::health::{Health, State};
use super::push::{PushLine, settle};
use super::sources::Lane;
use crate::delivery::PublishError;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::Prepared;
use crate::telemetry::counters::InFlight;

/// Inputs of one session that may be on their way at once; a full queue is the back-pressure.
const IN_FLIGHT_MAX: usize = 1024;

/// Host of a session whose source can be read again: events and cursor commit together.
pub struct ReplayHost {
    pub instance: Arc<Instance>,
    pub lane: Lane,
    pub health: Health,
}

#[async_trait]
impl SessionHost for ReplayHost {
    async fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        self.lane.cursor(stream)
    }

    async fn store_cursor(&self, stream: &StreamId, cursor: Cursor) -> Result<(), IntakeError> {
        self.lane.store(stream, cursor).await.map_err(super::sources::LaneFault::into_intake)
    }

    async fn submit(&self, stream: &StreamId, raw: RawEvent, cursor_after: Option<Cursor>) -> Ticket {
        let (outcome, ticket) = Ticket::new();
        // A lane that has ended drops `outcome`: the ticket says 'not safe', and the input is read again.
        if let Ok(settled) = self.lane.submit(stream, raw, cursor_after).await {
            tokio::spawn(async move {
                if let Ok(done) = settled.await {
                    let _ = outcome.send(done);
                }
            });
        }
        ticket
    }

    async fn connected(&self) {
        self.health.set(&self.instance, State::Running, "", "");
    }

    async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        report(&self.health, &self.instance, stream, reason);
    }

    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}

fn report(health: &Health, instance: &Arc<Instance>, stream: Option<&StreamId>, reason: &str) {
    if reason.is_empty() {
        health.set(instance, State::Running, "", "");
        return;
    }
    let reason = stream.map_or_else(|| reason.to_owned(), |stream| format!("{stream}: {reason}"));
    health.set(instance, State::Degraded, &reason, "see the connector's README; the other streams go on");
}

/// Host of a session that nobody replays: the push lane, tried until Kafka takes it.
pub struct PushHost {
    instance: Arc<Instance>,
    health: Health,
    queue: mpsc::Sender<Queued>,
    permits: Arc<Semaphore>,
    lost_at: Arc<Mutex<Option<(Timestamp, String)>>>,
}

struct Queued {
    raw: RawEvent,
    outcome: oneshot::Sender<Outcome>,
    permit: OwnedSemaphorePermit,
}

impl PushHost {
    /// `lost_at` is shared by the successive sessions of an instance: when the last one was lost, and why.
    pub fn new(
        instance: Arc<Instance>,
        push: PushLine,
        health: Health,
        lost_at: Arc<Mutex<Option<(Timestamp, String)>>>,
    ) -> Self {
        let (queue, inputs) = mpsc::channel(IN_FLIGHT_MAX);
        tokio::spawn(work(instance.clone(), push, inputs));
        Self { instance, health, queue, permits: Arc::new(Semaphore::new(IN_FLIGHT_MAX)), lost_at }
    }

    /// Waits until everything submitted is settled, at most `limit`.
    pub async fn drained(&self, limit: Duration) {
        let all = self.permits.acquire_many(IN_FLIGHT_MAX as u32);
        if tokio::time::timeout(limit, all).await.is_err() {
            let left = IN_FLIGHT_MAX - self.permits.available_permits();
            tracing::error!(instance = %self.instance.name, left, "inputs of a source without replay were not safe at the end");
        }
    }
}

/// Takes inputs in order. Each is tried until it is safe: nobody sends it again.
async fn work(instance: Arc<Instance>, push: PushLine, mut inputs: mpsc::Receiver<Queued>) {
    while let Some(first) = inputs.recv().await {
        let mut batch = vec![first];
        while batch.len() < IN_FLIGHT_MAX {
            let Ok(next) = inputs.try_recv() else { break };
            batch.push(next);
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut under_way = Vec::with_capacity(batch.len());
        for Queued { raw, outcome, permit } in batch {
            let in_flight = instance.counters.accept();
            let prepared = loop {
                match push.line.prepare(&instance, &raw).await {
                    Ok(prepared) => break prepared,
                    Err(_) => tokio::time::sleep(backoff.next(None)).await,
                }
            };
            under_way.push(UnderWay { raw, prepared, in_flight, outcome, _permit: permit });
        }
        deliver(&instance, &push, &mut under_way).await;
        for UnderWay { prepared, in_flight, outcome, .. } in under_way {
            let _ = outcome.send(settle(in_flight, prepared));
        }
    }
}

struct UnderWay<'a> {
    raw: RawEvent,
    prepared: Prepared,
    in_flight: InFlight<'a>,
    outcome: oneshot::Sender<Outcome>,
    _permit: OwnedSemaphorePermit,
}

/// Publishes a batch, however long Kafka is away. An input of which Kafka refuses a record for good becomes a dead
/// letter; the others are sent again with the same ids.
async fn deliver(instance: &Instance, push: &PushLine, batch: &mut [UnderWay<'_>]) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        let records: Vec<_> = batch.iter().flat_map(|one| one.prepared.records.iter().cloned()).collect();
        if records.is_empty() {
            return;
        }
        match push.publisher.publish(records).await {
            Ok(()) => return,
            Err(PublishError::Unavailable(_)) => tokio::time::sleep(backoff.next(None)).await,
            Err(PublishError::Refused { index, reason }) => {
                let mut before = 0;
                let culprit = batch.iter_mut().find(|one| {
                    before += one.prepared.records.len();
                    index < before
                });
                let Some(culprit) = culprit else { return };
                let was_letter = culprit.prepared.event_ids.is_empty() && culprit.prepared.dead_lettered > 0;
                let letter = push.line.dead_letter(instance, &culprit.raw, "refused_by_kafka", &reason).await;
                let records = match letter {
                    Ok(letter) if !was_letter => vec![letter],
                    // Not even its dead letter is taken: nothing more can be done for it, and the others must go on.
                    _ => {
                        tracing::error!(instance = %instance.name, %reason, "Kafka refuses a dead letter; the input is lost");
                        Vec::new()
                    }
                };
                culprit.prepared = Prepared { records, dead_lettered: 1, ..Prepared::default() };
            }
        }
    }
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
        let (outcome, ticket) = Ticket::new();
        if let Ok(permit) = self.permits.clone().acquire_owned().await {
            // The worker lives as long as this host, so the queue is open.
            let _ = self.queue.send(Queued { raw, outcome, permit }).await;
        }
        ticket
    }

    async fn connected(&self) {
        let lost = self.lost_at.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some((from, reason)) = lost {
            self.health.gap(&self.instance, from, crate::clock::now(), &reason);
        }
        self.health.set(&self.instance, State::Running, "", "");
    }

    async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        report(&self.health, &self.instance, stream, reason);
    }

    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}
