//! Slack's JSON as it is on the wire, read in one pass: text that the parser works with is borrowed from the body,
//! whatever else Slack said stays in `rest` and becomes `provider_data`.
//!
//! Shapes: slackapi/node-slack-sdk `packages/types/src/events`.

use std::borrow::Cow;
use std::fmt;

use connector_sdk::json::SoundText;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::rest::{Kept, Rest};

/// Text of the body, borrowed where it holds no escapes.
pub type Text<'a> = Cow<'a, str>;

/// A field that is text in every payload known; anything else is kept as it is rather than refused.
enum Field<'a> {
    Text(Text<'a>),
    Other(Value),
}

/// Declares a struct of text fields and `rest`, and its one-pass visitor. It reads from text alone: what it keeps is
/// borrowed from there.
macro_rules! lenient {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident = $key:literal),+ $(,)? } $($nested:ident: $nested_key:literal $nested_type:ty)?) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $name<'a> {
            $($(#[$fmeta])* pub $field: Option<Text<'a>>,)+
            $(pub $nested: Option<$nested_type>,)?
            /// Every other field.
            pub rest: Rest<'a>,
        }

        impl<'de> Deserialize<'de> for $name<'de> {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut out = $name::default();
                        while let Some(Key(key)) = map.next_key()? {
                            match &*key {
                                $($nested_key => out.$nested = map.next_value()?,)?
                                $($key => match map.next_value()? {
                                    Field::Text(text) => out.$field = Some(text),
                                    Field::Other(Value::Null) => {}
                                    Field::Other(value) => {
                                        out.rest.insert(Cow::Borrowed($key), Kept::Value(value));
                                    }
                                },)+
                                _ => {
                                    let SoundText(raw) = map.next_value()?;
                                    out.rest.insert(key, Kept::Raw(raw));
                                }
                            }
                        }
                        Ok(out)
                    }
                }
                d.deserialize_map(Fields)
            }
        }
    };
}

lenient! {
    /// The outer object of the Events API.
    Envelope {
        kind = "type",
        team_id = "team_id",
        event_id = "event_id",
        /// The verification token of old: a secret, never kept.
        token = "token",
        challenge = "challenge",
    }
    event: "event" Event<'a>
}

lenient! {
    /// The inner event, and a message inside it: every type's text fields together, since `type` may come last.
    Event {
        kind = "type",
        subtype = "subtype",
        channel = "channel",
        channel_type = "channel_type",
        user = "user",
        text = "text",
        /// Decimal seconds; the message's id within its channel.
        ts = "ts",
        thread_ts = "thread_ts",
        event_ts = "event_ts",
        deleted_ts = "deleted_ts",
        bot_id = "bot_id",
        app_id = "app_id",
        username = "username",
        reaction = "reaction",
        tab = "tab",
    }
}

/// A name, or any text.
pub struct Key<'a>(pub Text<'a>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text)))
            }
        }
        d.deserialize_str(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct FieldVisitor;
        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = Field<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Owned(text)))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Field::Other(value.into()))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Field::Other(value.into()))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Field::Other(value.into()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Field::Other(value.into()))
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Field::Other(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(SeqAccessDeserializer::new(seq)).map(Field::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(MapAccessDeserializer::new(map)).map(Field::Other)
            }
        }
        d.deserialize_any(FieldVisitor)
    }
}
