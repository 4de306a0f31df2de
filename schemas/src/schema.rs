//! The generated JSON Schema of the event.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::event::Event;

/// JSON Schema (draft 2020-12) of [`Event`], as kept in `schemas/v1/event.schema.json`.
pub fn event_schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Event>().to_value();
    schema["$id"] = Value::from("urn:inlet:schema:event:v1");
    schema["title"] = Value::from("Inlet unified event, v1 (draft)");
    schema["allOf"] = REQUIRED_BY_KIND.iter().map(|(kinds, fields)| requirement(kinds, fields)).collect();
    schema
}

/// What a kind cannot do without, beyond what every event has.
const REQUIRED_BY_KIND: &[(&[&str], &[&str])] = &[
    (&["message.edited", "message.deleted", "reaction.added", "reaction.removed"], &["target"]),
    (&["receipt.delivered", "receipt.read", "receipt.failed"], &["target"]),
    (&["attachment.stored", "attachment.failed"], &["target", "attachments"]),
    (&["call.ringing", "call.answered", "call.ended", "call.missed", "call.voicemail"], &["call"]),
    (&["call.recording", "call.transcript"], &["call"]),
    (&["form.submitted"], &["content"]),
    (&["referral"], &["referral"]),
    (&["connector.health", "connector.gap"], &["notice"]),
    (&["erasure.requested"], &["erasure"]),
    (&["unsupported"], &["unsupported"]),
];

fn requirement(kinds: &[&str], fields: &[&str]) -> Value {
    json!({
        "if": { "properties": { "kind": { "enum": kinds } } },
        // A claim check stands for the fields that were too large.
        "then": { "anyOf": [{ "required": fields }, { "required": ["claim_check"] }] }
    })
}
