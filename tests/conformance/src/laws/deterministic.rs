//! Law 4, deterministic: the same input gives the same events; an id names one event and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use connector_sdk::fixture::{self, Case};
use connector_sdk::{BuildContext, RawEvent};
use inlet_schemas::Event;

use crate::folder::Folder;
use crate::subject::{self, Subject};
use crate::{Verdict, outcome};

/// How much later the provider sends again.
const LATER: Duration = Duration::from_secs(3600);
/// Headers that differ between two deliveries whoever sends them.
const ALWAYS_DIFFER: &[(&str, &str)] = &[
    ("x-request-id", "0190b3c5-redelivery"),
    ("x-forwarded-for", "203.0.113.77"),
    ("date", "Thu, 01 Jan 2037 00:00:00 GMT"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];

/// Twice the same, also from another instance; ids outlive a redelivery.
pub(super) fn deterministic(subject: &Subject) -> Verdict {
    let raw = &subject.case.raw;
    let first = subject.build()?;
    let second = rebuilt(subject)?;
    let once = outcome::parsed(subject, first.parse.parse(raw), raw);
    for (who, connector) in [("the same instance", &first), ("an instance of another name", &second)] {
        let again = outcome::parsed(subject, connector.parse.parse(raw), raw);
        if again.json != once.json {
            return Err(format!("{who} gives another outcome for the same input"));
        }
    }
    let mut redelivered = redelivery(subject);
    if let Ok(webhook) = subject::webhook(&first)
        && subject.is_request()
    {
        webhook.sign(&mut redelivered, subject.case.clock.plus(LATER));
    }
    let again = outcome::parsed(subject, first.parse.parse(&redelivered), &redelivered);
    let (before, after) = (ids(&once.events), ids(&again.events));
    if before != after {
        return Err(format!("a redelivery gives other ids: {before:?}, then {after:?}"));
    }
    Ok(())
}

/// What is kept of an input, redacted, gives the same ids when it is parsed again.
pub(super) fn replayed(subject: &Subject) -> Verdict {
    let raw = &subject.case.raw;
    let connector = subject.build()?;
    let kept = serde_json::to_vec(&connector.parse.redact(raw)).map_err(|e| e.to_string())?;
    let again: RawEvent = serde_json::from_slice(&kept).map_err(|e| e.to_string())?;
    let live = outcome::parsed(subject, connector.parse.parse(raw), raw);
    let replayed = outcome::parsed(subject, connector.parse.parse(&again), &again);
    let (before, after) = (ids(&live.events), ids(&replayed.events));
    if before != after {
        return Err(format!("the redacted input gives other ids: {before:?}, then {after:?}"));
    }
    Ok(())
}

fn rebuilt(subject: &Subject) -> Result<connector_sdk::Connector, String> {
    let cx =
        BuildContext { instance: "another-name".to_owned(), public_url: Some(subject.case.public_url().to_owned()) };
    (subject.folder.entry.build)(&subject.case.options(), &cx).map_err(|e| e.to_string())
}

/// The same input as the provider would send it again, later and from another address.
fn redelivery(subject: &Subject) -> RawEvent {
    let mut raw = subject.case.raw.clone();
    raw.received_at = raw.received_at.plus(LATER);
    raw.peer = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    if subject.is_request() {
        for (name, value) in ALWAYS_DIFFER {
            raw.headers.set(name, (*value).to_owned());
        }
    }
    for (name, value) in &subject.case.file.redelivery {
        raw.headers.set(name, value.clone());
    }
    raw
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

/// Over all cases of the connector: different events have different ids.
pub(super) fn distinct_ids(folder: &std::sync::Arc<Folder>) -> Verdict {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    for case in fixture::cases(folder.fixtures)? {
        let subject = Subject { folder: folder.clone(), case: std::sync::Arc::new(case) };
        if !subject.is_input() {
            continue;
        }
        let connector = subject.build().map_err(|e| format!("{}: {e}", subject.case.name))?;
        let raw = &subject.case.raw;
        let mut own = BTreeSet::new();
        for event in outcome::parsed(&subject, connector.parse.parse(raw), raw).events {
            if !own.insert(event.id.clone()) {
                return Err(format!("{}: two events have the id {}", subject.case.name, event.id));
            }
            note(&mut seen, &subject.case, event)?;
        }
    }
    Ok(())
}

/// An id that comes in two cases must be the same fact (it came by two ways, or twice).
fn note(seen: &mut BTreeMap<String, (String, String)>, case: &Case, event: Event) -> Verdict {
    let id = event.id.clone();
    let fact = format!(
        "{} of {:?}: {:?} {:?} {:?}",
        event.kind,
        event.sender.map(|s| s.identities),
        event.text,
        event.target,
        event.revision
    );
    match seen.get(&id) {
        Some((other, had)) if *had != fact => {
            Err(format!("{other} and {} share the id {id} for different events:\n  {had}\n  {fact}", case.name))
        }
        Some(_) => Ok(()),
        None => {
            seen.insert(id, (case.name.clone(), fact));
            Ok(())
        }
    }
}
