//! `inlet audit`: is everything that a source has, up to where it was read, on Kafka too?
//!
//! Positions first, topics then: what a position has passed was committed together with it, so it is among the records.
//! Most items are found by the name that their events carry; the others are read again, and the ids that they give are
//! looked for. What gives none was skipped or is a dead letter.

use std::collections::{HashMap, HashSet};

use connector_sdk::key::sha256_hex;
use connector_sdk::{Cursor, History, IntakeError, Io, RawEvent, Reach, StreamId, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::backfill::{READ_ITEMS, asking, no_history};
use super::published::Published;
use super::{Job, JobError};
use crate::delivery::replay::list_cursors;
use crate::intake::position::Position;
use crate::pipeline::instance::Instance;
use crate::pipeline::line;

/// What was found of one instance.
#[derive(Debug, Serialize)]
pub struct Audit {
    pub instance: String,
    pub streams: Vec<StreamAudit>,
    /// Of the events' topic, partitions whose oldest records are gone by retention: older items then may seem missing.
    pub shortened_partitions: usize,
}

/// What was found of one stream.
#[derive(Debug, Serialize)]
pub struct StreamAudit {
    pub stream: StreamId,
    /// Up to where the live intake has read.
    pub cursor: Cursor,
    /// Items that the source has up to there.
    pub items: u64,
    pub published: u64,
    pub skipped: u64,
    pub dead_lettered: u64,
    /// Removed from the source during the audit.
    pub gone: u64,
    pub missing: Vec<Missing>,
    /// Why the stream could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An item that is not on Kafka.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The source's name of it.
    pub item: String,
    /// Where it lies.
    pub uri: String,
    /// The ids that its events would have.
    pub event_ids: Vec<String>,
    /// The provider's own ids of the message.
    pub message_ids: Vec<String>,
}

impl Audit {
    pub fn missing(&self) -> usize {
        self.streams.iter().map(|stream| stream.missing.len()).sum()
    }

    /// Whether everything was looked at.
    pub fn is_whole(&self) -> bool {
        self.streams.iter().all(|stream| stream.error.is_none())
    }
}

/// Audits all streams of an instance that have a position.
pub async fn run(job: &mut Job, since: Option<Timestamp>, stop: &CancellationToken) -> Result<Audit, JobError> {
    let Some(mut history) = job.connector.history.take() else { return Err(no_history(job)) };
    let name = job.instance.name.clone();
    let mut positions: Vec<(StreamId, Cursor)> = list_cursors(&job.settings)
        .await?
        .into_iter()
        .filter(|(key, _)| key.instance == name && !key.is_reserved())
        .map(|(key, stored)| (key.stream, Position::read(stored.cursor).cursor))
        .collect();
    let streams = asking("its streams", stop, async || history.streams(&job.io).await).await?;
    // Of other streams the source cannot say what they hold (changes of messages, for one).
    positions.retain(|(stream, _)| streams.contains(stream));
    let mut named: HashMap<StreamId, HashSet<String>> = HashMap::new();
    let published = {
        let settings = job.settings.clone();
        let history = &*history;
        let read = || {
            Published::read(&settings, &name, |event| {
                if let Some((stream, item)) = history.name_of(event) {
                    named.entry(stream).or_default().insert(item);
                }
            })
        };
        tokio::task::block_in_place(read)?
    };
    let mut audited = Vec::new();
    for (stream, cursor) in positions {
        let names = named.remove(&stream).unwrap_or_default();
        let mut audit = Auditing {
            instance: &job.instance,
            history: history.as_mut(),
            io: &job.io,
            published: &published,
            named: &names,
            stop,
            found: StreamAudit {
                stream,
                cursor,
                items: 0,
                published: 0,
                skipped: 0,
                dead_lettered: 0,
                gone: 0,
                missing: Vec::new(),
                error: None,
            },
        };
        match audit.run(since).await {
            Ok(()) => {}
            Err(JobError::Stopped) => return Err(JobError::Stopped),
            Err(error) => audit.found.error = Some(error.to_string()),
        }
        audited.push(audit.found);
    }
    Ok(Audit { instance: name, streams: audited, shortened_partitions: published.shortened })
}

/// The audit of one stream.
struct Auditing<'a> {
    instance: &'a Instance,
    history: &'a mut dyn History,
    io: &'a Io,
    published: &'a Published,
    named: &'a HashSet<String>,
    stop: &'a CancellationToken,
    found: StreamAudit,
}

impl Auditing<'_> {
    async fn run(&mut self, since: Option<Timestamp>) -> Result<(), JobError> {
        let passed_by = Some(self.found.cursor.clone());
        let mut reach = Reach { since, until: None, after: None, passed_by };
        let what = format!("what {} holds", self.found.stream);
        loop {
            let (history, stream, io) = (&mut *self.history, &self.found.stream, self.io);
            let listed = asking(&what, self.stop, async || history.list(stream, &reach, io).await).await?;
            let Some(last) = listed.last() else { return Ok(()) };
            reach.after = Some(last.name.clone());
            self.found.items += listed.len() as u64;
            let mut unknown = Vec::new();
            for item in listed {
                if self.named.contains(&item.name) {
                    self.found.published += 1;
                } else if let Some(raw) = &item.raw {
                    self.judge(item.name, raw);
                } else {
                    unknown.push(item.name);
                }
            }
            for names in unknown.chunks(READ_ITEMS) {
                self.read(names).await?;
            }
        }
    }

    async fn read(&mut self, names: &[String]) -> Result<(), JobError> {
        let (history, stream, io) = (&mut *self.history, &self.found.stream, self.io);
        let what = format!("items of {stream}");
        let read =
            asking(&what, self.stop, async || -> Result<_, IntakeError> { history.read(stream, names, io).await });
        let read = read.await?;
        self.found.gone += (names.len().saturating_sub(read.len())) as u64;
        for item in read {
            match &item.raw {
                Some(raw) => self.judge(item.name, raw),
                None => self.found.gone += 1,
            }
        }
        Ok(())
    }

    /// An item of which no event tells that it is of this one.
    fn judge(&mut self, item: String, raw: &RawEvent) {
        let expected = line::expected(self.instance, raw);
        let lost = expected.events.iter().any(|event| !self.published.has_event(&event.id));
        let unsaid = expected.rejected.iter().any(|sha256| !self.published.has_letter_of(sha256));
        if (lost || unsaid) && self.published.has_letter_of(&sha256_hex(&raw.body)) {
            // The whole input is one: Kafka refused a record of it.
            self.found.dead_lettered += 1;
        } else if lost || unsaid {
            let message_ids = expected.events.iter().flat_map(|event| event.provenance.message_ids.first().cloned());
            self.found.missing.push(Missing {
                item,
                uri: raw.uri.clone(),
                message_ids: message_ids.collect(),
                event_ids: expected.events.iter().map(|event| event.id.clone()).collect(),
            });
        } else if !expected.events.is_empty() {
            self.found.published += 1;
        } else if !expected.rejected.is_empty() {
            self.found.dead_lettered += 1;
        } else {
            self.found.skipped += 1;
        }
    }
}
