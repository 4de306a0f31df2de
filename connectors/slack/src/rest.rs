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
    pub fn into_json(self) -> Option<Json> {
        let mut out = Vec::with_capacity(self.0.iter().map(|(name, kept)| name.len() + kept.len() + 4).sum());
        self.write(&mut out);
        // Made of JSON alone, so this does not fail; and without it nothing but these extras would be missing.
        let text = String::from_utf8(out).ok()?;
        RawValue::from_string(text).ok().map(Json::from)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (name, kept)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut *out, name);
            out.push(b':');
            match kept {
                Kept::Raw(raw) => out.extend_from_slice(raw.get().as_bytes()),
                Kept::Value(value) => {
                    let _ = serde_json::to_writer(&mut *out, value);
                }
                Kept::Rest(rest) => rest.write(out),
            }
        }
        out.push(b'}');
    }
}

impl Kept<'_> {
    /// Bytes, roughly.
    fn len(&self) -> usize {
        const UNKNOWN: usize = 64;
        match self {
            Self::Raw(raw) => raw.get().len(),
            Self::Value(_) => UNKNOWN,
            Self::Rest(rest) => rest.0.iter().map(|(name, kept)| name.len() + kept.len() + 4).sum::<usize>() + 2,
        }
    }
}
