//! The shape that a mapping's outputs have. Every key is optional and `null` counts as absent; a key that is not here
//! is refused by name, so that a typing error loses nothing silently.

use connector_sdk::Timestamp;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// From this number on a time is in milliseconds, below it in seconds.
const MILLIS_FROM: i64 = 1_000_000_000_000;

/// One output of a mapping.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mapped {
    /// Known and deliberately not published: the name of what it is.
    pub skip: Option<String>,
    /// Not modelled: the source's name of its type; the item is published whole.
    pub unsupported: Option<String>,

    /// The source's id of the event; without it the delivery's id, else the content.
    pub id: Id,
    /// Which version of it, for edits.
    pub revision: Id,
    /// The source's id of the delivery or event, where `id` is another.
    pub event_id: Id,
    pub message_id: Id,
    pub kind: Option<String>,
    pub channel: Option<String>,
    pub direction: Option<String>,
    pub account: Id,
    /// The source's name of the event's type.
    #[serde(rename = "type")]
    pub provider_type: Option<String>,
    pub occurred_at: Option<Time>,
    pub sequence: Id,

    pub sender: Option<Person>,
    pub recipients: Option<Vec<Addressee>>,
    pub conversation: Option<Place>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
    pub fields: Option<Value>,
    pub form: Option<Form>,
    pub attachments: Option<Vec<File>>,
    /// Parts as in the event's schema, after the text.
    pub content: Option<Vec<Value>>,
    /// As in the event's schema.
    pub call: Option<Value>,
    /// As in the event's schema, or a message id alone.
    pub target: Option<Value>,
    /// As in the event's schema.
    pub quoted: Option<Value>,
    /// As in the event's schema.
    pub referral: Option<Value>,
    /// As in the event's schema.
    pub delivery: Option<Vec<Value>>,
    /// What else the source said; absent = the whole item, `null` = nothing.
    #[serde(deserialize_with = "present")]
    pub provider_data: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Person {
    pub id: Id,
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone: Id,
    pub username: Option<String>,
    pub url: Option<String>,
    pub locale: Option<String>,
    pub avatar_url: Option<String>,
    pub is_bot: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Addressee {
    /// `to` without it.
    pub role: Option<String>,
    pub id: Id,
    pub name: Option<String>,
    pub email: Option<String>,
    pub phone: Id,
    pub username: Option<String>,
}

/// A conversation: its id alone, or more about it.
#[derive(Debug)]
pub struct Place(pub PlaceFields);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlaceFields {
    pub id: Id,
    #[serde(rename = "type")]
    pub conversation_type: Option<String>,
    pub channel_id: Id,
    /// What the conversation hangs under: a post, an item.
    pub parent_id: Id,
    pub title: Option<String>,
    pub in_reply_to: Id,
    pub references: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Form {
    pub id: Id,
    pub name: Option<String>,
    pub page_url: Option<String>,
}

/// A file: behind a URL, or within the item.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub id: Id,
    pub url: Option<String>,
    /// Standard base64.
    pub data: Option<String>,
    pub name: Option<String>,
    pub media_type: Option<String>,
    pub size_bytes: Option<u64>,
    pub content_id: Option<String>,
    pub inline: Option<bool>,
}

/// An id, whether text or whole number; empty text counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Id(Option<String>);

impl Id {
    pub fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub fn get(&self) -> Option<String> {
        self.0.clone()
    }
}

/// A moment: RFC 3339 text, or seconds or milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Timestamp);

impl Mapped {
    /// Reads an output. The error names the key and what was expected, never a value.
    pub fn read(output: Value) -> Result<Self, String> {
        if !output.is_object() {
            return Err("output of the mapping is not an object".to_owned());
        }
        serde_path_to_error::deserialize(output).map_err(|error| {
            let path = error.path().to_string();
            format!("output of the mapping: {path}: {}", without_value(&error.into_inner().to_string()))
        })
    }
}

/// What serde says less the value that it found.
fn without_value(message: &str) -> &str {
    match message.split_once(", expected ") {
        Some((head, _)) if head.starts_with("unknown field") => head,
        Some(_) => {
            &message[message.len() - message.rsplit(", expected ").next().map_or(0, str::len) - "expected ".len()..]
        }
        None => message,
    }
}

/// Reads a type of the event's schema and refuses keys that it does not have.
pub fn strict<T: DeserializeOwned + Serialize>(value: &Value, what: &str) -> Result<T, String> {
    let typed = T::deserialize(value).map_err(|error| format!("{what}: {}", without_value(&error.to_string())))?;
    let back = serde_json::to_value(&typed).map_err(|error| format!("{what}: {error}"))?;
    match unknown_key(value, &back) {
        Some(key) => Err(format!("{what}: unknown field `{key}`")),
        None => Ok(typed),
    }
}

/// A key of `given` that did not survive.
fn unknown_key(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| match kept.get(key) {
            // Absent, and empty lists, are left out when written.
            None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => None,
            None => Some(key.clone()),
            Some(kept) => unknown_key(value, kept).map(|inner| format!("{key}.{inner}")),
        }),
        (Value::Array(given), Value::Array(kept)) => {
            given.iter().zip(kept).find_map(|(given, kept)| unknown_key(given, kept))
        }
        _ => None,
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Id;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text or a whole number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(Some(text.trim().to_owned()).filter(|text| !text.is_empty())))
            }
            fn visit_unit<E: Error>(self) -> Result<Id, E> {
                Ok(Id(None))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id(Some(number.to_string())))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(Some(number.to_string())))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let time = match &value {
            Value::String(text) => Timestamp::parse(text).or_else(|| unix(text)),
            Value::Number(number) => unix(&number.to_string()),
            _ => None,
        };
        time.map(Time).ok_or_else(|| {
            D::Error::custom("not a time, expected RFC 3339 text, or seconds or milliseconds since 1970")
        })
    }
}

