//! `config.example.yaml` as options.

use std::collections::BTreeMap;

use connector_sdk::kinds::Kinds;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

/// What a variable or file of the example stands for where `kinds.toml` names no value.
const PLACEHOLDER_VALUE: &str = "example-secret-0123456789";

/// The example's options, with its `${env:…}` and `${file:…}` filled in.
pub(crate) fn options(example: &str, kinds: &Kinds) -> Result<Value, String> {
    let documents = Yaml::load_from_str(example).map_err(|e| format!("config.example.yaml: {e}"))?;
    match documents.as_slice() {
        [] => Ok(Value::Object(Map::new())),
        [document] => json(document, &kinds.example_values),
        _ => Err("config.example.yaml holds more than one document".to_owned()),
    }
}

fn json(node: &Yaml<'_>, values: &BTreeMap<String, String>) -> Result<Value, String> {
    match node {
        Yaml::Value(Scalar::Null) => Ok(Value::Null),
        Yaml::Value(Scalar::Boolean(flag)) => Ok(Value::Bool(*flag)),
        Yaml::Value(Scalar::Integer(number)) => Ok(Value::from(*number)),
        Yaml::Value(Scalar::FloatingPoint(number)) => Ok(Value::from(number.into_inner())),
        Yaml::Value(Scalar::String(text)) => fill(text, values).map(Value::from),
        Yaml::Sequence(list) => list.iter().map(|item| json(item, values)).collect(),
        Yaml::Mapping(map) => {
            let mut object = Map::new();
            for (key, value) in map {
                let key = key.as_str().ok_or("config.example.yaml: a key is not text")?;
                object.insert(key.to_owned(), json(value, values)?);
            }
            Ok(Value::Object(object))
        }
        _ => Err("config.example.yaml uses tags or aliases, which configuration does not know".to_owned()),
    }
}

fn fill(text: &str, values: &BTreeMap<String, String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let end = rest[at..].find('}').ok_or_else(|| format!("config.example.yaml: '{text}' has no closing brace"))?;
        let inner = &rest[at + 2..at + end];
        let name = inner
            .strip_prefix("env:")
            .or_else(|| inner.strip_prefix("file:"))
            .ok_or_else(|| format!("config.example.yaml: '{inner}' is neither env: nor file:"))?;
        out.push_str(&rest[..at]);
        out.push_str(values.get(name).map_or(PLACEHOLDER_VALUE, String::as_str));
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}
