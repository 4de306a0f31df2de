//! Feeds one stream of a job through the line into its lane, from the position where an earlier run stopped.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use connector_sdk::raw::BACKFILL_HEADER;
use connector_sdk::{Cursor, Outcome, RawEvent, StreamId};
use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::{Job, JobError};
use crate::delivery::replay::Epoch;
use crate::delivery::replay::job::JobLane;
use crate::intake::lane::{Lane, LaneFault};

/// What may be on its way at once; their bytes are in memory until Kafka has them.
const IN_FLIGHT_BYTES: usize = 64 << 20;
const IN_FLIGHT_INPUTS: usize = 1000;
/// How often a job looks whether it was fenced, and tells that it waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An outage that is longer is told to the one who waits.
const TELL_AFTER_LOOKS: u32 = 5;

/// One input, and the position behind it.
pub struct Given {
    pub raw: RawEvent,
    pub after: Cursor,
    /// How far that is, in the unit of the progress bar.
    pub progress: u64,
}

/// Where a job's inputs come from.
#[async_trait(?Send)]
pub trait Supply {
    /// Goes to where a run before this one stopped, or to the beginning; called again after each fault of the lane.
    async fn seek(&mut self, position: Option<&Cursor>) -> Result<(), JobError>;

    /// The next input; `None`: that was all.
    async fn next(&mut self) -> Result<Option<Given>, JobError>;

    /// The position that says that all is done.
    fn finished(&self) -> Cursor;
}

/// What became of a job's inputs in this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Inputs that are safe.
    pub inputs: u64,
    /// Events that came of them.
    pub events: u64,
    /// Inputs that are dead letters.
    pub dead_lettered: u64,
}

/// Holds a job to a rate.
pub struct Rate(Option<RateLimiter<NotKeyed, InMemoryState, DefaultClock>>);

impl Rate {
    /// Inputs a second; 0: as fast as Kafka takes them.
    pub fn new(per_second: u32) -> Self {
        Self(NonZeroU32::new(per_second).map(|rate| RateLimiter::direct(Quota::per_second(rate))))
    }

    async fn ready(&self) {
        if let Some(limiter) = &self.0 {
            limiter.until_ready().await;
        }
    }
}

/// Feeds a stream until its supply ends.
pub struct Feed<'a> {
    pub job: &'a Job,
    pub lane: &'a mut JobLane,
    pub stream: &'a StreamId,
    pub rate: &'a Rate,
    /// Forget where an earlier run stopped.
    pub again: bool,
    pub progress: &'a mut Progress,
    pub sums: &'a mut Sums,
    pub stop: &'a CancellationToken,
}

/// Why a pass over the supply ended before its end.
enum Break {
    /// The lane begins anew: so does the supply, at the committed position.
    Epoch,
    Error(JobError),
}

impl From<JobError> for Break {
    fn from(error: JobError) -> Self {
        Self::Error(error)
    }
}

impl From<LaneFault> for Break {
    fn from(fault: LaneFault) -> Self {
        match fault {
            LaneFault::Ended => Self::Epoch,
            // The blob store does not take a blob: waiting may help, but that is for the operator to say.
            LaneFault::Closed(reason) => Self::Error(JobError::Failed(reason)),
        }
    }
}

/// Inputs in the lane.
#[derive(Default)]
struct InFlight {
    waiting: VecDeque<(oneshot::Receiver<Outcome>, usize, u64)>,
    bytes: usize,
}

impl Feed<'_> {
    pub async fn run(mut self, supply: &mut dyn Supply) -> Result<(), JobError> {
        loop {
            let epoch = self.epoch().await?;
            let lane = Lane::new(self.job.instance.clone(), self.job.line.clone(), epoch);
            let done = self.pass(&lane, supply).await;
            lane.close().await;
            match done {
                Ok(()) => return Ok(()),
                Err(Break::Epoch) => {}
                Err(Break::Error(error)) => return Err(error),
            }
        }
    }

    /// Waits for the lane; tells when that takes long.
    async fn epoch(&mut self) -> Result<Epoch, JobError> {
        let mut looks = 0;
        loop {
            let current = self.lane.epochs.borrow_and_update().clone();
            if let Some(epoch) = current.filter(|epoch| !epoch.ended.is_cancelled())
                && let Some(epoch) = epoch.refreshed().await
            {
                return Ok(epoch);
            }
            if self.lane.is_lost() {
                return Err(JobError::Failed("another run of the same job has taken over, or Kafka fenced this one; if there is no other, start it again".to_owned()));
            }
            if let Some(call) = self.lane.hangs_in() {
                return Err(JobError::Failed(format!("{call} hangs in the Kafka client; start the job again")));
            }
            tokio::select! {
                changed = self.lane.epochs.changed() => {
                    if changed.is_err() {
                        return Err(JobError::Failed("the job's lane has ended".to_owned()));
                    }
                }
                () = tokio::time::sleep(LOOK_EVERY) => looks += 1,
                () = self.stop.cancelled() => return Err(JobError::Stopped),
            }
            if looks == TELL_AFTER_LOOKS {
                let status = self.lane.status();
                let reason = status.shards.iter().find_map(|shard| shard.last_error.clone());
                eprintln!(
                    "waiting for Kafka: {}",
                    reason.map_or_else(|| "no answer yet".to_owned(), |error| error.reason)
                );
            }
        }
    }

    async fn pass(&mut self, lane: &Lane, supply: &mut dyn Supply) -> Result<(), Break> {
        let position = if self.again { None } else { lane.cursor(self.stream) };
        supply.seek(position.as_ref()).await?;
        let mut in_flight = InFlight::default();
        loop {
            if self.stop.is_cancelled() {
                self.settle(&mut in_flight, 0).await?;
                return Err(JobError::Stopped.into());
            }
            tokio::select! {
                () = self.rate.ready() => {}
                () = self.stop.cancelled() => continue,
            }
            let Some(Given { mut raw, after, progress }) = supply.next().await? else { break };
            raw.headers.set(BACKFILL_HEADER, "true");
            let (bytes, (tell, told)) = (raw.body.len(), oneshot::channel());
            lane.submit(self.stream, vec![raw], Some(after), tell).await?;
            in_flight.bytes += bytes;
            in_flight.waiting.push_back((told, bytes, progress));
            self.settle(&mut in_flight, IN_FLIGHT_INPUTS).await?;
        }
        self.settle(&mut in_flight, 0).await?;
        Ok(lane.store(self.stream, supply.finished()).await?)
    }

    /// Waits until at most `most` inputs, of a limited size together, are on their way.
    async fn settle(&mut self, in_flight: &mut InFlight, most: usize) -> Result<(), Break> {
        while in_flight.waiting.len() > most || in_flight.bytes > IN_FLIGHT_BYTES {
            let Some((told, bytes, progress)) = in_flight.waiting.pop_front() else { break };
            in_flight.bytes -= bytes;
            let outcome = told.await.map_err(|_| Break::Epoch)?;
            // What is committed stays so, also if a fault makes this run begin again.
            self.again = false;
            self.sums.inputs += 1;
            match outcome {
                Outcome::Safe { event_ids } => self.sums.events += event_ids.len() as u64,
                _ => self.sums.dead_lettered += 1,
            }
            let dead = match self.sums.dead_lettered {
                0 => String::new(),
                dead => format!(", {dead} dead letters"),
            };
            self.progress.set(progress, format!("{} done{dead}", self.sums.inputs));
        }
        Ok(())
    }
}