fn unix(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(millis) if millis >= MILLIS_FROM => Timestamp::from_unix_millis(millis),
        _ => Timestamp::from_unix_decimal(text),
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            id @ (Value::String(_) | Value::Number(_)) => {
                let id = Id::deserialize(id).map_err(D::Error::custom)?;
                Ok(Self(PlaceFields { id, ..PlaceFields::default() }))
            }
            fields => PlaceFields::deserialize(fields).map(Self).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::schemas::{Call, Referral};
    use serde_json::json;

    #[test]
    fn errors_name_keys_and_no_values() {
        let error = |output: Value| Mapped::read(output).unwrap_err();
        assert!(error(json!({"sendr": 1})).contains("unknown field `sendr`"));
        assert!(error(json!({"sender": {"mail": "x"}})).contains("sender.mail: unknown field `mail`"));
        let wrong = error(json!({"text": {"secret": 1}}));
        assert!(wrong.contains("text") && wrong.contains("expected a string") && !wrong.contains("secret"), "{wrong}");
        let wrong = error(json!({"occurred_at": "secret"}));
        assert!(wrong.contains("RFC 3339") && !wrong.contains("secret"), "{wrong}");
        assert!(error(json!({"conversation": {"x": 1}})).contains("unknown field `x`"));
    }

    #[test]
    fn times_and_ids() {
        let at = |value: Value| Mapped::read(json!({"occurred_at": value})).unwrap().occurred_at.unwrap().0.to_string();
        assert_eq!(at(json!(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(at(json!(1_700_000_000_500_i64)), "2023-11-14T22:13:20.5Z");
        assert_eq!(at(json!("1700000000.25")), "2023-11-14T22:13:20.25Z");
        assert_eq!(at(json!("2023-11-14T23:13:20+01:00")), "2023-11-14T22:13:20Z");
        assert_eq!(Mapped::read(json!({"id": 7})).unwrap().id.as_deref(), Some("7"));
        assert_eq!(Mapped::read(json!({"id": " "})).unwrap().id.as_deref(), None);
        assert!(Mapped::read(json!({"id": 7.5})).is_err());
    }

    #[test]
    fn schema_types_refuse_unknown_keys() {
        assert!(strict::<Call>(&json!({"call_id": "1", "state": "ringing"}), "call").is_ok());
        let error = strict::<Call>(&json!({"call_id": "1", "from": {"fone": "1"}}), "call").unwrap_err();
        assert_eq!(error, "call: unknown field `from.fone`");
        let error = strict::<Referral>(&json!({"url": "u"}), "referral").unwrap_err();
        assert!(error.contains("missing field `source`"), "{error}");
    }
}
