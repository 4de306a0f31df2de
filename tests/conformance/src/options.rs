//! An instance's options beside their JSON Schema: which value is described by what.

use serde_json::Value;

/// Nesting of options that is followed.
const DEPTH_MAX: usize = 12;

/// One value within the options.
pub(crate) struct Node<'a> {
    /// JSON pointer of the value.
    pub pointer: String,
    /// Name of the option: the last key on the way, without list positions.
    pub key: String,
    pub value: &'a Value,
    /// The schemas that can describe it, references followed and alternatives laid side by side.
    pub alternatives: Vec<Alternative<'a>>,
}

/// A schema without reference, and the name by which it was referred to.
#[derive(Clone, Copy)]
pub(crate) struct Alternative<'a> {
    pub name: Option<&'a str>,
    pub schema: &'a Value,
}

impl Node<'_> {
    pub fn is_secret(&self) -> bool {
        self.value.is_string() && self.alternatives.iter().any(|a| a.schema["writeOnly"] == Value::Bool(true))
    }

    /// Whether one secret or a list of them is allowed (`connector_sdk::verify::Secrets`).
    pub fn is_rotating(&self) -> bool {
        self.alternatives.iter().any(|a| a.name == Some("Secrets"))
    }

    /// Whether any value at all is allowed.
    pub fn is_free(&self) -> bool {
        self.alternatives.iter().any(|a| match a.schema {
            Value::Bool(free) => *free,
            Value::Object(map) => !["type", "enum", "const", "properties", "items", "anyOf", "oneOf", "allOf", "$ref"]
                .iter()
                .any(|key| map.contains_key(*key)),
            _ => true,
        })
    }

    /// Whether the value is an object whose keys are fixed.
    pub fn has_fixed_keys(&self) -> bool {
        let fixed = |a: &Alternative<'_>| a.schema.get("properties").is_some();
        let open =
            |a: &Alternative<'_>| a.schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false));
        self.value.is_object() && self.alternatives.iter().any(fixed) && !self.alternatives.iter().any(open)
    }
}

/// Calls `visit` for every value of `options` that the schema knows, the whole first.
pub(crate) fn walk<'a>(schema: &'a Value, options: &'a Value, visit: &mut dyn FnMut(&Node<'a>)) {
    step(schema, vec![Alternative { name: None, schema }], options, String::new(), String::new(), 0, visit);
}

fn step<'a>(
    root: &'a Value,
    schemas: Vec<Alternative<'a>>,
    value: &'a Value,
    pointer: String,
    key: String,
    depth: usize,
    visit: &mut dyn FnMut(&Node<'a>),
) {
    let mut alternatives = Vec::new();
    for one in schemas {
        flatten(root, one, Some(value), &mut alternatives, 0);
    }
    let node = Node { pointer, key, value, alternatives };
    visit(&node);
    if depth == DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let schemas = node.alternatives.iter().filter_map(|a| property(a.schema, name)).collect();
                let pointer = format!("{}/{}", node.pointer, name.replace('~', "~0").replace('/', "~1"));
                step(root, schemas, inner, pointer, name.clone(), depth + 1, visit);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                let items = node.alternatives.iter().filter_map(|a| a.schema.get("items"));
                let schemas = items.map(|schema| Alternative { name: None, schema }).collect();
                step(root, schemas, inner, format!("{}/{index}", node.pointer), node.key.clone(), depth + 1, visit);
            }
        }
        _ => {}
    }
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<Alternative<'a>> {
    let schema =
        schema.get("properties").and_then(|known| known.get(name)).or_else(|| schema.get("additionalProperties"))?;
    Some(Alternative { name: None, schema })
}

/// Follows references and lays alternatives side by side. With a value, alternatives of another tag are left out.
pub(crate) fn flatten<'a>(
    root: &'a Value,
    one: Alternative<'a>,
    value: Option<&Value>,
    into: &mut Vec<Alternative<'a>>,
    depth: usize,
) {
    if depth == DEPTH_MAX || value.is_some_and(|value| other_tag(one.schema, value)) {
        return;
    }
    into.push(one);
    if let Some(reference) = one.schema.get("$ref").and_then(Value::as_str)
        && let Some(schema) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
    {
        flatten(root, Alternative { name: reference.rsplit('/').next(), schema }, value, into, depth + 1);
    }
    for combination in ["anyOf", "oneOf", "allOf"] {
        for schema in one.schema.get(combination).and_then(Value::as_array).into_iter().flatten() {
            flatten(root, Alternative { name: None, schema }, value, into, depth + 1);
        }
    }
}

/// Whether a tagged alternative is for another tag than the value has.
fn other_tag(schema: &Value, value: &Value) -> bool {
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return false };
    known.iter().any(|(name, schema)| match (schema.get("const"), value.get(name)) {
        (Some(tag), Some(have)) => tag != have,
        (Some(_), None) => !value.is_null() && value.is_object(),
        _ => false,
    })
}

/// The options with another value at a pointer.
pub(crate) fn with(options: &Value, pointer: &str, value: Value) -> Value {
    let mut options = options.clone();
    if let Some(place) = options.pointer_mut(pointer) {
        *place = value;
    }
    options
}

/// Every configured secret, by pointer.
pub(crate) fn secrets(schema: &Value, options: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(schema, options, &mut |node| {
        if node.is_secret()
            && let Some(text) = node.value.as_str()
        {
            found.push((node.pointer.clone(), text.to_owned()));
        }
    });
    found
}
