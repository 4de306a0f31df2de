//! The two streams, and the read-only probe.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{
    Cursor, IntakeError, Io, Item, Page, Poll, Probe, ProbeReport, RawEvent, Start, StreamId, Timestamp, Wire,
    async_trait, json,
};
use serde_json::Value;

use crate::api::{Api, Entry, Found, PAGE_LIMIT, now};
use crate::cursor::{Position, Watch};
use crate::wire;
use crate::{Options, recheck, status, walk};

/// Stream of everything that the server notifies of.
pub const NOTIFICATIONS: &str = "notifications";
/// Stream of what became of the mentions seen lately.
const MENTIONS: &str = "mentions";
/// Pages that `start: since` walks down at most.
const SINCE_PAGES_MAX: usize = 1000;
/// Statuses whose thread's root is remembered; the table starts anew beyond.
const ROOTS_MAX: usize = 10_000;

/// The account whose token we have.
#[derive(Clone, Debug)]
struct Account {
    id: String,
    handle: String,
}

/// The instance's poller.
pub struct Poller {
    options: Arc<Options>,
    account: Option<Account>,
    roots: Roots,
}

impl Poller {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options, account: None, roots: Roots::default() }
    }

    /// A notification as the live intake hands it on.
    pub async fn raw_of(&mut self, entry: Entry, io: &Io) -> Result<RawEvent, IntakeError> {
        let account = self.account(io).await?;
        let options = Arc::clone(&self.options);
        let api = Api { options: &options, io };
        let value = json::parse(&entry.json).map(|doc| doc.value).unwrap_or_default();
        let root = match value.get("status") {
            Some(status) => self.roots.of(&api, status).await?,
            None => None,
        };
        let mut raw = raw(&options, &account, wire::Item::Notification, &entry.id, entry.json);
        with_root(&mut raw, root);
        Ok(raw)
    }

    async fn account(&mut self, io: &Io) -> Result<Account, IntakeError> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let api = Api { options: &self.options, io };
        let me: Value = api.read("/api/v1/accounts/verify_credentials", "the token's account").await?;
        let account = account(&me, &self.options)?;
        Ok(self.account.insert(account).clone())
    }

    async fn notifications(&mut self, cursor: &Cursor, io: &Io) -> Result<Page, IntakeError> {
        let mut position = Position::decode(cursor)?;
        let account = self.account(io).await?;
        let options = Arc::clone(&self.options);
        let api = Api { options: &options, io };
        let batch = walk::next(&api, &position).await?;
        let mut page = Page { more: !batch.fresh.is_empty(), wait: batch.wait, ..Page::default() };
        for json in batch.broken {
            if position.take_broken(&json) {
                let raw = raw(&options, &account, wire::Item::Notification, "", json);
                page.items.push(Item { raw, cursor_after: Some(Cursor::encode(&position)?) });
            }
        }
        for entry in batch.fresh {
            position.take(&entry.id);
            let raw = self.raw_of(entry, io).await?;
            page.items.push(Item { raw, cursor_after: Some(Cursor::encode(&position)?) });
        }
        Ok(page)
    }

    async fn mentions(&mut self, cursor: &Cursor, io: &Io) -> Result<Page, IntakeError> {
        let mut watch = Watch::decode(cursor)?;
        let account = self.account(io).await?;
        let options = Arc::clone(&self.options);
        let api = Api { options: &options, io };
        let round = recheck::round(&api, &mut watch, &mut self.roots).await?;
        let mut page = Page {
            wait: Some(round.wait.unwrap_or_default().max(options.recheck_every)),
            more: false,
            ..Page::default()
        };
        for change in round.changes {
            let mut raw = raw(&options, &account, change.item, &change.status, change.body);
            with_root(&mut raw, change.root);
            // The position moves with the page as a whole: what changed between two looks is told once.
            page.items.push(Item { raw, cursor_after: None });
        }
        let after = Cursor::encode(&watch)?;
        page.cursor = (after != *cursor).then_some(after);
        Ok(page)
    }
}

#[async_trait]
impl Poll for Poller {
    async fn streams(&mut self, _: &Io) -> Result<Vec<StreamId>, IntakeError> {
        let mut streams = vec![StreamId::new(NOTIFICATIONS)];
        if self.options.recheck_mentions > 0 {
            streams.push(StreamId::new(MENTIONS));
        }
        Ok(streams)
    }

    async fn begin(&mut self, stream: &StreamId, start: &Start, io: &Io) -> Result<Cursor, IntakeError> {
        let api = Api { options: &self.options, io };
        let floor = match start {
            Start::Beginning => "0".to_owned(),
            Start::Now => newest(&api).await?,
            Start::Since(since) => since_id(&api, *since).await?,
        };
        match stream.0.as_str() {
            NOTIFICATIONS => Cursor::encode(&Position::after(floor)),
            MENTIONS => Cursor::encode(&Watch::after(floor)),
            other => Err(unknown(other)),
        }
    }

    async fn poll(&mut self, stream: &StreamId, cursor: &Cursor, io: &Io) -> Result<Page, IntakeError> {
        match stream.0.as_str() {
            NOTIFICATIONS => self.notifications(cursor, io).await,
            MENTIONS => self.mentions(cursor, io).await,
            other => Err(unknown(other)),
        }
    }

