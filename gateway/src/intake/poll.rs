//! The poll driver: ask from the committed cursor, commit the page with its new cursor, ask again.
//!
//! A stream that fails waits by itself while the others go on; only when all of them fail, or the credentials are
//! refused, does the run end with the error. A fault of the lane ends the run always: what is in memory then is no
//! longer to be trusted, and the next run begins at the committed positions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Cursor, IntakeError, Io, Item, Outcome, Page, Poll, RawEvent, Start, StreamId};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::health::{Reporter, State};
use super::lane::{Lane, LaneFault};
use super::position::Position;
use super::sources::{Ended, STOPPED_RETRY};
use crate::pipeline::instance::Instance;
use crate::pipeline::line::RESYNC_HEADER;

/// How often the list of streams is asked for again.
const STREAMS_REFRESH: Duration = Duration::from_secs(300);
/// Pause of a stream that failed: from, to.
const STREAM_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// Pause before a source that has lost its position again is read again from its beginning: from, to. The first time
/// there is none.
const RESYNC_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3600));
/// A source that kept its position for so long is trusted as on the first day.
const RESYNC_FORGET: Duration = Duration::from_secs(24 * 3600);

/// Whom a run is for, and how it is stopped.
pub(super) struct PollCx<'a> {
    pub instance: &'a Arc<Instance>,
    pub lane: &'a Lane,
    pub io: &'a Io,
    pub reporter: &'a Reporter,
    /// No further question; what was submitted is waited for.
    pub stop: &'a CancellationToken,
}

/// What outlives a run.
#[derive(Default)]
pub(super) struct Memory {
    resyncs: HashMap<StreamId, Resyncs>,
}

/// How often a stream lost its position.
struct Resyncs {
    last: Instant,
    not_before: Instant,
    backoff: Backoff,
}

/// One stream between questions.
struct Stream {
    id: StreamId,
    /// Committed; absent until it was looked up.
    position: Option<Position>,
    due: Instant,
    backoff: Backoff,
    failing: bool,
}

/// Why a question came to nothing.
enum Fault {
    Source(IntakeError),
    Lane(LaneFault),
    Stopped,
}

impl From<IntakeError> for Fault {
    fn from(error: IntakeError) -> Self {
        Self::Source(error)
    }
}

impl From<LaneFault> for Fault {
    fn from(fault: LaneFault) -> Self {
        Self::Lane(fault)
    }
}

/// Follows all streams of an instance.
pub(super) async fn run(poll: &mut dyn Poll, cx: &PollCx<'_>, memory: &mut Memory) -> Result<Ended, IntakeError> {
    let mut streams: Vec<Stream> = Vec::new();
    loop {
        let names = tokio::select! {
            biased;
            () = cx.stop.cancelled() => return Ok(Ended::Stopped),
            names = poll.streams(cx.io) => names?,
        };
        adopt(&mut streams, names, cx);
        let refresh = Instant::now() + STREAMS_REFRESH;
        while Instant::now() < refresh {
            for at in 0..streams.len() {
                if streams[at].due > Instant::now() {
                    continue;
                }
                let done = turn(poll, cx, memory, &mut streams[at]).await;
                if let Some(end) = after_turn(cx, &mut streams, at, done) {
                    return end;
                }
            }
            let next = streams.iter().map(|stream| stream.due).min().unwrap_or(refresh).min(refresh);
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = cx.stop.cancelled() => return Ok(Ended::Stopped),
            }
        }
    }
}

/// Keeps the streams that are still there as they are, forgets others, and adds new ones.
fn adopt(streams: &mut Vec<Stream>, names: Vec<StreamId>, cx: &PollCx<'_>) {
    for gone in streams.extract_if(.., |stream| !names.contains(&stream.id)) {
        cx.reporter.stream(&gone.id, "", "");
    }
    for id in names {
        if streams.iter().all(|stream| stream.id != id) {
            let backoff = Backoff::new(STREAM_PAUSE.0, STREAM_PAUSE.1, &format!("{}/{id}", cx.instance.name));
            streams.push(Stream { id, position: None, due: Instant::now(), backoff, failing: false });
        }
    }
}

