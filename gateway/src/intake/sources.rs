//! Poll and session instances: who owns them, on which lane they deliver, and when they are tried again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{Cursor, Intake, IntakeError, Io, Outcome, RawEvent, SessionCx, StreamId, Timestamp, Upkeep};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::health::{Health, State};
use super::push::{PushLine, fate};
use super::session::{PushHost, ReplayHost};
use crate::delivery::replay::partition::shard_of;
use crate::delivery::replay::{CursorKey, DeadLetterMaker, Epoch, Input, Ownership, Settled};
use crate::pipeline::instance::Instance;
use crate::pipeline::line::dead_letter_later;
use crate::pipeline::record::Record;
use crate::telemetry::counters::Fate;

/// How often an instance whose credentials are refused or whose source is broken is tried again.
const STOPPED_RETRY: Duration = Duration::from_secs(60);
/// How long a session of an ephemeral source may take to settle what it submitted, at a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A poll, session or upkeep instance that this process may come to own.
#[derive(Clone)]
pub struct Source {
    pub instance: Arc<Instance>,
    pub io: Io,
    pub intake: Arc<tokio::sync::Mutex<SourceIntake>>,
    /// Whether it delivers with cursors, exactly once.
    pub replay: bool,
    lost_at: Arc<Mutex<Option<(Timestamp, String)>>>,
}

/// What a source runs.
pub enum SourceIntake {
    Intake(Intake),
    Upkeep(Box<dyn Upkeep>),
}

impl Source {
    pub fn new(instance: Arc<Instance>, io: Io, intake: SourceIntake) -> Self {
        let replay = match &intake {
            SourceIntake::Intake(Intake::Poll(_)) => true,
            SourceIntake::Intake(_) => instance.source == connector_sdk::SourceClass::Replay,
            SourceIntake::Upkeep(_) => false,
        };
        Self { instance, io, intake: Arc::new(tokio::sync::Mutex::new(intake)), replay, lost_at: Arc::default() }
    }
}

/// Runs the sources of every shard that this process comes to own, until `stopping`.
pub async fn supervise(
    sources: Vec<Source>,
    shards: i32,
    push: PushLine,
    health: Health,
    mut owned: mpsc::Receiver<Ownership>,
    stopping: CancellationToken,
) {
    let mut running = JoinSet::new();
    loop {
        let ownership = tokio::select! {
            () = stopping.cancelled() => break,
            ownership = owned.recv() => match ownership {
                Some(ownership) => ownership,
                None => break,
            },
        };
        let mine = sources.iter().filter(|s| shard_of(&s.instance.name, shards) == ownership.shard).cloned().collect();
        running.spawn(shard(mine, ownership, push.clone(), health.clone(), stopping.child_token()));
    }
    while running.join_next().await.is_some() {}
}

/// Runs the sources of one owned shard until it is revoked.
async fn shard(
    sources: Vec<Source>,
    ownership: Ownership,
    push: PushLine,
    health: Health,
    stopping: CancellationToken,
) {
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for source in sources {
        running.spawn(keep_running(source, ownership.clone(), push.clone(), health.clone(), stop.clone()));
    }
    tokio::select! {
        () = ownership.revoked.cancelled() => {}
        () = stopping.cancelled() => {}
    }
    stop.cancel();
    while running.join_next().await.is_some() {}
    ownership.released.cancel();
}

/// Runs one source again and again, with back-off, until `stop`.
async fn keep_running(
    source: Source,
    mut ownership: Ownership,
    push: PushLine,
    health: Health,
    stop: CancellationToken,
) {
    let mut intake = source.intake.lock().await;
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
    let instance = &source.instance;
    while !stop.is_cancelled() {
        let began = tokio::time::Instant::now();
        let ended = tokio::select! {
            ended = run_once(&source, &mut intake, &mut ownership, &push, &health, &stop) => ended,
            () = stop_bounded(&stop) => break,
        };
        if stop.is_cancelled() {
            break;
        }
        if began.elapsed() > Duration::from_secs(60) {
            backoff.reset();
        }
        let wait = match ended {
            Ok(()) => Duration::from_millis(200),
            Err(IntakeError::Retry { after, source: cause }) => {
                let wait = backoff.next(after);
                health.set(instance, State::Degraded, &cause.to_string(), "tried again by itself");
                wait
            }
            Err(IntakeError::CursorLost(reason)) => {
                health.set(instance, State::Degraded, &reason, "the source is read anew");
                backoff.next(None)
            }
            Err(IntakeError::Unauthorised(reason)) => {
                health.set(instance, State::Stopped, &reason, "renew the credentials in the configuration");
                STOPPED_RETRY
            }
            Err(IntakeError::Broken(reason)) => {
                health.set(instance, State::Stopped, &reason, "mend the configuration or the source");
                STOPPED_RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => break,
        }
    }
    health.set(instance, State::Standby, "", "");
}

/// After a stop, what runs gets a bounded time to end by itself.
async fn stop_bounded(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_LIMIT).await;
}

