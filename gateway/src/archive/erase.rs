//! `inlet erase`: takes away what is kept of an event or of a person.
//!
//! First consumers are told (`erasure.requested`), then blobs go that nobody else refers to, then the raw inputs and dead
//! letters: whoever interrupts it can begin it anew. The events stay on their topic until its retention ends: Kafka does
//! not take single records away, and compaction would keep one event of each conversation.

use std::collections::BTreeSet;
use std::time::Duration;

use connector_sdk::key::{EventKey, event_id};
use connector_sdk::schemas::{Conversation, Direction, Erasure, Event, KeyBasis, Kind, Timestamp};
use indicatif::ProgressBar;
use rdkafka::message::Message;

use super::traces::{Place, Traces};
use super::{Archive, Kept, read};
use crate::delivery::Publisher;
use crate::pipeline::encode;
use crate::pipeline::instance::UNASSIGNED;
use crate::pipeline::line::events_of;
use crate::pipeline::record::{Record, TopicRole};

/// Name of the connector in `erasure.requested`.
const CONNECTOR: &str = "inlet-erase";
/// Ids in one event, so that it stays far below the size of a record.
const IDS_MAX: usize = 5_000;
/// Clocks of whoever writes events may differ by so much.
const CLOCKS: Duration = Duration::from_secs(60);
/// Records sent together.
const BATCH: usize = 1_000;

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The event with this id.
    Event(String),
    /// Events whose sender has this identity (an address, a number, a user id), whatever the case of its letters.
    Sender(String),
}

/// What was found, and (unless on a dry run) taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub event_ids: Vec<String>,
    /// Events that consumers are told.
    pub requests: usize,
    /// Keys on `inlet.raw`.
    pub raw: Vec<String>,
    /// Keys on `inlet.deadletter`.
    pub letters: Vec<String>,
    /// Paths in the blob store.
    pub blobs: Vec<String>,
    /// Paths that others refer to.
    pub shared_blobs: Vec<String>,
    /// Inputs of instances that are not configured here: whose they are cannot be told.
    pub unreadable: usize,
}

/// Finds what is wanted and takes it away.
pub async fn erase(archive: &Archive, wanted: &Wanted, dry_run: bool, bar: &ProgressBar) -> Result<Found, String> {
    let mut found = Found::default();
    let began = crate::clock::now();
    let mut traces = events(archive, wanted, None, bar).await?;
    if let Wanted::Event(id) = wanted {
        traces.events.entry(id.clone()).or_insert(None);
    }
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    for role in [TopicRole::Raw, TopicRole::DeadLetter] {
        let mut inputs = read::newest(archive.settings.clone(), role, None, bar.clone());
        while let Some(kept) = inputs.recv().await {
            let kept = kept.map_err(|error| error.to_string())?;
            let holds = holds(archive, wanted, &kept, &mut traces, &mut found).await?;
            let claimed = kept.claim_check.as_ref().map(|blob| blob.path.clone());
            if !holds {
                others.extend(claimed);
                continue;
            }
            own.extend(claimed);
            match role {
                TopicRole::Raw => found.raw.push(kept.key),
                _ => found.letters.push(kept.key),
            }
        }
    }
    traces.add_followers();
    let open = |reference| async move {
        let bytes = archive.blobs().get(&reference).await.ok()?;
        serde_json::from_slice::<Event>(&bytes).ok()
    };
    let (of_events, of_others) = traces.blobs(open).await;
    own.extend(of_events);
    others.extend(of_others);
    found.blobs = own.difference(&others).cloned().collect();
    found.shared_blobs = own.intersection(&others).cloned().collect();
    found.event_ids = traces.events.keys().cloned().collect();
    let requests = requests(archive, wanted, &traces);
    found.requests = requests.len();
    if !dry_run {
        carry_out(archive, wanted, requests, &found, began).await?;
    }
    Ok(found)
}

async fn events(
    archive: &Archive,
    wanted: &Wanted,
    since: Option<Timestamp>,
    bar: &ProgressBar,
) -> Result<Traces, String> {
    let since = since.map(Timestamp::unix_millis);
    let (settings, wanted, bar) = (archive.settings.clone(), wanted.clone(), bar.clone());
    let scan = move || {
        let mut traces = Traces::default();
        read::each(&settings, TopicRole::Events, since, &bar, |message| {
            // What is no event of this version refers to nothing that is known.
            if let Some(event) = message.payload().and_then(|value| serde_json::from_slice(value).ok()) {
                traces.take(&wanted, event);
            }
            true
        })?;
        Ok::<_, crate::delivery::consumer::ConsumeError>(traces)
    };
    let scanned = tokio::task::spawn_blocking(scan).await.map_err(|error| error.to_string())?;
    scanned.map_err(|error| error.to_string())
}

/// Whether a kept input is of what is wanted: by the events that came of it, or come of it now; a dead letter of which
/// none comes also where it names the person.
async fn holds(
    archive: &Archive,
    wanted: &Wanted,
    kept: &Kept,
    traces: &mut Traces,
    found: &mut Found,
) -> Result<bool, String> {
    let known = kept.event_ids.iter().any(|id| traces.events.contains_key(id));
    let input = kept.input(archive.blobs()).await;
    let Some(raw) = input.unwrap_or_default() else { return Ok(known) };
    let Some(instance) = archive.instances.get(&kept.instance) else {
        found.unreadable += usize::from(!known);
        return Ok(known);
    };
    let (events, _) = events_of(instance, &raw, &kept.raw_sha256);
    let mut holds = known;
    for event in &events {
        if wanted.meets(event) {
            traces.add(event);
            holds = true;
        }
    }
    let Wanted::Sender(identity) = wanted else { return Ok(holds) };
    Ok(holds || (events.is_empty() && names(&raw.body, identity)))
}

