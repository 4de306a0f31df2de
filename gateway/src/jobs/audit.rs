//! `inlet audit`: is everything that a source has, up to where it was read, on Kafka too?
//!
//! Positions first, topics then: what a position has passed was committed together with it, so it is among the records.
//! Most items are found by the name that their events carry; the others are read again, and the ids that they give are
//! looked for. What gives none was skipped or is a dead letter.

use std::collections::{BTreeMap, HashMap, HashSet};

use connector_sdk::key::sha256_hex;
use connector_sdk::{Cursor, History, Io, RawEvent, Reach, StreamId, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::backfill::{READ_ITEMS, asking, no_history, read};
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
    /// Why the source could not be asked at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
        self.error.is_none() && self.streams.iter().all(|stream| stream.error.is_none())
    }
}

/// An instance on its way through the audit.
struct Subject<'a> {
    job: &'a Job,
    history: Box<dyn History>,
    positions: Vec<(StreamId, Cursor)>,
    named: HashMap<StreamId, HashSet<String>>,
    error: Option<String>,
}

/// Audits all streams of these instances that have a position; they share one configuration.
pub async fn run(jobs: &mut [Job], since: Option<Timestamp>, stop: &CancellationToken) -> Result<Vec<Audit>, JobError> {
    let Some(settings) = jobs.first().map(|job| job.settings.clone()) else { return Ok(Vec::new()) };
    let positions = list_cursors(&settings).await?;
    let mut subjects: BTreeMap<&str, Subject<'_>> = BTreeMap::new();
    for job in jobs {
        let Some(mut history) = job.connector.history.take() else { return Err(no_history(job)) };
        let job = &*job;
        // Of other streams the source cannot say what they hold (changes of messages, for one).
        let (streams, error) = match asking("its streams", stop, async || history.streams(&job.io).await).await {
            Ok(streams) => (streams, None),
            Err(JobError::Stopped) => return Err(JobError::Stopped),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let own =
            positions.iter().filter(|(key, _)| key.instance == job.instance.name && streams.contains(&key.stream));
        let positions = own.map(|(key, stored)| (key.stream.clone(), Position::read(stored.cursor.clone()).cursor));
        let positions = positions.collect();
        let subject = Subject { job, history, positions, named: HashMap::new(), error };
        subjects.insert(&job.instance.name, subject);
    }
    let published = tokio::task::block_in_place(|| {
        Published::read(&settings, |event| {
            if let Some(subject) = subjects.get_mut(event.connector.as_str())
                && let Some((stream, item)) = subject.history.name_of(event)
            {
                subject.named.entry(stream).or_default().insert(item);
            }
        })
    })?;
    let mut audits = Vec::new();
    for subject in subjects.into_values() {
        audits.push(one(subject, &published, since, stop).await?);
    }
    Ok(audits)
}

async fn one(
    mut subject: Subject<'_>,
    published: &Published,
    since: Option<Timestamp>,
    stop: &CancellationToken,
) -> Result<Audit, JobError> {
    let mut streams = Vec::new();
    for (stream, cursor) in subject.positions {
        let names = subject.named.remove(&stream).unwrap_or_default();
        let mut audit = Auditing {
            instance: &subject.job.instance,
            history: subject.history.as_mut(),
            io: &subject.job.io,
            published,
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
        streams.push(audit.found);
    }
    Ok(Audit {
        instance: subject.job.instance.name.clone(),
        streams,
        shortened_partitions: published.shortened,
        error: subject.error,
    })
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
        let read = read(self.history, &self.found.stream, names, self.io, self.stop).await?;
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
        let unsaid = expected.rejected.iter().any(|sha256| !self.published.has_letter_of(&self.instance.name, sha256));
        if (lost || unsaid) && self.published.has_letter_of(&self.instance.name, &sha256_hex(&raw.body)) {
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
