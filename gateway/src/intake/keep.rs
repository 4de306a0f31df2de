//! Keeps one source running while this process owns its shard: on which lane, again after which pause, and what it says
//! of itself meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use connector_sdk::{Intake, IntakeError, Session, SessionCx, Upkeep};
use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::ephemeral::{PushHost, PushQueue};
use super::health::{Health, Reporter, State};
use super::lane::Lane;
use super::poll::{self, Memory, PollCx};
use super::push::PushLine;
use super::session::ReplayHost;
use super::sources::{Ended, STOPPED_RETRY, Source, SourceIntake, Stop};
use crate::delivery::replay::Ownership;

/// Pause before a source is run again: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Pause after the end of an epoch, lest a Kafka that comes and goes makes us ask the source without end.
const EPOCH_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A source that ran for so long is well: its next pause is the shortest again.
const WELL_AFTER: Duration = Duration::from_secs(60);
/// What a connection may take to end by itself at a stop; the rest of the time is for what it submitted.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// A bound that only a bug reaches: `Stop::now` comes long before.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// Runs a source again and again, with back-off, until it is told to stop. Dropping it is safe at any point.
pub async fn keep_running(source: Source, ownership: Ownership, push: PushLine, health: Health, stop: Stop) {
    let reporter = health.of(&source.instance, source.shape);
    let now = stop.now.clone();
    tokio::select! {
        () = Keeper { source: &source, ownership, push, reporter: reporter.clone(), stop, lane: None }.run() => {}
        () = now.cancelled() => {
            tracing::warn!(instance = %source.instance.name, "the source did not end in time; it is cut off");
        }
    }
    reporter.forget_streams();
    reporter.set(State::Standby, "", "");
}

struct Keeper<'a> {
    source: &'a Source,
    ownership: Ownership,
    push: PushLine,
    reporter: Reporter,
    stop: Stop,
    /// Of the run before: it must take nothing more when the next begins.
    lane: Option<Lane>,
}

