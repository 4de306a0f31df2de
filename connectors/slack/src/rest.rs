//! What Slack said beyond the fields that the parser works with: kept as text, looked into on demand.

use connector_sdk::schemas::Json;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::wire::{Key, Text};

/// Fields in their order; a name that comes again replaces the one before.
#[derive(Debug, Default)]
pub struct Rest<'a>(Vec<(Text<'a>, Kept<'a>)>);

/// Room for the fields of most objects.
const USUAL_FIELDS: usize = 8;

/// A field's value.
#[derive(Debug)]
pub enum Kept<'a> {
    Raw(&'a RawValue),
    Text(Text<'a>),
    Value(Value),
    Rest(Rest<'a>),
}

impl<'a> Rest<'a> {
    pub fn insert(&mut self, name: Text<'a>, kept: Kept<'a>) {
        match self.0.iter_mut().find(|(have, _)| *have == name) {
            Some((_, have)) => *have = kept,
            None => {
                if self.0.is_empty() {
                    self.0.reserve(USUAL_FIELDS);
                }
                self.0.push((name, kept));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Option<&Kept<'a>> {
        self.0.iter().find_map(|(have, kept)| (have == name).then_some(kept))
    }

    /// The text of a field as it came.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        match self.find(name)? {
            Kept::Raw(raw) => Some(raw),
            Kept::Text(_) | Kept::Value(_) | Kept::Rest(_) => None,
        }
    }

    /// A field that is what `T` is.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        match self.find(name)? {
            Kept::Raw(raw) => serde_json::from_str(raw.get()).ok(),
            Kept::Text(text) => T::deserialize(StrDeserializer::<Error>::new(text)).ok(),
            Kept::Value(value) => T::deserialize(value).ok(),
            Kept::Rest(_) => None,
        }
    }

    pub fn value(&self, name: &str) -> Option<Value> {
        self.read(name)
    }

    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<Text<'_>> {
        match self.find(name)? {
            Kept::Raw(raw) => serde_json::from_str::<Key<'_>>(raw.get()).ok().map(|Key(text)| text),
            Kept::Text(text) => Some(Text::Borrowed(text)),
            Kept::Value(value) => value.as_str().map(Text::Borrowed),
            Kept::Rest(_) => None,
        }
    }

    /// As one object. One text: a value for each field would be made only to be written again.
    pub fn to_json(&self) -> Json {
        // Of JSON and names: nothing in it can fail.
        to_raw_value(self).map_or_else(|error| Value::String(error.to_string()).into(), Json::from)
    }
}

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, kept)| (name, kept)))
    }
}

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Raw(raw) => raw.serialize(s),
            Self::Text(text) => s.serialize_str(text),
            Self::Value(value) => value.serialize(s),
            Self::Rest(rest) => rest.serialize(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Envelope;

    #[test]
    fn what_is_kept_is_json_whatever_its_names_are() {
        let body = r#"{"plain": [1.50, {"x": null}], "a\"b\u000a": "c\"d", "type": 7}"#;
        let rest = serde_json::from_str::<Envelope<'_>>(body).expect("an object").rest;
        let kept = rest.to_json();
        assert!(matches!(kept, Json::Raw(_)), "kept as JSON");
        assert_eq!(*kept.to_value(), serde_json::from_str::<Value>(body).expect("JSON"));
    }
}
