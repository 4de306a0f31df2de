//! A reader of this version survives what a newer one writes.

use inlet_schemas::{Event, Part};
use serde_json::{Value, json};

use crate::common;

/// Places of open enums in the examples, by example.
const OPEN: &[(&str, &str)] = &[
    ("message.created", "/kind"),
    ("message.created", "/channel"),
    ("message.created", "/direction"),
    ("message.created", "/conversation/key_basis"),
    ("message.created", "/conversation/type"),
    ("message.created", "/recipients/0/role"),
    ("message.created", "/content/0/format"),
    ("message.created", "/attachments/0/fetch_state"),
    ("message.created", "/attachments/0/disposition"),
    ("message.created", "/provenance/automation"),
    ("message.created", "/provenance/dedupe"),
    ("call.ended", "/call/direction"),
    ("call.ended", "/call/state"),
    ("call.ended", "/call/outcome"),
];

fn example(name: &str) -> Value {
    common::read(&common::root().join(format!("v1/examples/{name}.json")))
}

#[test]
fn unknown_values_of_open_enums_survive() {
    let validator = common::validator();
    for (name, pointer) in OPEN {
        let mut event = example(name);
        *event.pointer_mut(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}")) = json!("value.of.tomorrow");
        if let Some(fault) = common::fault(&validator, &event) {
            panic!("{name} {pointer}: {fault}");
        }
    }
}

/// Each open enum of the schema is tried above.
#[test]
fn no_open_enum_is_forgotten() {
    let schema = inlet_schemas::schema::event_schema();
    let definitions = schema["$defs"].as_object().expect("definitions");
    let open = definitions
        .values()
        .filter(|definition| definition["description"].as_str().is_some_and(|text| text.starts_with("Open enum")));
    assert_eq!(open.count(), OPEN.len());
}

#[test]
fn unknown_parts_survive_whole() {
    let validator = common::validator();
    let mut event = example("message.created");
    let part = json!({ "type": "hologram", "rays": [1, 2.5, null], "nested": { "text": "x" } });
    event["content"].as_array_mut().expect("parts").push(part.clone());
    assert_eq!(common::fault(&validator, &event), None);
    let read: Event = serde_json::from_value(event).expect("reads");
    assert!(matches!(read.content.last(), Some(Part::Unknown(whole)) if Value::Object(whole.clone()) == part));
}

#[test]
fn a_broken_known_part_is_no_unknown_one() {
    let mut event = example("message.created");
    event["content"] = json!([{ "type": "text" }]);
    assert!(!common::validator().is_valid(&event));
    let error = serde_json::from_value::<Event>(event).expect_err("refused").to_string();
    assert!(error.contains("format"), "{error}");
}

#[test]
fn unknown_fields_are_allowed() {
    let validator = common::validator();
    for pointer in ["", "/conversation", "/sender", "/content/0", "/attachments/0", "/provenance"] {
        let mut event = example("message.created");
        event.pointer_mut(pointer).expect("place")["of_tomorrow"] = json!({ "a": 1 });
        assert!(validator.is_valid(&event), "{pointer}");
        serde_json::from_value::<Event>(event).unwrap_or_else(|e| panic!("{pointer}: {e}"));
    }
}
