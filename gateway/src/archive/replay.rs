//! `inlet replay`: parses kept inputs again, to the same ids.
//!
//! A dead letter that parses now is taken away only after what came of it is safe: whoever interrupts a replay and begins
//! it anew publishes some events a second time, under the same ids, and loses none.

use std::collections::BTreeMap;

use connector_sdk::schemas::Timestamp;
use indicatif::ProgressBar;

use super::{Archive, Kept, read};
use crate::delivery::{PublishError, Publisher};
use crate::pipeline::line::{Prepared, events_of};
use crate::pipeline::record::{Record, TopicRole};

/// What is sent together.
const BATCH_INPUTS: usize = 100;
const BATCH_BYTES: usize = 4 << 20;

/// Which inputs, and what to do with them.
#[derive(Clone, Debug)]
pub struct Choice {
    /// [`TopicRole::DeadLetter`] or [`TopicRole::Raw`].
    pub from: TopicRole,
    /// Name of an instance or of a connector.
    pub connector: Option<String>,
    /// By the time at which they were received.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only dead letters with this code.
    pub reason: Option<String>,
    /// Looks and changes nothing.
    pub dry_run: bool,
}

/// What a replay did (or, on a dry run, would do).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Inputs that the choice meets.
    pub chosen: usize,
    /// Those of which something came, all of it safe.
    pub replayed: usize,
    pub events: usize,
    /// Those that cannot be read yet, by reason; they stay as they are.
    pub rejected: BTreeMap<String, usize>,
    /// Those whose instance is not in the configuration.
    pub not_configured: BTreeMap<String, usize>,
    /// Those whose bytes were not kept.
    pub without_bytes: usize,
    /// Those of which Kafka refuses a record.
    pub refused: usize,
}

/// What came of one input.
struct Ready {
    records: Vec<Record>,
    /// Key of a dead letter that is one no more.
    done: Option<String>,
    events: usize,
}

/// Replays what is chosen. `bar` shows how far it is.
pub async fn replay(archive: &Archive, choice: &Choice, bar: &ProgressBar) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let since = choice.since.map(Timestamp::unix_millis);
    let mut inputs = read::newest(archive.settings.clone(), choice.from, since, bar.clone());
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(kept) = inputs.recv().await {
        let kept = kept.map_err(|error| error.to_string())?;
        if !choice.meets(&kept) {
            continue;
        }
        summary.chosen += 1;
        if let Some(ready) = prepare(archive, choice, &kept, &mut summary).await? {
            bytes += ready.records.iter().map(Record::wire_bytes).sum::<usize>();
            batch.push(ready);
        }
        if batch.len() >= BATCH_INPUTS || bytes >= BATCH_BYTES {
            publish(archive, choice, std::mem::take(&mut batch), &mut summary).await?;
            bytes = 0;
        }
    }
    publish(archive, choice, batch, &mut summary).await?;
    Ok(summary)
}

impl Choice {
    fn meets(&self, kept: &Kept) -> bool {
        self.connector.as_ref().is_none_or(|name| *name == kept.instance || *name == kept.connector)
            && self.since.is_none_or(|since| kept.received_at >= since)
            && self.until.is_none_or(|until| kept.received_at < until)
            && self.reason.as_ref().is_none_or(|reason| *reason == kept.reason)
    }
}

/// Parses one input again; `None` where it stays as it is, which is counted.
async fn prepare(
    archive: &Archive,
    choice: &Choice,
    kept: &Kept,
    summary: &mut Summary,
) -> Result<Option<Ready>, String> {
    let Some(instance) = archive.instances.get(&kept.instance) else {
        *summary.not_configured.entry(kept.instance.clone()).or_default() += 1;
        return Ok(None);
    };
    // A claim check whose blob is gone is like one that never was; the others go on.
    let Some(raw) = kept.input(archive.blobs()).await.unwrap_or_default() else {
        summary.without_bytes += 1;
        return Ok(None);
    };
    let done = (kept.role == TopicRole::DeadLetter).then(|| kept.key.clone());
    if choice.dry_run {
        let (events, rejected) = events_of(instance, &raw, &kept.raw_sha256);
        if let Some(rejected) = rejected.first() {
            *summary.rejected.entry(rejected.code.to_owned()).or_default() += 1;
            return Ok(None);
        }
        return Ok(Some(Ready { records: Vec::new(), done, events: events.len() }));
    }
    let prepared = archive.line.prepare_again(instance, &raw, &kept.raw_sha256).await;
    let prepared = prepared.map_err(|fault| fault.to_string())?;
    if let Some(code) = prepared.dead_lettered.first() {
        *summary.rejected.entry((*code).to_owned()).or_default() += 1;
        return Ok(None);
    }
    let events = prepared.event_ids.len();
    Ok(Some(Ready { records: wanted(kept, prepared), done, events }))
}

/// Of a dead letter everything. Of a raw input its events; what was ordered was ordered then, and its record is written
/// again only where other events come of it now.
fn wanted(kept: &Kept, prepared: Prepared) -> Vec<Record> {
    let Prepared { mut records, event_ids, .. } = prepared;
    if kept.role == TopicRole::Raw {
        records.retain(|record| match record.topic {
            TopicRole::Events => true,
            TopicRole::Raw => event_ids != kept.event_ids,
            _ => false,
        });
    }
    records
}

/// Events first; dead letters go when those are safe.
async fn publish(archive: &Archive, choice: &Choice, batch: Vec<Ready>, summary: &mut Summary) -> Result<(), String> {
    if choice.dry_run {
        summary.replayed += batch.len();
        summary.events += batch.iter().map(|ready| ready.events).sum::<usize>();
        return Ok(());
    }
    let all: Vec<_> = batch.iter().flat_map(|ready| ready.records.iter().cloned()).collect();
    let mut safe = Vec::new();
    match archive.publisher.publish(all).await {
        Ok(()) => safe = batch,
        Err(PublishError::Refused { .. }) => {
            for ready in batch {
                match archive.publisher.publish(ready.records.clone()).await {
                    Ok(()) => safe.push(ready),
                    Err(PublishError::Refused { reason, .. }) => {
                        tracing::warn!(reason, "stays where it is");
                        summary.refused += 1;
                    }
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Err(error) => return Err(error.to_string()),
    }
    let done: Vec<_> = safe.iter().filter_map(|ready| ready.done.clone()).collect();
    let tombstones = done.into_iter().map(|key| Record::tombstone(TopicRole::DeadLetter, key)).collect();
    archive.publisher.publish(tombstones).await.map_err(|error| error.to_string())?;
    summary.replayed += safe.len();
    summary.events += safe.iter().map(|ready| ready.events).sum::<usize>();
    Ok(())
}
