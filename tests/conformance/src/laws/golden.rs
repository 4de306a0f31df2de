//! Law 1, golden: what a case leads to is written down, fits the published schema, and survives its own types.

use std::sync::LazyLock;

use inlet_schemas::{Event, schema};
use jsonschema::Validator;
use serde_json::Value;

use crate::subject::Subject;
use crate::{Verdict, bless, outcome};

static SCHEMA: LazyLock<Result<Validator, String>> = LazyLock::new(|| {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema::event_schema())
        .map_err(|e| format!("the event's JSON Schema does not compile: {e}"))
});

/// The outcome equals `expected.json`; every event validates and round-trips.
pub(super) fn golden(subject: &Subject) -> Verdict {
    let seen = outcome::run(subject)?;
    let path = subject.folder.file(format!("fixtures/{}/expected.json", subject.case.name));
    let compared =
        bless::check(path.as_deref().map_err(Clone::clone), subject.case.expected, &outcome::pretty(&seen.json));
    for (index, event) in seen.events.iter().enumerate() {
        check_event(event).map_err(|e| format!("events[{index}]: {e}"))?;
    }
    compared
}

fn check_event(event: &Event) -> Verdict {
    let json = serde_json::to_value(event).map_err(|e| format!("does not serialise: {e}"))?;
    let validator = SCHEMA.as_ref().map_err(Clone::clone)?;
    let faults: Vec<String> = validator.iter_errors(&json).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if !faults.is_empty() {
        return Err(format!("does not fit schemas/v1/event.schema.json:\n  {}", faults.join("\n  ")));
    }
    let back: Event = serde_json::from_value(json.clone()).map_err(|e| format!("does not read back: {e}"))?;
    let again: Value = serde_json::to_value(&back).map_err(|e| e.to_string())?;
    if back == *event && again == json { Ok(()) } else { Err("does not survive its own JSON".to_owned()) }
}
