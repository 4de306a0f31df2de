//! From records to what the judge takes.

use std::collections::HashMap;

use inlet_schemas::Timestamp;
use inlet_tests::consume::Record;
use serde_json::Value;

use crate::judge::Copy;

/// What Inlet says of itself; nobody sent it.
const OWN_KINDS: &[&str] = &["connector.health", "connector.gap", "erasure.requested"];

/// An event's kind.
pub fn kind(record: &Record) -> Option<String> {
    record.header("ce_type").map(|kind| kind.strip_prefix("inlet.").unwrap_or(kind).to_owned())
}

/// Whether a record is Inlet's own.
pub fn is_own(record: &Record) -> bool {
    kind(record).is_some_and(|kind| OWN_KINDS.contains(&kind.as_str()))
}

/// The event's text, where each sort of load has put it: `[ID] …`.
fn text(event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer)?.as_str().map(|text| text.trim().to_owned());
    match event["channel"].as_str()? {
        "voice" => text("/call/from/name"),
        "form" => {
            let fields = event.pointer("/content/0/fields")?.as_array()?;
            let message = fields.iter().find(|field| field["key"] == "message")?;
            message.pointer("/values/0")?.as_str().map(str::to_owned)
        }
        _ => text("/text"),
    }
}

fn id(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.split_once(']').map(|(id, _)| id)
}

fn millis(event: &Value) -> i64 {
    event["received_at"].as_str().and_then(Timestamp::parse).map_or(i64::MIN, Timestamp::unix_millis)
}

/// `None` for what Inlet says of itself, and for the summary of a call, which is made of frames that were told before.
/// An event that is neither and has no id of the run's is an invention, which the judge is to see.
pub fn event(record: &Record) -> Option<Copy> {
    if is_own(record) {
        return None;
    }
    let event: Value = serde_json::from_slice(&record.value).unwrap_or(Value::Null);
    if event.pointer("/call/outcome").is_some() {
        return None;
    }
    let text = text(&event).unwrap_or_default();
    Some(Copy {
        id: id(&text).map_or_else(|| format!("unknown: {}", String::from_utf8_lossy(&record.value)), str::to_owned),
        event_id: record.header("ce_id").unwrap_or_default().to_owned(),
        digest: Some(text),
        received_at: millis(&event),
        partition: record.partition,
        offset: record.offset,
    })
}

/// A dead letter, known by the hash of the body that it was made of.
pub fn letter(record: &Record, bodies: &HashMap<String, String>) -> Copy {
    let letter: Value = serde_json::from_slice(&record.value).unwrap_or(Value::Null);
    let id = letter["raw_sha256"].as_str().and_then(|sum| bodies.get(sum));
    Copy {
        id: id.cloned().unwrap_or_else(|| format!("unknown letter: {letter}")),
        event_id: letter["id"].as_str().unwrap_or_default().to_owned(),
        digest: None,
        received_at: millis(&letter),
        partition: record.partition,
        offset: record.offset,
    }
}