fn names(body: &[u8], identity: &str) -> bool {
    let (body, identity) = (String::from_utf8_lossy(body).to_lowercase(), identity.to_lowercase());
    !identity.is_empty() && body.contains(&identity)
}

/// One event a conversation, in its partition, so that who reads it has read what it names.
fn requests(archive: &Archive, wanted: &Wanted, traces: &Traces) -> Vec<Event> {
    let identity = match wanted {
        Wanted::Event(_) => None,
        Wanted::Sender(identity) => Some(identity.clone()),
    };
    let mut places: Vec<_> = traces.by_place().into_iter().collect();
    if places.is_empty() {
        // Nothing is left of that person here, but consumers may have more.
        places.push((None, Vec::new()));
    }
    let mut events = Vec::new();
    for (place, ids) in places {
        let place = place.unwrap_or_else(|| nowhere(archive, wanted));
        let parts: Vec<&[String]> = if ids.is_empty() { vec![&[]] } else { ids.chunks(IDS_MAX).collect() };
        events.extend(parts.into_iter().map(|ids| request(&place, ids, identity.clone())));
    }
    events
}

/// For what is on no topic any more.
fn nowhere(archive: &Archive, wanted: &Wanted) -> Place {
    let mut tenants: BTreeSet<_> = archive.instances.values().map(|instance| &instance.config.tenant).collect();
    let tenant = tenants.pop_first().filter(|_| tenants.is_empty()).map_or(UNASSIGNED, String::as_str);
    let (Wanted::Event(text) | Wanted::Sender(text)) = wanted;
    let key = connector_sdk::key::sha256_hex(text.as_bytes());
    Place {
        tenant: tenant.to_owned(),
        provider: "inlet".to_owned(),
        account: CONNECTOR.to_owned(),
        channel: "system".to_owned(),
        key: format!("{tenant}/inlet/{CONNECTOR}/{key}"),
    }
}

fn request(place: &Place, ids: &[String], identity: Option<String>) -> Event {
    let now = crate::clock::now();
    let Place { tenant, provider, account, key, .. } = place;
    let mut event = Event::new(Kind::ErasureRequested, place.channel(), provider, account, now);
    // The same request has the same id, however often it is made.
    let content = format!("{key}\n{}\n{}", ids.join(","), identity.as_deref().unwrap_or_default());
    event.id = event_id(tenant, provider, account, Kind::ErasureRequested.as_str(), &EventKey::new(content));
    event.tenant.clone_from(tenant);
    event.connector = CONNECTOR.to_owned();
    event.direction = Direction::Internal;
    event.received_at = now;
    event.conversation = Conversation::new(KeyBasis::Account, key);
    event.erasure = Some(Erasure { event_ids: ids.to_vec(), identity });
    event
}

async fn carry_out(
    archive: &Archive,
    wanted: &Wanted,
    requests: Vec<Event>,
    found: &Found,
    began: Timestamp,
) -> Result<(), String> {
    let mut records = Vec::new();
    for event in requests {
        records.push(encode::event(Box::new(event), &archive.line).await.map_err(|fault| fault.to_string())?);
    }
    publish(archive, records).await?;
    // Events that came meanwhile, and need a blob that was there.
    let since = began.minus(CLOCKS);
    let came = events(archive, wanted, Some(since), &ProgressBar::hidden()).await?;
    let (_, needed) = came.blobs(|_| async { None }).await;
    for path in found.blobs.iter().filter(|path| !needed.contains(*path)) {
        archive.blobs().remove(path).await.map_err(|fault| fault.to_string())?;
    }
    let tombstone = |role| move |key: &String| Record::tombstone(role, key);
    let letters = found.letters.iter().map(tombstone(TopicRole::DeadLetter));
    publish(archive, found.raw.iter().map(tombstone(TopicRole::Raw)).chain(letters).collect()).await
}

async fn publish(archive: &Archive, records: Vec<Record>) -> Result<(), String> {
    for part in records.chunks(BATCH) {
        archive.publisher.publish(part.to_vec()).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_id() {
        let place = Place {
            tenant: "t".to_owned(),
            provider: "p".to_owned(),
            account: "a".to_owned(),
            channel: "email".to_owned(),
            key: "t/p/a/k".to_owned(),
        };
        let ids = ["1".to_owned()];
        let first = request(&place, &ids, Some("jane@x".to_owned()));
        assert_eq!(first.id, request(&place, &ids, Some("jane@x".to_owned())).id);
        assert_ne!(first.id, request(&place, &ids, None).id);
        assert_eq!(first.channel.as_str(), "email");
    }

    #[test]
    fn who_is_named_in_a_letter_is_found() {
        assert!(names(b"From: Jane@X.example", "jane@x.example"));
        assert!(!names(b"From: joe@x.example", "jane@x.example") && !names(b"", ""));
    }
}