/// Notes how a turn went; `Some`: the run ends.
fn after_turn(
    cx: &PollCx<'_>,
    streams: &mut [Stream],
    at: usize,
    done: Result<Duration, Fault>,
) -> Option<Result<Ended, IntakeError>> {
    let stream = &mut streams[at];
    let error = match done {
        Ok(wait) => {
            stream.due = Instant::now() + wait;
            if std::mem::take(&mut stream.failing) {
                stream.backoff.reset();
                cx.reporter.stream(&stream.id, "", "");
            }
            cx.reporter.set(State::Running, "", "");
            return None;
        }
        Err(Fault::Stopped) => return Some(Ok(Ended::Stopped)),
        Err(Fault::Lane(LaneFault::Ended)) => return Some(Ok(Ended::Epoch)),
        Err(Fault::Lane(fault)) => return Some(Err(fault.into_intake())),
        Err(Fault::Source(error)) => error,
    };
    stream.failing = true;
    let wait = match &error {
        IntakeError::Unauthorised(_) => return Some(Err(error)),
        IntakeError::Retry { after, .. } => stream.backoff.next(*after),
        IntakeError::CursorLost(_) | IntakeError::Broken(_) | IntakeError::TooLarge(_) => STOPPED_RETRY,
    };
    stream.due = Instant::now() + wait;
    let (reason, passing) = (error.to_string(), matches!(error, IntakeError::Retry { .. }));
    if streams.iter().all(|stream| stream.failing) {
        return Some(Err(error));
    }
    if passing {
        cx.reporter.stream_waits(&streams[at].id, &reason, "tried again by itself; the other streams go on");
    } else {
        cx.reporter.stream(
            &streams[at].id,
            &reason,
            "mend it at the source or in the configuration; the other streams go on",
        );
    }
    None
}

/// One question: commits what it brings; returns how long to wait before the next.
async fn turn(
    poll: &mut dyn Poll,
    cx: &PollCx<'_>,
    memory: &mut Memory,
    stream: &mut Stream,
) -> Result<Duration, Fault> {
    let position = match stream.position.clone().or_else(|| cx.lane.cursor(&stream.id).map(Position::read)) {
        Some(position) => position,
        None => begin(poll, cx, stream, &cx.instance.config.start.0, false).await?,
    };
    stream.position = Some(position.clone());
    let asked = tokio::select! {
        biased;
        () = cx.stop.cancelled() => return Err(Fault::Stopped),
        page = poll.poll(&stream.id, &position.cursor, cx.io) => page,
    };
    match asked {
        Ok(page) => commit(poll, cx, stream, position, page).await,
        Err(IntakeError::CursorLost(reason)) => begin_anew(poll, cx, memory, stream, &reason).await,
        Err(error) => Err(error.into()),
    }
}

/// The first position of a stream, stored before anything is read.
async fn begin(
    poll: &mut dyn Poll,
    cx: &PollCx<'_>,
    stream: &Stream,
    start: &Start,
    resync: bool,
) -> Result<Position, Fault> {
    let cursor = tokio::select! {
        biased;
        () = cx.stop.cancelled() => return Err(Fault::Stopped),
        cursor = poll.begin(&stream.id, start, cx.io) => cursor?,
    };
    let position = Position { cursor, resync };
    cx.lane.store(&stream.id, position.stored()).await?;
    Ok(position)
}

