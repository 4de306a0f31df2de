//! A YAML document as plain values, and where each of them stands in the file.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// The document's value, and the place of each path (`a.b[2].c`); keys are where their key stands.
pub struct Document {
    pub value: Value,
    places: HashMap<String, Place>,
}

impl Document {
    /// Reads one YAML document.
    pub fn read(text: &str) -> Result<Self, (Place, String)> {
        let documents = MarkedYaml::load_from_str(text).map_err(|error| {
            let mark = error.marker();
            (Place { line: mark.line(), column: mark.col() + 1 }, error.info().to_owned())
        })?;
        let Some(root) = documents.first() else {
            return Ok(Self { value: Value::Object(Map::new()), places: HashMap::new() });
        };
        if documents.len() > 1 {
            return Err((place(&documents[1]), "more than one YAML document in the file".into()));
        }
        let mut places = HashMap::new();
        let value = convert(root, "", &mut places)?;
        let value = if value.is_null() { Value::Object(Map::new()) } else { value };
        Ok(Self { value, places })
    }

    /// Where a path stands, or its nearest ancestor that stands somewhere.
    pub fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return self.places.get("").copied().unwrap_or(Place { line: 1, column: 1 }),
            }
        }
    }
}

/// Path of a child key.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn place(node: &MarkedYaml<'_>) -> Place {
    Place { line: node.span.start.line(), column: node.span.start.col() + 1 }
}

fn convert(node: &MarkedYaml<'_>, path: &str, places: &mut HashMap<String, Place>) -> Result<Value, (Place, String)> {
    places.entry(path.to_owned()).or_insert_with(|| place(node));
    match &node.data {
        YamlData::Value(scalar) => Ok(scalar_value(scalar)),
        YamlData::Sequence(list) => list
            .iter()
            .enumerate()
            .map(|(i, item)| convert(item, &format!("{path}[{i}]"), places))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        YamlData::Mapping(map) => {
            let mut out = Map::new();
            for (key, item) in map.iter() {
                let name = match &key.data {
                    YamlData::Value(Scalar::String(name)) => name.to_string(),
                    YamlData::Value(scalar) => scalar_value(scalar).to_string(),
                    _ => return Err((place(key), "a key must be plain text".into())),
                };
                let child = join(path, &name);
                places.insert(child.clone(), place(key));
                out.insert(name, convert(item, &child, places)?);
            }
            Ok(Value::Object(out))
        }
        YamlData::Tagged(_, inner) => convert(inner, path, places),
        _ => Err((place(node), "this YAML cannot be read (alias or broken value)".into())),
    }
}

fn scalar_value(scalar: &Scalar<'_>) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(flag) => Value::Bool(*flag),
        Scalar::Integer(number) => Value::Number((*number).into()),
        Scalar::FloatingPoint(number) => Number::from_f64(number.into_inner()).map_or(Value::Null, Value::Number),
        Scalar::String(text) => Value::String(text.to_string()),
    }
}
