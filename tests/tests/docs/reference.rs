//! Markdown made from the configuration's schema and the topics' layout.

use std::collections::BTreeSet;
use std::fmt::Write;

use inlet::delivery::settings::KafkaSettings;
use inlet::delivery::topics::TopicSheet;
use serde_json::Value;

/// Every section of the configuration file, connectors' options apart (their READMEs have them).
pub fn configuration() -> String {
    let schema = inlet::config::schema::config_schema(connectors::all());
    let mut text = String::new();
    let mut done = BTreeSet::new();
    section(&mut text, &schema, &schema, "", &mut done);
    assert!(done.len() > 5, "the schema has few sections: {done:?}");
    text
}

fn section(text: &mut String, root: &Value, object: &Value, path: &str, done: &mut BTreeSet<String>) {
    let Some(properties) = object["properties"].as_object() else { return };
    done.insert(path.to_owned());
    let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    let _ = writeln!(text, "### {title}\n\n| key | default | what |\n|---|---|---|");
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut below = Vec::new();
    for (key, property) in properties {
        let target = resolve(root, property);
        let default = match &property["default"] {
            Value::Null if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null | Value::Object(_) => String::new(),
            default => format!("`{default}`").replace("`\"", "`").replace("\"`", "`"),
        };
        let what = property["description"].as_str().or(target["description"].as_str()).unwrap_or("");
        let _ = writeln!(text, "| `{key}` | {default} | {} |", what.replace('\n', " ").replace('|', "\\|"));
        let inner = match &target["additionalProperties"] {
            Value::Object(_) => Some((format!("{path}.{key}.NAME"), resolve(root, &target["additionalProperties"]))),
            _ => target["properties"].is_object().then(|| (format!("{path}.{key}"), target)),
        };
        below.extend(inner.filter(|(_, inner)| inner["properties"].is_object()));
    }
    text.push('\n');
    for (path, inner) in below {
        section(text, root, inner, path.trim_start_matches('.'), done);
    }
}

/// The schema behind a property: through a reference, and past 'or null' and 'or off'.
fn resolve<'a>(root: &'a Value, property: &'a Value) -> &'a Value {
    if let Some(target) = property["$ref"].as_str() {
        return root.pointer(target.trim_start_matches('#')).expect("the schema refers to what it has");
    }
    let is_section = |choice: &&Value| choice["type"] != "null" && choice["const"].is_null();
    let mut choices = property["anyOf"].as_array().into_iter().flatten().filter(is_section);
    match (choices.next(), choices.next()) {
        (Some(only), None) => resolve(root, only),
        _ => property,
    }
}

/// The topics with their defaults, as `inlet topics print` shows them.
pub fn topics() -> String {
    let settings = KafkaSettings::new(vec!["localhost:9092".to_owned()]);
    let sheet = TopicSheet::new(&settings).expect("the defaults are right");
    format!("```text\n{}```", sheet.to_table())
}
