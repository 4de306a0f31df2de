//! Schemes as recipes write them down.

use schemars::JsonSchema;
use serde::Deserialize;

/// Usual tolerance for clocks and slow networks, in seconds.
const TOLERANCE_SECONDS: u64 = 300;

/// How a request proves its origin.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scheme {
    /// An HMAC over a text that holds the body.
    Hmac(HmacScheme),
    /// Standard Webhooks, signature version v1 (HMAC-SHA256 over id, timestamp and body).
    StandardWebhooks(StandardScheme),
    /// `Authorization: Bearer` and the secret.
    Bearer {},
    /// The secret itself in a header.
    Header {
        /// Name of the header.
        name: String,
    },
    /// HTTP Basic with `username` and the secret.
    Basic {},
    /// No proof at all: whoever knows the URL can send.
    None {},
}

/// A configurable HMAC.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacScheme {
    /// Header that holds the signature.
    pub header: String,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// What stands before the signature in its header (`sha256=`).
    #[serde(default)]
    pub prefix: String,
    /// The header is a list `t=…,v1=…`: name of the signature's element. Several of it may come during rotation.
    #[serde(default)]
    pub element: Option<String>,
    /// How the secret becomes a key.
    #[serde(default)]
    pub key: KeyEncoding,
    /// What is signed: text with `{body}`, `{timestamp}`, `{id}`, `{method}` and `{url}`.
    #[serde(default = "body_alone")]
    pub signed: String,
    /// Header of `{id}`.
    #[serde(default)]
    pub id_header: Option<String>,
    /// Where `{timestamp}` is, and how far it may be from now.
    #[serde(default)]
    pub timestamp: Option<TimestampAt>,
}

fn body_alone() -> String {
    "{body}".to_owned()
}

/// Where the signed time is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimestampAt {
    /// Header that holds it.
    #[serde(default)]
    pub header: Option<String>,
    /// Name of its element within the signature's header, where that is a list.
    #[serde(default)]
    pub element: Option<String>,
    #[serde(default)]
    pub unit: TimeUnit,
    /// Largest distance from now, before or after.
    #[serde(default = "tolerance_seconds")]
    pub tolerance_seconds: u64,
}

fn tolerance_seconds() -> u64 {
    TOLERANCE_SECONDS
}

/// Options of Standard Webhooks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandardScheme {
    /// What the three headers begin with: `webhook` for `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    #[serde(default = "webhook")]
    pub header_prefix: String,
    /// Largest distance from now, before or after.
    #[serde(default = "tolerance_seconds")]
    pub tolerance_seconds: u64,
}

fn webhook() -> String {
    "webhook".to_owned()
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha1,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyEncoding {
    /// The secret's bytes.
    #[default]
    Utf8,
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    #[default]
    Seconds,
    Milliseconds,
    Rfc3339,
}
