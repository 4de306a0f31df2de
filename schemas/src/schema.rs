//! The generated JSON Schema of the event.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::event::Event;

/// JSON Schema (draft 2020-12) of [`Event`], as kept in `schemas/v1/event.schema.json`.
pub fn event_schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Event>().to_value();
    schema["$id"] = Value::from("urn:inlet:schema:event:v1");
    schema["title"] = Value::from("Inlet unified event, v1 (draft)");
    schema
}