async fn run_once(
    source: &Source,
    intake: &mut SourceIntake,
    ownership: &mut Ownership,
    push: &PushLine,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), IntakeError> {
    let instance = &source.instance;
    match intake {
        SourceIntake::Upkeep(upkeep) => loop {
            let next = upkeep.keep(&source.io).await?;
            health.set(instance, State::Running, "", "");
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = stop.cancelled() => return Ok(()),
            }
        },
        SourceIntake::Intake(Intake::Poll(poll)) => {
            let Some(lane) = next_lane(instance, ownership, push, stop).await else { return Ok(()) };
            health.set(instance, State::Running, "", "");
            tokio::select! {
                ended = super::poll::run(poll.as_mut(), instance, &lane, &source.io) => ended,
                () = lane.epoch.ended.cancelled() => Ok(()),
                () = stop.cancelled() => Ok(()),
            }
        }
        SourceIntake::Intake(Intake::Session(session)) if source.replay => {
            let Some(lane) = next_lane(instance, ownership, push, stop).await else { return Ok(()) };
            let ended = lane.epoch.ended.clone();
            let end = stop.child_token();
            let host = ReplayHost { instance: instance.clone(), lane, health: health.clone() };
            let cx = SessionCx::new(Arc::new(host), instance.config.start.0.clone(), source.io.clone(), end.clone());
            tokio::select! {
                done = session.run(cx) => done,
                () = ended.cancelled() => Ok(()),
            }
        }
        SourceIntake::Intake(Intake::Session(session)) => {
            let host = Arc::new(PushHost::new(instance.clone(), push.clone(), health.clone(), source.lost_at.clone()));
            let cx =
                SessionCx::new(host.clone(), instance.config.start.0.clone(), source.io.clone(), stop.child_token());
            let done = session.run(cx).await;
            let reason = match &done {
                Ok(()) => "the connection was closed".to_owned(),
                Err(error) => error.to_string(),
            };
            host.drained(DRAIN_LIMIT).await;
            let mut lost = source.lost_at.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            lost.get_or_insert((crate::clock::now(), reason));
            done
        }
        SourceIntake::Intake(Intake::Webhook(_)) => {
            Err(IntakeError::Broken("a webhook is not a source to run; this is a bug".into()))
        }
    }
}

/// Waits for the shard's next epoch.
async fn next_lane(
    instance: &Arc<Instance>,
    ownership: &mut Ownership,
    push: &PushLine,
    stop: &CancellationToken,
) -> Option<Lane> {
    loop {
        let current = ownership.epoch.borrow_and_update().clone();
        if let Some(epoch) = current.filter(|epoch| !epoch.ended.is_cancelled()) {
            // A source that starts again within an epoch must not read again what it submitted before.
            if let Some(epoch) = epoch.refreshed().await {
                return Some(Lane::new(instance.clone(), push.clone(), epoch));
            }
        }
        tokio::select! {
            changed = ownership.epoch.changed() => changed.ok()?,
            () = stop.cancelled() => return None,
        }
    }
}

/// The replay lane as one instance sees it during one epoch.
#[derive(Clone)]
pub struct Lane {
    instance: Arc<Instance>,
    push: PushLine,
    pub epoch: Epoch,
    /// Positions stored in this epoch, over those that it began with.
    stored: Arc<Mutex<HashMap<StreamId, Cursor>>>,
}

/// Why the lane did not take an input.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LaneFault {
    #[error("the shard's epoch has ended")]
    Ended,
    #[error("{0}")]
    Blob(String),
}

impl LaneFault {
    pub fn into_intake(self) -> IntakeError {
        IntakeError::retry(self)
    }
}

impl Lane {
    fn new(instance: Arc<Instance>, push: PushLine, epoch: Epoch) -> Self {
        Self { instance, push, epoch, stored: Arc::default() }
    }

    /// The committed position of a stream.
    pub fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        let stored = self.stored.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        stored.get(stream).or_else(|| self.epoch.cursors.get(&self.key(stream))).cloned()
    }

    fn key(&self, stream: &StreamId) -> CursorKey {
        CursorKey { instance: self.instance.name.clone(), stream: stream.clone() }
    }

    /// Commits a position without input.
    pub async fn store(&self, stream: &StreamId, cursor: Cursor) -> Result<(), LaneFault> {
        let settled = self.send(stream, Some(cursor.clone()), Vec::new(), Arc::new(|_| Vec::new())).await?;
        settled.await.map_err(|_| LaneFault::Ended)?;
        self.stored.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(stream.clone(), cursor);
        Ok(())
    }

    /// Runs an input through the line and queues it; the receiver tells the outcome once it is committed.
    pub async fn submit(
        &self,
        stream: &StreamId,
        raw: RawEvent,
        cursor_after: Option<Cursor>,
    ) -> Result<oneshot::Receiver<Outcome>, LaneFault> {
        let instance = self.instance.clone();
        let prepared =
            self.push.line.prepare(&instance, &raw).await.map_err(|fault| LaneFault::Blob(fault.to_string()))?;
        let letter = dead_letter_later(&self.push.line, &instance, raw, "refused_by_kafka");
        let fate = fate(&prepared);
        let settled = self.send(stream, cursor_after, prepared.records, letter).await?;
        let (tell, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let in_flight = instance.counters.accept();
            let Ok(settled) = settled.await else { return };
            let (fate, told) = match settled {
                Settled::Published => (fate, Outcome::Safe { event_ids: prepared.event_ids }),
                Settled::DeadLettered => (Fate::DeadLettered, Outcome::DeadLettered),
            };
            in_flight.settle(fate);
            let _ = tell.send(told);
        });
        Ok(outcome)
    }

    async fn send(
        &self,
        stream: &StreamId,
        cursor_after: Option<Cursor>,
        records: Vec<Record>,
        dead_letter: DeadLetterMaker,
    ) -> Result<oneshot::Receiver<Settled>, LaneFault> {
        let (settled, outcome) = oneshot::channel();
        let input = Input { key: self.key(stream), cursor_after, records, dead_letter, settled };
        tokio::select! {
            sent = self.epoch.lane.send(input) => sent.map_err(|_| LaneFault::Ended)?,
            () = self.epoch.ended.cancelled() => return Err(LaneFault::Ended),
        }
        Ok(outcome)
    }
}
