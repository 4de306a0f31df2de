//! A section that may be switched off: `off`, or its keys.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const OFF: &str = "off";

/// `off`, or the section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switch<T> {
    Off,
    On(T),
}

impl<T> Switch<T> {
    /// The section, unless it is off.
    pub fn on(&self) -> Option<&T> {
        match self {
            Self::Off => None,
            Self::On(section) => Some(section),
        }
    }
}

impl<T: Default> Default for Switch<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Written(PhantomData))
    }
}

struct Written<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Written<T> {
    type Value = Switch<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{OFF}`, or a section")
    }

    // What YAML's older version makes of the word.
    fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
        if on { Err(E::custom(format!("write {OFF}, or a section"))) } else { Ok(Switch::Off) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == OFF { Ok(Switch::Off) } else { Err(E::custom(format!("'{text}': write {OFF}, or a section"))) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Switch::On)
    }
}

impl<T: Serialize> Serialize for Switch<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => s.serialize_str(OFF),
            Self::On(section) => section.serialize(s),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Switch<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let section = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [section, { "const": OFF }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        size: usize,
    }

    #[test]
    fn a_section_or_off() {
        let read = |text: &str| serde_json::from_str::<Switch<Section>>(text);
        assert_eq!(read("\"off\"").unwrap(), Switch::Off);
        assert_eq!(read("false").unwrap(), Switch::Off);
        assert_eq!(read("{\"size\": 7}").unwrap(), Switch::On(Section { size: 7 }));
        assert!(read("\"of\"").unwrap_err().to_string().contains("write off"));
        assert!(read("{\"sise\": 7}").unwrap_err().to_string().contains("sise"));
        assert!(read("true").is_err());
    }
}
