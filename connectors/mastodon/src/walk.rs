//! Which notifications come next, so that nothing is skipped whatever a server makes of `min_id`.
//!
//! Two habits are in use. Mastodon answers with the page *right above* the id. Others (snac2, and whoever knows only
//! `since_id`) answer with the *newest* page above it, which leaves a gap below. So unless a page touches what was seen
//! before, the space between the floor and the page is asked for until it is empty.

use std::collections::VecDeque;
use std::time::Duration;

use connector_sdk::{Bytes, IntakeError};

use crate::api::{Api, Entry, Listing, PAGE_LIMIT};
use crate::cursor::Position;

/// Most notifications held at once while walking down to the floor; the newest ones beyond are asked for again later.
const HELD_MAX: usize = 10 * PAGE_LIMIT;

/// What comes after a position.
#[derive(Debug, Default)]
pub struct Batch {
    /// Not handed on yet, oldest first.
    pub fresh: Vec<Entry>,
    pub broken: Vec<Bytes>,
    pub wait: Option<Duration>,
}

/// The next notifications after `position`; an empty batch = nothing is new.
pub async fn next(api: &Api<'_>, position: &Position) -> Result<Batch, IntakeError> {
    let mut batch = Batch::default();
    let mut floor = position.floor.clone();
    loop {
        let page = take(&mut batch, api.notifications(Some(&floor), None, &[], PAGE_LIMIT).await?);
        let Some(newest) = page.last().map(|entry| entry.id.clone()) else { return Ok(batch) };
        let touches = page.iter().any(|entry| position.knows(&entry.id));
        let whole = if touches { page.into() } else { close_gap(api, &floor, page, &mut batch).await? };
        batch.fresh = whole.into_iter().filter(|entry| !position.knows(&entry.id)).collect();
        // A page of nothing but known ids that ends below the newest known one was cut by the server's own limit.
        if !batch.fresh.is_empty() || position.seen.last() == Some(&newest) {
            return Ok(batch);
        }
        floor = newest;
    }
}

/// The page and everything between it and the floor, oldest first.
async fn close_gap(
    api: &Api<'_>,
    floor: &str,
    page: Vec<Entry>,
    batch: &mut Batch,
) -> Result<VecDeque<Entry>, IntakeError> {
    let mut held: VecDeque<Entry> = page.into();
    while let Some(oldest) = held.front().map(|entry| entry.id.clone()) {
        let below = take(batch, api.notifications(Some(floor), Some(&oldest), &[], PAGE_LIMIT).await?);
        if below.is_empty() {
            break;
        }
        for entry in below.into_iter().rev() {
            held.push_front(entry);
        }
        held.truncate(HELD_MAX);
    }
    Ok(held)
}

fn take(batch: &mut Batch, listing: Listing) -> Vec<Entry> {
    batch.broken.extend(listing.broken);
    batch.wait = batch.wait.max(listing.wait);
    listing.entries
}
