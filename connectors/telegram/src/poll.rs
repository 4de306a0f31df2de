//! Long polling with `getUpdates`.
//!
//! An update counts as taken when a later call names a higher offset, and every call here names the committed one: so
//! Telegram forgets an update only after it is safe. A negative offset is never used: it makes Telegram forget older
//! updates that nobody has read.
//!
//! Telegram has no history to start in. What waits is what nobody has taken yet, for at most 24 hours; `start: now` and
//! `start: beginning` therefore both begin with the oldest waiting update, and `start: since` leaves out those that
//! carry an earlier time.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{
    Cursor, IntakeError, Io, Item, Page, Poll, RawEvent, Start, StreamId, Timestamp, Wire, async_trait,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{Telegram, api, parse};

/// How long Telegram may hold a question that has no answer yet (at most 50 s).
const LONG_POLL: Duration = Duration::from_secs(30);
/// Time beyond that for the answer to arrive.
const ANSWER_MARGIN: Duration = Duration::from_secs(15);
/// Updates in one answer (at most 100).
const PAGE_UPDATES: usize = 100;
/// Pause after an empty answer: keeps a proxy that answers at once from being hammered.
const PAUSE: Duration = Duration::from_millis(500);
const CURSOR_VERSION: u32 = 1;
const STREAM: &str = "updates";

/// Position: the next update to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    v: u32,
    offset: i64,
    /// Unix seconds: updates that carry an earlier time are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
}

impl Position {
    fn decode(cursor: &Cursor) -> Result<Self, IntakeError> {
        let position: Self = cursor.decode()?;
        if position.v != CURSOR_VERSION {
            return Err(IntakeError::Broken(format!("cursor version {} is not known to this version", position.v)));
        }
        Ok(position)
    }
}

/// Whether this version reads a position.
pub fn check_cursor(_: &StreamId, cursor: &Cursor) -> Result<(), IntakeError> {
    Position::decode(cursor).map(drop)
}

#[derive(Deserialize)]
struct UpdateId {
    update_id: i64,
}

/// The bot's updates as a source.
pub struct Updates(pub Arc<Telegram>);

#[async_trait]
impl Poll for Updates {
    async fn streams(&mut self, _io: &Io) -> Result<Vec<StreamId>, IntakeError> {
        Ok(vec![StreamId::new(STREAM)])
    }

    async fn begin(&mut self, _stream: &StreamId, start: &Start, _io: &Io) -> Result<Cursor, IntakeError> {
        let since = match start {
            Start::Now | Start::Beginning => None,
            Start::Since(at) => Some(at.unix_seconds()),
        };
        Cursor::encode(&Position { v: CURSOR_VERSION, offset: 0, since })
    }

    async fn poll(&mut self, _stream: &StreamId, cursor: &Cursor, io: &Io) -> Result<Page, IntakeError> {
        let mut position = Position::decode(cursor)?;
        let telegram = &self.0;
        let token = telegram.token()?;
        let url = api::method_url(&telegram.api_url, token, "getUpdates");
        let parameters = json!({
            "offset": position.offset,
            "limit": PAGE_UPDATES,
            "timeout": LONG_POLL.as_secs(),
            "allowed_updates": telegram.allowed_updates,
        });
        let response = api::call(&*io.http, url, &parameters, LONG_POLL + ANSWER_MARGIN).await?;
        let result = api::result("getUpdates", &response)?;
        let updates: Vec<&RawValue> = serde_json::from_str(result.get())
            .map_err(|_| IntakeError::Broken("getUpdates answered no list of updates".to_owned()))?;
        let received_at = Timestamp::from(jiff::Timestamp::now());
        let mut page = Page { more: updates.len() >= PAGE_UPDATES, ..Page::default() };
        for update in updates {
            let UpdateId { update_id } = serde_json::from_str(update.get())
                .map_err(|_| IntakeError::Broken("getUpdates gave an update without `update_id`".to_owned()))?;
            position.offset = position.offset.max(update_id.saturating_add(1));
            let after = Cursor::encode(&position)?;
            if position.since.is_some_and(|since| is_before(update, since)) {
                page.cursor = Some(after);
                continue;
            }
            let mut raw = RawEvent::new(Wire::Json, update.get().to_owned(), received_at);
            raw.uri = format!("{}/{update_id}", telegram.api_url);
            page.items.push(Item { raw, cursor_after: Some(after.clone()) });
            page.cursor = Some(after);
        }
        Ok(page)
    }

    fn interval(&self) -> Duration {
        PAUSE
    }
}

fn is_before(update: &RawValue, since: i64) -> bool {
    let update: Option<Value> = serde_json::from_str(update.get()).ok();
    update.as_ref().and_then(parse::update).and_then(|update| parse::time(update.holder)).is_some_and(|at| at < since)
}