    fn interval(&self) -> Duration {
        self.options.interval
    }
}

/// Whether this version reads a position.
pub fn check_cursor(stream: &StreamId, cursor: &Cursor) -> Result<(), IntakeError> {
    match stream.0.as_str() {
        NOTIFICATIONS => Position::decode(cursor).map(drop),
        MENTIONS => Watch::decode(cursor).map(drop),
        other => Err(unknown(other)),
    }
}

fn unknown(stream: &str) -> IntakeError {
    IntakeError::Broken(format!("there is no stream '{stream}', only {NOTIFICATIONS} and {MENTIONS}"))
}

async fn newest(api: &Api<'_>) -> Result<String, IntakeError> {
    let page = api.notifications(None, None, &[], 1).await?;
    Ok(page.entries.last().map_or_else(|| "0".to_owned(), |entry| entry.id.clone()))
}

/// The id of the newest notification from before a moment.
pub async fn since_id(api: &Api<'_>, since: Timestamp) -> Result<String, IntakeError> {
    let mut below: Option<String> = None;
    for _ in 0..SINCE_PAGES_MAX {
        let page = api.notifications(None, below.as_deref(), &[], PAGE_LIMIT).await?;
        let Some(oldest) = page.entries.first() else { return Ok("0".to_owned()) };
        let before = page.entries.iter().rev().find(|entry| {
            let doc = json::parse(&entry.json).map(|doc| doc.value).unwrap_or_default();
            json::text(&doc, "/created_at").and_then(Timestamp::parse).is_some_and(|at| at < since)
        });
        if let Some(entry) = before {
            return Ok(entry.id.clone());
        }
        below = Some(oldest.id.clone());
    }
    Err(IntakeError::Broken(format!(
        "more than {SINCE_PAGES_MAX} pages of notifications lie after {since}; choose a later moment or `beginning`"
    )))
}

fn raw(
    options: &Options,
    account: &Account,
    item: wire::Item,
    id: &str,
    body: impl Into<connector_sdk::Bytes>,
) -> RawEvent {
    let mut raw = RawEvent::new(Wire::Json, body, now());
    let place = if item == wire::Item::Notification { "notifications" } else { "statuses" };
    raw.uri = format!("{}/api/v1/{place}/{id}", options.base_url);
    raw.headers.push(wire::ITEM, item.as_str());
    raw.headers.push(wire::ACCOUNT, account.handle.clone());
    raw.headers.push(wire::ACCOUNT_ID, account.id.clone());
    raw
}

fn with_root(raw: &mut RawEvent, root: Option<String>) {
    if let Some(root) = root {
        raw.headers.push(wire::THREAD_ROOT, root);
    }
}

fn account(me: &Value, options: &Options) -> Result<Account, IntakeError> {
    let (Some(id), Some(acct)) = (json::id(me, "/id"), json::text(me, "/acct")) else {
        return Err(IntakeError::Broken("verify_credentials names no account: is base_url a Mastodon API?".into()));
    };
    Ok(Account { id, handle: status::handle(acct, &options.domain) })
}

/// Remembers which thread a status belongs to.
#[derive(Default)]
pub struct Roots(HashMap<String, String>);

impl Roots {
    /// Id of the first status of a reply's thread; `None` for what is no reply, and where the server does not know it.
    pub async fn of(&mut self, api: &Api<'_>, status: &Value) -> Result<Option<String>, IntakeError> {
        let (Some(id), Some(parent)) = (json::id(status, "/id"), json::id(status, "/in_reply_to_id")) else {
            return Ok(None);
        };
        if self.0.len() >= ROOTS_MAX {
            self.0.clear();
        }
        let known = self.0.get(&id).or_else(|| self.0.get(&parent)).cloned();
        let root = match known {
            Some(root) => root,
            None => {
                let path = format!("/api/v1/statuses/{id}/context");
                let Found::There(context) = api.find::<Value>(&path, "the thread of a status").await? else {
                    return Ok(None);
                };
                let Some(root) = json::id(&context, "/ancestors/0/id") else { return Ok(None) };
                root
            }
        };
        self.0.insert(parent, root.clone());
        self.0.insert(id, root.clone());
        Ok(Some(root))
    }
}

/// `inlet check --connect`.
pub struct AccountProbe {
    options: Arc<Options>,
}

impl AccountProbe {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Probe for AccountProbe {
    async fn probe(&self, io: &Io) -> Result<ProbeReport, IntakeError> {
        let api = Api { options: &self.options, io };
        let me: Value = api.read("/api/v1/accounts/verify_credentials", "the token's account").await?;
        let account = account(&me, &self.options)?;
        let page = api.notifications(None, None, &[], 1).await?;
        let latest = page.entries.last().map_or_else(|| "none yet".to_owned(), |entry| entry.id.clone());
        Ok(ProbeReport {
            lines: vec![
                format!("@{}: account {}", account.handle, account.id),
                format!("latest notification: {latest}"),
            ],
        })
    }
}
