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

    /// As one object. One text: a value for each field would be made only to be written again.
    pub fn to_json(&self) -> Json {
        let mut text = String::with_capacity(self.text_bytes());
        self.write(&mut text);
        // Of sound parts: it is JSON. Were it not, it would still be kept.
        serde_json::from_str::<Box<RawValue>>(&text).map_or_else(|_| Value::String(text).into(), Json::from)
    }

    fn write(&self, text: &mut String) {
        text.push('{');
        for (at, (name, kept)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            write_name(name, text);
            text.push(':');
            match kept {
                Kept::Raw(raw) => text.push_str(raw.get()),
                Kept::Value(value) => text.push_str(&value.to_string()),
                Kept::Rest(rest) => rest.write(text),
            }
        }
        text.push('}');
    }

    /// Room for most: names with quotes, colon and comma, and what stands behind them.
    fn text_bytes(&self) -> usize {
        let field = |(name, kept): &(Text<'a>, Kept<'a>)| {
            let value = match kept {
                Kept::Raw(raw) => raw.get().len(),
                Kept::Value(_) => 0,
                Kept::Rest(rest) => rest.text_bytes(),
            };
            name.len() + 4 + value
        };
        2 + self.0.iter().map(field).sum::<usize>()
    }
}

fn write_name(name: &Text<'_>, text: &mut String) {
    match name {
        // As it stood in the body: without anything that has to be escaped.
        Text::Borrowed(plain) => {
            text.push('"');
            text.push_str(plain);
            text.push('"');
        }
        Text::Owned(_) => text.push_str(&Value::from(&**name).to_string()),
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
