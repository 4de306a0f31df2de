//! The poll driver: ask from the committed cursor, commit the page with its new cursor, ask again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Cursor, IntakeError, Io, Item, Poll, Start, StreamId};
use tokio::time::Instant;

use super::sources::{Lane, LaneFault};
use crate::pipeline::instance::Instance;

/// How often the list of streams is asked for again.
const STREAMS_REFRESH: Duration = Duration::from_secs(300);

/// Follows all streams of an instance until an error or until the lane's epoch ends.
pub async fn run(poll: &mut dyn Poll, instance: &Arc<Instance>, lane: &Lane, io: &Io) -> Result<(), IntakeError> {
    let mut cursors: HashMap<StreamId, Cursor> = HashMap::new();
    let mut due: HashMap<StreamId, Instant> = HashMap::new();
    loop {
        let streams = poll.streams(io).await?;
        let refresh = Instant::now() + STREAMS_REFRESH;
        due.retain(|stream, _| streams.contains(stream));
        while Instant::now() < refresh {
            for stream in &streams {
                if due.get(stream).is_some_and(|at| *at > Instant::now()) {
                    continue;
                }
                let cursor = match cursors.remove(stream).or_else(|| lane.cursor(stream)) {
                    Some(cursor) => cursor,
                    None => first(poll, stream, &instance.config.start.0, lane, io).await?,
                };
                let (cursor, wait) = turn(poll, instance, stream, cursor, lane, io).await?;
                cursors.insert(stream.clone(), cursor);
                due.insert(stream.clone(), Instant::now() + wait);
            }
            let next = due.values().min().copied().unwrap_or(refresh).min(refresh);
            tokio::time::sleep_until(next).await;
        }
    }
}

async fn first(
    poll: &mut dyn Poll,
    stream: &StreamId,
    start: &Start,
    lane: &Lane,
    io: &Io,
) -> Result<Cursor, IntakeError> {
    let cursor = poll.begin(stream, start, io).await?;
    lane.store(stream, cursor.clone()).await.map_err(LaneFault::into_intake)?;
    Ok(cursor)
}

/// One question; returns the committed position after it and how long to wait.
async fn turn(
    poll: &mut dyn Poll,
    instance: &Arc<Instance>,
    stream: &StreamId,
    cursor: Cursor,
    lane: &Lane,
    io: &Io,
) -> Result<(Cursor, Duration), IntakeError> {
    let page = match poll.poll(stream, &cursor, io).await {
        Err(IntakeError::CursorLost(reason)) => {
            tracing::warn!(instance = %instance.name, %stream, %reason, "cursor lost, beginning anew");
            let fresh = first(poll, stream, &Start::Beginning, lane, io).await?;
            return Ok((fresh, Duration::ZERO));
        }
        other => other?,
    };
    let mut after = cursor.clone();
    let mut settling = Vec::with_capacity(page.items.len());
    for Item { raw, cursor_after } in page.items {
        if let Some(position) = &cursor_after {
            after = position.clone();
        }
        settling.push(lane.submit(stream, raw, cursor_after).await.map_err(LaneFault::into_intake)?);
    }
    for settled in settling {
        settled.await.map_err(|_| LaneFault::Ended.into_intake())?;
    }
    if let Some(position) = page.cursor
        && position != after
    {
        lane.store(stream, position.clone()).await.map_err(LaneFault::into_intake)?;
        after = position;
    }
    let wait = match (page.more, page.wait) {
        (true, wait) => wait.unwrap_or(Duration::ZERO),
        (false, Some(wait)) => wait,
        (false, None) => poll.interval(),
    };
    Ok((after, wait))
}
