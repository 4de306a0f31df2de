//! One input as it came, before anybody understood it.

use std::net::IpAddr;

use bytes::Bytes;
use inlet_schemas::Timestamp;
use serde::{Deserialize, Serialize};

use crate::headers::Headers;

/// Header that drivers set: history that was asked for, no live input (`true`).
pub const BACKFILL_HEADER: &str = "inlet-backfill";

/// What the body of a [`RawEvent`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wire {
    /// An HTTP request that a provider sent us.
    Http,
    /// One item of a provider's API, as JSON.
    Json,
    /// One mail, RFC 5322; where it was found is in the headers (`inlet-folder`, `inlet-uid`).
    Mail,
    /// Frames of a session, in the provider's own framing.
    Frames,
    /// What a fetch order brought back: JSON of [`crate::FetchedMedia`], or an API item with `inlet-fetch` set.
    Fetched,
}

/// One input as it came. Serialises for dead letters and fetch results (body in base64).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawEvent {
    pub wire: Wire,
    /// HTTP method, upper case; empty for other wires.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The absolute URL that the provider called, as it sees it (`public_url` and the path with query); for other
    /// wires a locator within the source, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Address of the caller, behind trusted proxies the one that they name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    #[serde(with = "base64_bytes")]
    pub body: Bytes,
    pub received_at: Timestamp,
}

impl RawEvent {
    pub fn new(wire: Wire, body: impl Into<Bytes>, received_at: Timestamp) -> Self {
        Self {
            wire,
            method: String::new(),
            uri: String::new(),
            peer: None,
            headers: Headers::default(),
            body: body.into(),
            received_at,
        }
    }

    /// Path of the URI without query, percent-encoding kept.
    pub fn path(&self) -> &str {
        let rest = match self.uri.find("://") {
            Some(at) => {
                let rest = &self.uri[at + 3..];
                rest.find('/').map_or("/", |slash| &rest[slash..])
            }
            None => &self.uri,
        };
        rest.split(['?', '#']).next().unwrap_or(rest)
    }

    /// Query string without `?`, percent-encoding kept.
    pub fn query(&self) -> Option<&str> {
        self.uri.split_once('?').map(|(_, query)| query.split('#').next().unwrap_or(query))
    }
}

/// Sizes only: a body may hold personal data, a header a secret.
impl std::fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawEvent")
            .field("wire", &self.wire)
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &self.headers.names().collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .field("received_at", &self.received_at)
            .finish()
    }
}

pub(crate) mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_of_absolute_and_bare_uris() {
        let mut raw = RawEvent::new(Wire::Http, "", Timestamp::UNIX_EPOCH);
        raw.uri = "https://a.example/in/x%20y?b=1&c=%2F#f".into();
        assert_eq!((raw.path(), raw.query()), ("/in/x%20y", Some("b=1&c=%2F")));
        raw.uri = "https://a.example".into();
        assert_eq!((raw.path(), raw.query()), ("/", None));
        raw.uri = "/in/x?".into();
        assert_eq!((raw.path(), raw.query()), ("/in/x", Some("")));
    }

    #[test]
    fn survives_json() {
        let mut raw = RawEvent::new(Wire::Http, vec![0u8, 255, 10], Timestamp::UNIX_EPOCH);
        raw.headers.push("X-A", "b");
        let text = serde_json::to_string(&raw).unwrap();
        assert_eq!(serde_json::from_str::<RawEvent>(&text).unwrap(), raw);
    }
}
