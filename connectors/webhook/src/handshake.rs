//! Handshakes: a source asks whether the endpoint is ours and wants a value of its request back.

use connector_sdk::{ConfigError, RawEvent, Reply, body};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::verify::Verifier;

/// Longest value that is sent back. Bytes.
const CHALLENGE_MAX_BYTES: usize = 1024;

/// What is echoed, and when.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// JSON pointer to the value in the body of a POST.
    #[serde(default)]
    pub pointer: Option<String>,
    /// Query parameter of a GET that holds the value.
    #[serde(default)]
    pub query: Option<String>,
    /// Only where the body says so; without it every body with the value is a handshake.
    #[serde(default)]
    pub when: Option<When>,
    /// Query parameter that must hold the instance's secret.
    #[serde(default)]
    pub token_query: Option<String>,
    /// Whether the request is signed as events are. Only a handshake that cannot be is let through unsigned.
    #[serde(default = "yes")]
    pub signed: bool,
    /// The value is sent back in a JSON object under this key; alone, as text, without it.
    #[serde(default)]
    pub json_key: Option<String>,
}

fn yes() -> bool {
    true
}

/// A condition on the body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// JSON pointer.
    pub pointer: String,
    pub equals: Value,
}

impl Handshake {
    pub fn check(self) -> Result<Self, ConfigError> {
        if self.pointer.is_some() == self.query.is_some() {
            return Err(ConfigError::new("handshake", "needs either `pointer` or `query`"));
        }
        Ok(self)
    }

    /// Whether handshakes come by GET.
    pub fn by_get(&self) -> bool {
        self.query.is_some()
    }

    /// The answer, where the request is a handshake.
    pub fn answer(&self, request: &RawEvent, verifier: &Verifier) -> Option<Reply> {
        let value = match (&self.query, &self.pointer) {
            (Some(name), _) => (request.method == "GET").then(|| parameter(request, name)).flatten()?,
            (None, Some(pointer)) => {
                let body: Value = serde_json::from_slice(&request.body).ok()?;
                if let Some(when) = &self.when
                    && body.pointer(&when.pointer) != Some(&when.equals)
                {
                    return None;
                }
                body.pointer(pointer)?.as_str()?.to_owned()
            }
            (None, None) => return None,
        };
        if value.is_empty() || value.len() > CHALLENGE_MAX_BYTES {
            return None;
        }
        if let Some(name) = &self.token_query
            && !parameter(request, name).is_some_and(|token| verifier.matches_secret(&token))
        {
            return None;
        }
        let reply = match &self.json_key {
            None => Reply::text(200, value),
            Some(key) => Reply::json(200, &json!({ key.as_str(): value })),
        };
        // The value is a stranger's: no browser may take it for a page.
        Some(reply.header("x-content-type-options", "nosniff"))
    }
}

fn parameter(request: &RawEvent, name: &str) -> Option<String> {
    let query = request.query()?.as_bytes();
    body::urlencoded(query).into_iter().find(|(have, _)| have == name).map(|(_, value)| value)
}
