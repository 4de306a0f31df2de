//! `inlet backfill`: fetches what a source has kept, beside its live intake.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use connector_sdk::{Cursor, History, IntakeError, Io, Listed, Reach, StreamId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, Given, Rate, Sums, Supply};
use super::progress::{Progress, Unit};
use super::{Job, JobError, check_topics};
use crate::delivery::replay::RESERVED_PREFIX;
use crate::delivery::replay::job::JobLane;
use crate::intake::backoff::Backoff;

/// Items that are read from the source at once.
pub const READ_ITEMS: usize = 50;
/// How often a question is asked again before the job gives up, and the pauses between.
const ATTEMPTS: u32 = 8;
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Version of the position.
const VERSION: u32 = 1;

/// What to fetch, and how.
pub struct Options {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Inputs a second; 0: no limit.
    pub rate: u32,
    /// Not from where an earlier run stopped, but from the beginning.
    pub again: bool,
}

/// Where a backfill stands in one stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    items: u64,
    #[serde(default)]
    done: bool,
}

/// Runs it to its end, stream by stream.
pub async fn run(job: &mut Job, options: &Options, stop: &CancellationToken) -> Result<Sums, JobError> {
    let Some(mut history) = job.connector.history.take() else {
        return Err(no_history(job));
    };
    check_topics(&job.settings).await?;
    let streams = asking("its streams", stop, async || history.streams(&job.io).await).await;
    let streams = streams?;
    let name = name(options);
    let mut lane = JobLane::start(&job.settings, &job.instance.name, &name)?;
    let mut progress = Progress::new(Unit::Messages, None);
    let (rate, mut sums) = (Rate::new(options.rate), Sums::default());
    let mut done = Ok(());
    for stream in streams {
        let own = StreamId::new(format!("{name}/{stream}"));
        let reach = Reach { since: options.since, until: options.until, ..Reach::default() };
        let mut supply = Kept {
            history: history.as_mut(),
            io: job.io.clone(),
            stream,
            reach,
            place: Place::default(),
            listed: VecDeque::new(),
            at_hand: VecDeque::new(),
            stop: stop.clone(),
        };
        let feed = Feed {
            job,
            lane: &mut lane,
            stream: &own,
            rate: &rate,
            again: options.again,
            progress: &mut progress,
            sums: &mut sums,
            stop,
        };
        done = feed.run(&mut supply).await;
        if done.is_err() {
            break;
        }
    }
    lane.stop().await;
    done.map(|()| sums)
}

pub(super) fn no_history(job: &Job) -> JobError {
    let text = "cannot say what it has kept: its connector has no way to ask for it";
    JobError::WrongUse(format!("{} ({}) {text}", job.instance.name, job.instance.connector))
}

/// The same span goes on where it stopped; another one is another job.
fn name(options: &Options) -> String {
    let bound = |at: Option<Timestamp>| at.map_or_else(|| "..".to_owned(), |at| at.to_string());
    format!("{RESERVED_PREFIX}backfill:{}:{}", bound(options.since), bound(options.until))
}

/// Asks again through faults that pass.
pub(super) async fn asking<T>(
    what: &str,
    stop: &CancellationToken,
    mut ask: impl AsyncFnMut() -> Result<T, IntakeError>,
) -> Result<T, JobError> {
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1, what);
    for attempt in 1.. {
        let asked = tokio::select! {
            asked = ask() => asked,
            () = stop.cancelled() => return Err(JobError::Stopped),
        };
        let (error, after) = match asked {
            Ok(answer) => return Ok(answer),
            Err(IntakeError::Retry { after, source }) if attempt < ATTEMPTS => (source.to_string(), after),
            Err(error) => return Err(JobError::Failed(format!("asking the source for {what}: {error}"))),
        };
        eprintln!("asking the source for {what}: {error}; trying again");
        tokio::select! {
            () = tokio::time::sleep(backoff.next(after)) => {}
            () = stop.cancelled() => return Err(JobError::Stopped),
        }
    }
    Err(JobError::Stopped)
}

/// What a stream of a source has kept.
struct Kept<'a> {
    history: &'a mut dyn History,
    io: Io,
    stream: StreamId,
    reach: Reach,
    place: Place,
    listed: VecDeque<Listed>,
    at_hand: VecDeque<Listed>,
    stop: CancellationToken,
}

/// Reads items, one by one where several at once do not come.
pub(super) async fn read(
    history: &mut dyn History,
    stream: &StreamId,
    names: &[String],
    io: &Io,
    stop: &CancellationToken,
) -> Result<Vec<Listed>, JobError> {
    if let Ok(read) = history.read(stream, names, io).await {
        return Ok(read);
    }
    let mut all = Vec::new();
    for name in names {
        let one = std::slice::from_ref(name);
        let what = format!("item {name} of {stream}");
        all.extend(asking(&what, stop, async || history.read(stream, one, io).await).await?);
    }
    Ok(all)
}

impl Kept<'_> {
    async fn list(&mut self) -> Result<(), JobError> {
        let (history, stream, reach, io) = (&mut *self.history, &self.stream, &self.reach, &self.io);
        let what = format!("what {stream} holds");
        self.listed = asking(&what, &self.stop, async || history.list(stream, reach, io).await).await?.into();
        // The next question begins behind these.
        if let Some(last) = self.listed.back() {
            self.reach.after = Some(last.name.clone());
        }
        Ok(())
    }
}

#[async_trait(?Send)]
impl Supply for Kept<'_> {
    async fn seek(&mut self, position: Option<&Cursor>) -> Result<(), JobError> {
        self.place = match position {
            Some(position) => serde_json::from_value(position.0.clone()).map_err(|error| {
                JobError::Failed(format!("the job's position cannot be read ({error}); --again starts anew"))
            })?,
            None => Place { v: VERSION, ..Place::default() },
        };
        if self.place.items > 0 {
            let done = if self.place.done { ", to its end" } else { "" };
            eprintln!("{}: {} were fetched before{done}; going on from there", self.stream, self.place.items);
        }
        self.place.done = false;
        self.reach.after = self.place.after.clone();
        self.listed.clear();
        self.at_hand.clear();
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Given>, JobError> {
        loop {
            if let Some(Listed { name, raw }) = self.at_hand.pop_front() {
                // Gone since it was listed.
                let Some(raw) = raw else { continue };
                self.place.after = Some(name);
                self.place.items += 1;
                return Ok(Some(Given { raw, after: Cursor(json!(self.place)), progress: self.place.items }));
            }
            if self.listed.is_empty() {
                self.list().await?;
            }
            if self.listed.is_empty() {
                return Ok(None);
            }
            let some: Vec<Listed> = self.listed.drain(..READ_ITEMS.min(self.listed.len())).collect();
            if some.iter().all(|item| item.raw.is_some()) {
                self.at_hand = some.into();
            } else {
                let names: Vec<String> = some.into_iter().map(|item| item.name).collect();
                self.at_hand = read(self.history, &self.stream, &names, &self.io, &self.stop).await?.into();
            }
        }
    }

    fn finished(&self) -> Cursor {
        Cursor(json!(Place { done: true, ..self.place.clone() }))
    }
}
