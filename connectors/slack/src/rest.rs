//! What Slack said beyond the fields that the parser works with: kept as text, looked into on demand.

use connector_sdk::schemas::Json;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::{Key, Text};

/// Fields in their order; a name that comes again replaces the one before.
#[derive(Debug, Default)]
pub struct Rest<'a>(Vec<(Text<'a>, Kept<'a>)>);

/// A field's value.
#[derive(Debug)]
pub enum Kept<'a> {
    Raw(&'a RawValue),
    Value(Value),
    Rest(Rest<'a>),
}

impl<'a> Rest<'a> {
    pub fn insert(&mut self, name: Text<'a>, kept: Kept<'a>) {
        match self.0.iter_mut().find(|(have, _)| *have == name) {
            Some((_, have)) => *have = kept,
            None => self.0.push((name, kept)),
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
            Kept::Value(_) | Kept::Rest(_) => None,
        }
    }

    /// A field that is what `T` is.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        match self.find(name)? {
            Kept::Raw(raw) => serde_json::from_str(raw.get()).ok(),
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
            Kept::Value(value) => value.as_str().map(Text::Borrowed),
            Kept::Rest(_) => None,
        }
    }

    /// As one object.
    pub fn into_json(self) -> Json {
        Json::Object(self.0.into_iter().map(|(name, kept)| (name.into_owned(), kept.into_json())).collect())
    }
}

impl Kept<'_> {
    fn into_json(self) -> Json {
        match self {
            Self::Raw(raw) => raw.to_owned().into(),
            Self::Value(value) => value.into(),
            Self::Rest(rest) => rest.into_json(),
        }
    }
}
