//! A part of a provider's payload that is kept as it came.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Any JSON. Text that nobody has to look into stays text: taking it apart and writing it again would cost more than all
/// the rest of an event.
#[derive(Clone, Debug)]
pub enum Json {
    Value(Value),
    Raw(Box<RawValue>),
}

impl Json {
    /// The value; numbers as they were written, of a key that comes twice the last.
    pub fn to_value(&self) -> Cow<'_, Value> {
        match self {
            Self::Value(value) => Cow::Borrowed(value),
            Self::Raw(raw) => Cow::Owned(parsed(raw)),
        }
    }

    /// The value, to be changed.
    pub fn value_mut(&mut self) -> &mut Value {
        if !matches!(self, Self::Value(_)) {
            *self = Self::Value(self.to_value().into_owned());
        }
        match self {
            Self::Value(value) => value,
            Self::Raw(_) => unreachable!("made a value above"),
        }
    }
}

/// Raw text is JSON by its type; only nesting deeper than serde_json's limit fails, and is kept as text.
fn parsed(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| Value::String(raw.get().to_owned()))
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self::Raw(raw)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.to_value() == other.to_value()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(s),
            Self::Raw(raw) => raw.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Value::deserialize(d).map(Self::Value)
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Json".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Value::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_text_is_its_value_and_goes_out_as_it_came() {
        let text = r#"{"a" : 1.50, "b":[null]}"#;
        let raw = Json::from(RawValue::from_string(text.to_owned()).unwrap());
        let mut value = Json::from(serde_json::json!({ "b": [null], "a": 1.5 }));
        assert_eq!(raw, value);
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
        assert_eq!(serde_json::to_value(&raw).unwrap(), *value.to_value());
        value.value_mut()["a"] = 2.into();
        assert_ne!(raw, value);
        let mut changed = raw.clone();
        changed.value_mut()["a"] = 2.into();
        assert_eq!(changed, value);
    }
}
