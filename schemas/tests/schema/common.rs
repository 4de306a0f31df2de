//! What the tests of the schema share.

use std::fs;
use std::path::{Path, PathBuf};

use inlet_schemas::{Event, schema};
use jsonschema::Validator;
use serde_json::Value;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The published schema, with formats checked.
pub fn validator() -> Validator {
    compiled(&schema::event_schema())
}

pub fn compiled(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("the schema compiles")
}

/// Name and content of every example; never none.
pub fn examples() -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(root().join("v1/examples")).expect("examples").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "there are no examples");
    files.iter().map(|path| (path.file_stem().expect("name").to_string_lossy().into_owned(), read(path))).collect()
}

pub fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What is wrong with an event: it does not validate, does not read, or loses something on the way through the types.
pub fn fault(validator: &Validator, json: &Value) -> Option<String> {
    let faults: Vec<String> = validator.iter_errors(json).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if !faults.is_empty() {
        return Some(faults.join("\n"));
    }
    let event: Event = match serde_json::from_value(json.clone()) {
        Ok(event) => event,
        Err(error) => return Some(format!("does not read: {error}")),
    };
    let back = serde_json::to_value(&event).expect("serialises");
    (back != *json).then(|| format!("changed on the way through the types:\n{back:#}"))
}
