//! What became of a case, in the form of `expected.json`.

use base64::{Engine, engine::general_purpose::STANDARD};
use connector_sdk::fixture::Expect;
use connector_sdk::{Admission, Outcome, Parsed, RawEvent, Reply};
use inlet_schemas::Event;
use serde_json::{Map, Value, json};

use crate::subject::{self, Subject};

/// What a case led to.
pub(crate) struct Seen {
    /// Stamped events, for further checks.
    pub events: Vec<Event>,
    pub json: Value,
}

/// Runs the case along the line: admit where it is a request, then parse and stamp.
pub(crate) fn run(subject: &Subject) -> Result<Seen, String> {
    let connector = subject.build()?;
    let raw = &subject.case.raw;
    if subject.is_request() {
        let webhook = subject::webhook(&connector)?;
        let admission = subject::admit(webhook, raw, subject.case.clock)?;
        match (admission, subject.case.file.admit) {
            (Admission::Accept, Expect::Accept) => {}
            (Admission::Answer(reply), Expect::Answer) => {
                return Ok(without_events(json!({ "answer": answer(&reply) })));
            }
            (Admission::Refuse(refusal), Expect::Refuse) => {
                let kind = refusal.kind.as_str();
                let reply = webhook.reply(raw, &Outcome::Refused(refusal));
                let mut seen = answer(&reply);
                seen.insert("kind".to_owned(), kind.into());
                return Ok(without_events(json!({ "refused": seen })));
            }
            (admission, expected) => {
                return Err(format!("admit said {}, but the case expects {expected:?}", name(&admission)));
            }
        }
    } else if !subject.is_input() {
        return Err("case.toml: `admit` is for `input.http` alone".to_owned());
    }
    Ok(parsed(subject, connector.parse.parse(raw), raw))
}

/// The stamped form of what `parse` gave.
pub(crate) fn parsed(subject: &Subject, parsed: Parsed, raw: &RawEvent) -> Seen {
    let Parsed { events: drafts, skipped, rejected, fetches } = parsed;
    let mut blobs = Vec::new();
    let mut events = Vec::new();
    for draft in drafts {
        blobs.extend(
            draft.blobs.iter().map(|b| json!({ "path": b.reference.path, "size_bytes": b.reference.size_bytes })),
        );
        events.push(subject.stamp(draft, raw));
    }
    let skipped: Vec<Value> = skipped.iter().map(|s| json!({ "item": s.item, "reason": s.reason })).collect();
    let rejected: Vec<Value> = rejected
        .iter()
        .map(|r| json!({ "code": r.code, "detail": r.detail, "has_own_bytes": r.raw.is_some() }))
        .collect();
    let json = json!({
        "events": events, "skipped": skipped, "rejected": rejected, "fetches": fetches, "blobs": blobs
    });
    Seen { events, json }
}

/// Stable text: two spaces, fields in the order of the types, a line break at the end.
pub(crate) fn pretty(json: &Value) -> String {
    format!("{json:#}\n")
}

fn without_events(json: Value) -> Seen {
    Seen { events: Vec::new(), json }
}

/// A reply: headers in their order, the body as text (an array of lines where it has several) or base64.
fn answer(reply: &Reply) -> Map<String, Value> {
    let headers: Vec<String> = reply.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut map = Map::new();
    map.insert("status".to_owned(), reply.status.into());
    map.insert("headers".to_owned(), headers.into());
    match std::str::from_utf8(&reply.body) {
        Ok(text) if text.contains('\n') => map.insert("body".to_owned(), text.split('\n').collect::<Vec<_>>().into()),
        Ok(text) => map.insert("body".to_owned(), text.into()),
        Err(_) => map.insert("body_base64".to_owned(), STANDARD.encode(&reply.body).into()),
    };
    map
}

fn name(admission: &Admission) -> String {
    match admission {
        Admission::Accept => "accept".to_owned(),
        Admission::Answer(reply) => format!("answer {}", reply.status),
        Admission::Need(key) => format!("need {}", key.url),
        Admission::Refuse(refusal) => format!("refuse ({}: {})", refusal.kind.as_str(), refusal.detail),
    }
}
