//! `v1/event.schema.json` is the one that the types give.

use std::fs;

use inlet_schemas::schema::event_schema;

use crate::common;

#[test]
fn schema_file_is_current() {
    let path = common::root().join("v1/event.schema.json");
    let current = format!("{:#}\n", event_schema());
    if std::env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, &current).expect("written");
    }
    let kept = fs::read_to_string(&path).expect("schemas/v1/event.schema.json; BLESS=1 writes it");
    assert!(kept == current, "schemas/v1/event.schema.json is not what the types give; BLESS=1 rewrites it");
}
