//! Law 7, config: the example builds, what is wrong is refused by name, and the README's table is current.

use std::collections::BTreeSet;

use connector_sdk::{BuildContext, fixture, kinds};
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::{Verdict, bless, example, options, table};

/// A key that no connector has.
const UNKNOWN_KEY: &str = "no_such_option";

/// The example builds.
pub(super) fn example(folder: &Folder) -> Verdict {
    let options = example_options(folder)?;
    build(folder, &options).map_err(|e| format!("config.example.yaml does not build: {e}"))
}

fn example_options(folder: &Folder) -> Result<Value, String> {
    let kinds = kinds::parse(&folder.kinds).map_err(|e| format!("kinds.toml: {e}"))?;
    example::options(&folder.example, &kinds)
}

fn build(folder: &Folder, options: &Value) -> Result<(), String> {
    let cx = BuildContext { instance: folder.entry.name.to_owned(), public_url: Some(fixture::PUBLIC_URL.to_owned()) };
    (folder.entry.build)(options, &cx).map(|_| ()).map_err(|e| e.to_string())
}

/// Every unknown key and every bad value is refused, and the error names it; no error repeats a secret.
pub(super) fn refused_by_name(folder: &Folder) -> Verdict {
    let schema = (folder.entry.schema)();
    let mut faults = BTreeSet::new();
    for options in variants(folder)? {
        let secrets = options::secrets(&schema, &options);
        for (what, name, broken) in broken(&schema, &options) {
            match build(folder, &broken) {
                Ok(()) => faults.insert(format!("{what} is accepted")),
                Err(error) if !error.contains(&name) => {
                    faults.insert(format!("{what}: the error does not name '{name}': {error}"))
                }
                Err(error) if secrets.iter().any(|(_, secret)| error.contains(secret.as_str())) => {
                    faults.insert(format!("{what}: the error repeats a secret"))
                }
                Err(_) => false,
            };
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().collect::<Vec<_>>().join("\n")) }
}

/// The example's options and those of every case, each once.
fn variants(folder: &Folder) -> Result<Vec<Value>, String> {
    let mut all = vec![example_options(folder)?];
    for case in fixture::cases(folder.fixtures)? {
        let options = case.options();
        if !all.contains(&options) {
            all.push(options);
        }
    }
    // A case may be about a config that is refused; what does not build shows nothing here.
    all.retain(|options| build(folder, options).is_ok());
    if all.is_empty() { Err("neither the example nor a case's config builds".to_owned()) } else { Ok(all) }
}

/// Broken copies: what was done, the name that the error must hold, the options.
fn broken(schema: &Value, good: &Value) -> Vec<(String, String, Value)> {
    let mut list = Vec::new();
    options::walk(schema, good, &mut |node| {
        if node.has_fixed_keys() {
            let mut value = node.value.clone();
            value[UNKNOWN_KEY] = Value::from(1);
            let what = format!("unknown key {}/{UNKNOWN_KEY}", node.pointer);
            list.push((what, UNKNOWN_KEY.to_owned(), options::with(good, &node.pointer, value)));
        }
        if node.pointer.is_empty() || node.is_free() {
            return;
        }
        let bad = if node.value.is_object() { json!(7) } else { json!({ UNKNOWN_KEY: 7 }) };
        let what = format!("{bad} for {}", node.pointer);
        list.push((what, node.key.clone(), options::with(good, &node.pointer, bad)));
        let closed = |a: &options::Alternative<'_>| a.schema.get("enum").is_some() || a.schema.get("const").is_some();
        let text = |a: &options::Alternative<'_>| {
            a.schema["type"] == "string" && a.schema.get("enum").is_none() && a.schema.get("const").is_none()
        };
        if node.value.is_string() && node.alternatives.iter().any(closed) && !node.alternatives.iter().any(text) {
            let what = format!("'{UNKNOWN_KEY}' for {}", node.pointer);
            list.push((what, node.key.clone(), options::with(good, &node.pointer, UNKNOWN_KEY.into())));
        }
    });
    let known = schema.get("properties").and_then(Value::as_object);
    for (name, property) in known.into_iter().flatten().filter(|(name, _)| good.get(name).is_none()) {
        let mut alternatives = Vec::new();
        options::flatten(schema, options::Alternative { name: None, schema: property }, None, &mut alternatives, 0);
        let node = options::Node { pointer: String::new(), key: name.clone(), value: &Value::Null, alternatives };
        let takes_objects = node.alternatives.iter().any(|a| a.schema["type"] == "object");
        if node.is_free() || takes_objects {
            continue;
        }
        let mut options = good.clone();
        options[name] = json!({ UNKNOWN_KEY: 7 });
        list.push((format!("an object for {name}"), name.clone(), options));
    }
    list
}

/// The README's table of options is the one that the schema gives.
pub(super) fn readme_table(folder: &Folder) -> Verdict {
    let current = table::renew(&folder.readme, &(folder.entry.schema)()).ok_or_else(|| {
        format!("README.md lacks the lines '{}' and '{}' around the options", table::BEGIN, table::END)
    })?;
    bless::check(folder.file("README.md").as_deref().map_err(Clone::clone), Some(&folder.readme), &current)
}