impl Keeper<'_> {
    async fn run(mut self) {
        let source = self.source;
        // Whoever ran it for an earlier ownership of this process may not have ended yet.
        let mut intake = tokio::select! {
            intake = source.intake.lock() => intake,
            () = self.stop.please.cancelled() => return,
        };
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, &source.instance.name);
        let mut epochs = Backoff::new(EPOCH_PAUSE.0, EPOCH_PAUSE.1, &source.instance.name);
        let mut memory = Memory::default();
        while !self.stop.please.is_cancelled() {
            let began = Instant::now();
            // A connector that panics costs its own instance a pause, not its neighbours their driver.
            let ended = AssertUnwindSafe(self.once(&mut intake, &mut memory)).catch_unwind().await;
            self.reporter.forget_streams();
            if self.stop.please.is_cancelled() {
                break;
            }
            if began.elapsed() > WELL_AFTER {
                backoff.reset();
                epochs.reset();
            }
            let pause = match ended {
                Ok(Ok(Ended::Epoch)) => epochs.next(None),
                Ok(Ok(Ended::Closed | Ended::Stopped)) => backoff.next(None),
                Ok(Err(error)) => self.failed(error, &mut backoff),
                Err(_) => {
                    let reason = "the connector panicked; this is a bug, its message is in the log";
                    self.failed(IntakeError::retry(reason), &mut backoff)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.please.cancelled() => break,
            }
        }
    }

    /// Says what is wrong; returns how long to wait.
    fn failed(&self, error: IntakeError, backoff: &mut Backoff) -> Duration {
        match error {
            IntakeError::Retry { after, source } => {
                self.reporter.set(State::Degraded, &source.to_string(), "tried again by itself");
                backoff.next(after)
            }
            // Of a poll its driver takes care; a session knows by itself how to begin anew.
            IntakeError::CursorLost(reason) => {
                self.reporter.set(State::Degraded, &reason, "tried again by itself");
                backoff.next(None)
            }
            IntakeError::Unauthorised(reason) => {
                self.reporter.set(State::Stopped, &reason, "renew the credentials in the configuration");
                STOPPED_RETRY
            }
            IntakeError::Broken(reason) | IntakeError::TooLarge(reason) => {
                self.reporter.set(State::Stopped, &reason, "mend the configuration or the source");
                STOPPED_RETRY
            }
        }
    }

    async fn once(&mut self, intake: &mut SourceIntake, memory: &mut Memory) -> Result<Ended, IntakeError> {
        match intake {
            SourceIntake::Upkeep(upkeep) => self.upkeep(upkeep.as_mut()).await,
            SourceIntake::Intake(Intake::Poll(poll)) => {
                let Some(lane) = self.next_lane().await else { return Ok(Ended::Stopped) };
                let source = self.source;
                let cx = PollCx {
                    instance: &source.instance,
                    lane: &lane,
                    io: &source.io,
                    reporter: &self.reporter,
                    stop: &self.stop.please,
                };
                tokio::select! {
                    ended = poll::run(poll.as_mut(), &cx, memory) => ended,
                    () = lane.ended().cancelled() => Ok(Ended::Epoch),
                }
            }
            SourceIntake::Intake(Intake::Session(session)) if self.source.replay => {
                self.replay_session(session.as_mut()).await
            }
            SourceIntake::Intake(Intake::Session(session)) => self.push_session(session.as_mut()).await,
            SourceIntake::Intake(Intake::Webhook(_)) => {
                Err(IntakeError::Broken("a webhook is not a source to run; this is a bug".into()))
            }
        }
    }

    async fn upkeep(&self, upkeep: &mut dyn Upkeep) -> Result<Ended, IntakeError> {
        self.reporter.starting();
        loop {
            let next = upkeep.keep(&self.source.io).await?;
            self.reporter.set(State::Running, "", "");
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = self.stop.please.cancelled() => return Ok(Ended::Stopped),
            }
        }
    }

    async fn replay_session(&mut self, session: &mut dyn Session) -> Result<Ended, IntakeError> {
        let Some(lane) = self.next_lane().await else { return Ok(Ended::Stopped) };
        let host = ReplayHost { lane: lane.clone(), reporter: self.reporter.clone() };
        let cx = self.session_cx(Arc::new(host), self.stop.please.child_token());
        tokio::select! {
            // The end of an epoch is no fault of the session's, whatever it makes of it.
            biased;
            () = lane.ended().cancelled() => Ok(Ended::Epoch),
            fault = lane.closed() => Err(fault.into_intake()),
            done = session.run(cx) => done.map(|()| Ended::Closed),
        }
    }

    async fn push_session(&self, session: &mut dyn Session) -> Result<Ended, IntakeError> {
        self.reporter.starting();
        let source = self.source;
        let queue = source.queue.get_or_init(|| PushQueue::start(source.instance.clone(), self.push.clone())).clone();
        let host = PushHost { queue: queue.clone(), reporter: self.reporter.clone(), lost_at: source.lost_at.clone() };
        // Also when this is dropped, or the session panics.
        let _lost = Lost { source, reason: "the connection was given up".to_owned() };
        let cx = self.session_cx(Arc::new(host), self.stop.please.child_token());
        let done = tokio::select! {
            done = session.run(cx) => done,
            () = after(&self.stop.please, CLOSE_LIMIT) => {
                tracing::warn!(instance = %source.instance.name, "the session did not end by itself");
                Ok(())
            }
        };
        let reason = match &done {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => error.to_string(),
        };
        drop(Lost { source, reason });
        if self.stop.please.is_cancelled() {
            queue.drained(DRAIN_LIMIT).await;
        }
        done.map(|()| Ended::Closed)
    }

    fn session_cx(&self, host: Arc<dyn connector_sdk::SessionHost>, stopping: CancellationToken) -> SessionCx {
        SessionCx::new(host, self.source.instance.config.start.0.clone(), self.source.io.clone(), stopping)
    }

    /// Waits for the shard's current epoch.
    async fn next_lane(&mut self) -> Option<Lane> {
        if let Some(before) = self.lane.take() {
            before.close().await;
        }
        let stop = self.stop.please.clone();
        let lane = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            lane = self.open_lane() => lane?,
        };
        self.reporter.starting();
        Some(self.lane.insert(lane).clone())
    }

    async fn open_lane(&mut self) -> Option<Lane> {
        loop {
            let current = self.ownership.epoch.borrow_and_update().clone();
            if let Some(epoch) = current.filter(|epoch| !epoch.ended.is_cancelled()) {
                // A source that starts again within an epoch must not read again what it submitted before.
                if let Some(epoch) = epoch.refreshed().await {
                    return Some(Lane::new(self.source.instance.clone(), self.push.line.clone(), epoch));
                }
            } else {
                self.reporter.set(State::Standby, "waits until Kafka takes what it reads", "");
            }
            self.ownership.epoch.changed().await.ok()?;
        }
    }
}

/// Notes on its way out that nobody watches the source, unless that is noted already.
struct Lost<'a> {
    source: &'a Source,
    reason: String,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        let mut lost = self.source.lost_at.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert_with(|| (crate::clock::now(), std::mem::take(&mut self.reason)));
    }
}

async fn after(token: &CancellationToken, span: Duration) {
    token.cancelled().await;
    tokio::time::sleep(span).await;
}