/// The source no longer knows the position. It is read again, as far back as was ever asked for, and what comes is
/// marked; a source that loses its position again and again is held off for longer and longer.
async fn begin_anew(
    poll: &mut dyn Poll,
    cx: &PollCx<'_>,
    memory: &mut Memory,
    stream: &mut Stream,
    reason: &str,
) -> Result<Duration, Fault> {
    let now = Instant::now();
    let resyncs = memory.resyncs.entry(stream.id.clone()).or_insert_with(|| Resyncs {
        last: now,
        not_before: now,
        backoff: Backoff::new(RESYNC_PAUSE.0, RESYNC_PAUSE.1, &cx.instance.name),
    });
    if now < resyncs.not_before {
        let text = format!("the source loses its position again and again ({reason})");
        return Err(IntakeError::retry_after(resyncs.not_before - now, text).into());
    }
    if now - resyncs.last > RESYNC_FORGET {
        resyncs.backoff.reset();
    }
    (resyncs.last, resyncs.not_before) = (now, now + resyncs.backoff.next(None));
    tracing::warn!(instance = %cx.instance.name, stream = %stream.id, reason, "position lost, reading the source again");
    let start = match &cx.instance.config.start.0 {
        Start::Since(at) => Start::Since(*at),
        Start::Now | Start::Beginning => Start::Beginning,
    };
    stream.position = Some(begin(poll, cx, stream, &start, true).await?);
    Ok(Duration::ZERO)
}

/// Inputs that are committed together with the position after them.
struct Group {
    raws: Vec<RawEvent>,
    after: Option<Cursor>,
}

/// Submits a page, waits until all of it is committed, and says when to ask again.
async fn commit(
    poll: &mut dyn Poll,
    cx: &PollCx<'_>,
    stream: &mut Stream,
    position: Position,
    page: Page,
) -> Result<Duration, Fault> {
    let Page { items, cursor, more, wait, head_lag } = page;
    // The end of history is where nothing more waits.
    let resync = position.resync && more;
    let had_items = !items.is_empty();
    let mut after = position.clone();
    let mut groups = grouped(items, position.resync);
    for group in &groups {
        if let Some(cursor) = &group.after {
            after.cursor = cursor.clone();
        }
    }
    after = Position { cursor: cursor.unwrap_or(after.cursor), resync };
    let moved = after != position;
    // The page's own position goes with its last inputs: between two commits a crash would repeat them.
    let last = groups.len().checked_sub(1);
    for (at, group) in groups.iter_mut().enumerate() {
        group.after = match group.after.take() {
            _ if Some(at) == last => moved.then(|| after.stored()),
            cursor => cursor.map(|cursor| Position { cursor, resync: position.resync }.stored()),
        };
    }
    if groups.is_empty() && moved {
        cx.lane.store(&stream.id, after.stored()).await?;
    }
    let mut outcomes = Vec::with_capacity(groups.len());
    for Group { raws, after } in groups {
        let (tell, told) = oneshot::channel::<Outcome>();
        cx.lane.submit(&stream.id, raws, after, tell).await?;
        outcomes.push(told);
    }
    for told in outcomes {
        told.await.map_err(|_| LaneFault::Ended)?;
    }
    stream.position = Some(after);
    if let Some(behind) = head_lag {
        cx.reporter.lag(&stream.id, behind);
    }
    if moved {
        stream.backoff.reset();
    } else if more || had_items {
        // Asking again at once would bring the same, without end.
        if had_items {
            tracing::warn!(instance = %cx.instance.name, stream = %stream.id, "the source gives items without moving its position; they come again, with the same ids");
        }
        return Ok(stream.backoff.next(Some(poll.interval().max(wait.unwrap_or_default()))));
    }
    Ok(match (more, wait) {
        (true, wait) => wait.unwrap_or(Duration::ZERO),
        (false, Some(wait)) => wait,
        (false, None) => poll.interval(),
    })
}

/// Items up to and with the next that has a position: they are committed together, or a crash in between would repeat
/// those before it.
fn grouped(items: Vec<Item>, resync: bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for Item { mut raw, cursor_after } in items {
        if resync {
            raw.headers.set(RESYNC_HEADER, "true");
        }
        match groups.last_mut() {
            Some(open) if open.after.is_none() => {
                open.raws.push(raw);
                open.after = cursor_after;
            }
            _ => groups.push(Group { raws: vec![raw], after: cursor_after }),
        }
    }
    groups
}
