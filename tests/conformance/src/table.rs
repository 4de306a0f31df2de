//! The README's table of options, made from their JSON Schema.

use std::fmt::Write;

use serde_json::Value;

use crate::options::{Alternative, flatten};

/// Line before the table.
pub(crate) const BEGIN: &str = "<!-- options:begin -->";
/// Line behind the table.
pub(crate) const END: &str = "<!-- options:end -->";
/// Nesting of options that the table follows.
const DEPTH_MAX: usize = 6;

/// The README with a current table; `None` where the two marker lines are missing.
pub(crate) fn renew(readme: &str, schema: &Value) -> Option<String> {
    let begin = readme.find(BEGIN)? + BEGIN.len();
    let end = begin + readme[begin..].find(END)?;
    Some(format!("{}\n{}{}", &readme[..begin], table(schema), &readme[end..]))
}

/// A Markdown table: option, type, default, meaning.
pub(crate) fn table(schema: &Value) -> String {
    let mut out = String::from("| Option | Type | Default | Meaning |\n|---|---|---|---|\n");
    rows(schema, schema, "", 0, &mut out);
    out
}

fn rows(root: &Value, schema: &Value, prefix: &str, depth: usize, out: &mut String) {
    if depth == DEPTH_MAX {
        return;
    }
    for one in flat(root, schema) {
        let Some(properties) = one.schema.get("properties").and_then(Value::as_object) else { continue };
        let tag = properties.iter().find(|(_, property)| property.get("const").is_some());
        if let Some((name, property)) = tag {
            let meaning = cell(one.schema.get("description"));
            let _ = writeln!(out, "| `{prefix}{name}: {}` | | | {meaning} |", plain(&property["const"]));
        }
        for (name, property) in properties.iter().filter(|(_, property)| property.get("const").is_none()) {
            row(root, one.schema, &format!("{prefix}{name}"), (name, property), out);
            let list = flat(root, property).iter().find_map(|a| a.schema.get("items"));
            let map = flat(root, property)
                .iter()
                .find_map(|a| a.schema.get("additionalProperties").filter(|m| m.is_object()));
            match (list, map) {
                (Some(items), _) => rows(root, items, &format!("{prefix}{name}[]."), depth + 1, out),
                (None, Some(values)) => rows(root, values, &format!("{prefix}{name}.<key>."), depth + 1, out),
                (None, None) => rows(root, property, &format!("{prefix}{name}."), depth + 1, out),
            }
        }
    }
}

fn row(root: &Value, parent: &Value, path: &str, (name, property): (&str, &Value), out: &mut String) {
    let required = parent["required"].as_array().is_some_and(|list| list.iter().any(|one| one == name));
    let default = match property.get("default") {
        Some(Value::Null) | None if required => "required".to_owned(),
        Some(Value::Null) | None => String::new(),
        Some(default) => format!("`{}`", plain(default)),
    };
    let described = std::iter::once(property)
        .chain(flat(root, property).into_iter().map(|a| a.schema))
        .find_map(|schema| schema.get("description"));
    let kind = escape(&type_name(root, property));
    let _ = writeln!(out, "| `{path}` | {kind} | {} | {} |", escape(&default), cell(described));
}

/// The type in a word or two.
fn type_name(root: &Value, schema: &Value) -> String {
    let mut names: Vec<String> = Vec::new();
    for one in flat(root, schema) {
        for name in own_type(root, &one) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() { "any".to_owned() } else { names.join(" or ") }
}

fn own_type(root: &Value, one: &Alternative<'_>) -> Vec<String> {
    let schema = one.schema;
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().filter(|v| !v.is_null()).map(|v| format!("`{}`", plain(v))).collect();
    }
    if let Some(value) = schema.get("const") {
        return vec![format!("`{}`", plain(value))];
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    types.into_iter().filter(|name| *name != "null").map(|name| named(root, schema, name)).collect()
}

fn named(root: &Value, schema: &Value, name: &str) -> String {
    match name {
        "string" if schema["writeOnly"] == Value::Bool(true) => "secret".to_owned(),
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", type_name(root, items)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => format!("map of {}", type_name(root, values)),
            _ => "object".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn flat<'a>(root: &'a Value, schema: &'a Value) -> Vec<Alternative<'a>> {
    let mut list = Vec::new();
    flatten(root, Alternative { name: None, schema }, None, &mut list, 0);
    list
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn cell(text: Option<&Value>) -> String {
    escape(&text.and_then(Value::as_str).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
