//! The JSON Schema of the configuration, the options of every connector included.

use connector_sdk::Entry;
use serde_json::{Value, json};

use super::model::Config;

/// JSON Schema of the whole configuration; an instance's `options` by its `connector`.
pub fn config_schema(entries: &'static [Entry]) -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    schema["$id"] = json!("urn:inlet:schema:config");
    schema["title"] = json!("Configuration of Inlet");
    let names: Vec<_> = entries.iter().map(|entry| entry.name).collect();
    let mut choices = Vec::new();
    for entry in entries {
        let mut options = (entry.schema)();
        let definitions = options.as_object_mut().and_then(|o| o.remove("$defs"));
        if let Some(object) = options.as_object_mut() {
            object.remove("$schema");
        }
        // Each connector's definitions keep apart from the others' of the same name.
        let prefix = format!("#/$defs/{}.", entry.name);
        rebase(&mut options, &prefix);
        if let Some(Value::Object(definitions)) = definitions {
            for (name, mut definition) in definitions {
                rebase(&mut definition, &prefix);
                schema["$defs"][format!("{}.{name}", entry.name)] = definition;
            }
        }
        choices.push(json!({
            "if": { "properties": { "connector": { "const": entry.name } } },
            "then": { "properties": { "options": options } }
        }));
    }
    if let Some(instance) = schema.pointer_mut("/$defs/Instance") {
        instance["properties"]["connector"]["enum"] = json!(names);
        instance["allOf"] = Value::Array(choices);
    }
    schema
}

fn rebase(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                match item {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("{prefix}{name}");
                        }
                    }
                    item => rebase(item, prefix),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| rebase(item, prefix)),
        _ => {}
    }
}
