//! Every kind has an example, and the examples, the JSON Schema and the Rust types agree.

use std::collections::BTreeSet;
use std::fs;

use inlet_schemas::{Channel, Event, Kind};
use serde_json::{Value, json};

use crate::common;

#[test]
fn every_kind_has_an_example_of_its_name() {
    let examples = common::examples();
    let names: BTreeSet<&str> = examples.iter().map(|(name, _)| name.as_str()).collect();
    for kind in Kind::KNOWN {
        assert!(names.contains(kind.as_str()), "v1/examples/{kind}.json is missing");
    }
    for (name, example) in &examples {
        let kind = name.split('-').next().unwrap_or_default();
        assert_eq!(example["kind"], kind, "{name}.json is of another kind");
    }
}

#[test]
fn messages_of_several_channels_are_shown() {
    let shown: BTreeSet<String> = common::examples()
        .into_iter()
        .filter(|(name, _)| name.starts_with("message.created"))
        .filter_map(|(_, example)| example["channel"].as_str().map(str::to_owned))
        .collect();
    for channel in [Channel::Email, Channel::Chat, Channel::Sms, Channel::Social] {
        assert!(shown.contains(channel.as_str()), "no message.created of channel {channel}");
    }
}

#[test]
fn examples_validate_and_round_trip() {
    let validator = common::validator();
    for (name, example) in common::examples() {
        if let Some(fault) = common::fault(&validator, &example) {
            panic!("{name}: {fault}");
        }
    }
}

#[test]
fn ids_are_distinct() {
    let mut seen = BTreeSet::new();
    for (name, example) in common::examples() {
        assert!(seen.insert(example["id"].to_string()), "{name}: its id is another example's");
    }
}

/// Takes each value of each example away, and puts other types in its place: the schema and the types must say the same.
#[test]
fn schema_and_types_refuse_the_same() {
    // What a kind requires is the schema's alone: the types read an event of any kind.
    let mut structure = inlet_schemas::schema::event_schema();
    structure.as_object_mut().expect("object").remove("allOf");
    let structure = common::compiled(&structure);
    let mut tried = 0;
    for (name, example) in common::examples() {
        for pointer in pointers(&example) {
            for changed in changes(&example, &pointer) {
                tried += 1;
                let valid = structure.is_valid(&changed);
                let read = serde_json::from_value::<Event>(changed.clone());
                // Serde also reads an array of values as a struct; nobody writes one.
                let lenient = changed.pointer(&pointer).is_some_and(Value::is_array);
                assert!(
                    valid == read.is_ok() || (lenient && !valid),
                    "{name} {pointer}: {:?}\n{changed:#}",
                    read.err()
                );
            }
        }
    }
    assert!(tried > 1000, "only {tried} changes tried");
}

fn changes(example: &Value, pointer: &str) -> Vec<Value> {
    let mut list: Vec<Value> = [json!(null), json!(7), json!(true), json!("x"), json!([]), json!({}), json!([7])]
        .into_iter()
        .map(|other| {
            let mut changed = example.clone();
            *changed.pointer_mut(pointer).expect("place") = other;
            changed
        })
        .collect();
    let (parent, key) = pointer.rsplit_once('/').expect("not the whole");
    let mut without = example.clone();
    if let Some(Value::Object(map)) = without.pointer_mut(parent) {
        map.shift_remove(&key.replace("~1", "/").replace("~0", "~"));
        list.push(without);
    }
    list
}

fn pointers(value: &Value) -> Vec<String> {
    let mut list = Vec::new();
    collect(value, String::new(), &mut list);
    list
}

fn collect(value: &Value, pointer: String, into: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in children {
        collect(value, format!("{pointer}/{key}"), into);
    }
    if !pointer.is_empty() {
        into.push(pointer);
    }
}

/// What an event of a kind cannot do without is refused by the schema when it is not there.
#[test]
fn kinds_require_their_fields() {
    let validator = common::validator();
    let needs = [
        ("message.edited", "target"),
        ("message.deleted", "target"),
        ("reaction.added", "target"),
        ("receipt.failed", "target"),
        ("attachment.stored", "attachments"),
        ("call.ringing", "call"),
        ("form.submitted", "content"),
        ("referral", "referral"),
        ("connector.gap", "notice"),
        ("erasure.requested", "erasure"),
        ("unsupported", "unsupported"),
    ];
    let examples = common::examples();
    for (kind, field) in needs {
        let (_, example) = examples.iter().find(|(name, _)| name == kind).expect("example");
        let mut without = example.clone();
        without.as_object_mut().expect("object").shift_remove(field).expect("the example has it");
        assert!(!validator.is_valid(&without), "{kind} is valid without {field}");
    }
}

/// Every property of the schema is shown by an example, so that a reader finds each field in use.
#[test]
fn every_field_is_shown() {
    let schema = inlet_schemas::schema::event_schema();
    let text: String = common::examples().iter().map(|(_, example)| example.to_string()).collect();
    let mut missing = BTreeSet::new();
    properties(&schema, &mut |name| {
        if !text.contains(&format!("\"{name}\":")) {
            missing.insert(name.to_owned());
        }
    });
    assert!(missing.is_empty(), "no example shows {missing:?}");
}

fn properties(schema: &Value, found: &mut dyn FnMut(&str)) {
    match schema {
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "properties"
                    && let Value::Object(known) = inner
                {
                    known.keys().for_each(|name| found(name));
                }
                properties(inner, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| properties(inner, found)),
        _ => {}
    }
}

/// The README lists every kind.
#[test]
fn readme_lists_every_kind() {
    let readme = fs::read_to_string(common::root().join("README.md")).expect("README.md");
    for kind in Kind::KNOWN {
        assert!(readme.contains(&format!("| `{kind}` |")), "README.md does not list {kind}");
    }
}
