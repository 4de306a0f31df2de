//! Schemes as recipes write them down.

use connector_sdk::ConfigError;
use schemars::JsonSchema;
use serde::Deserialize;

/// Usual tolerance for clocks and slow networks, in seconds.
pub const TOLERANCE_SECONDS: u64 = 300;

/// How a request proves its origin. Which keys go with a scheme is said at each; others are refused.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    pub scheme: SchemeName,
    /// `hmac`, `header`: name of the header that holds the signature or the secret.
    #[serde(default)]
    pub header: Option<String>,
    /// `hmac`: `sha256` without it.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// `hmac`: how the signature is written; `hex` without it.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// `hmac`: what stands before the signature in its header (`sha256=`).
    #[serde(default)]
    pub prefix: Option<String>,
    /// `hmac`: the header is a list `t=…,v1=…`: name of the signature's element, of which several may come.
    #[serde(default)]
    pub element: Option<String>,
    /// `hmac`: how the secret becomes a key; `utf8` without it.
    #[serde(default)]
    pub key: Option<KeyEncoding>,
    /// `hmac`: what is signed: text with `{body}`, `{timestamp}`, `{id}`, `{method}` and `{url}`; `{body}` without it.
    #[serde(default)]
    pub signed: Option<String>,
    /// `hmac`: header of `{id}`.
    #[serde(default)]
    pub id_header: Option<String>,
    /// `hmac`: where `{timestamp}` is, and how far it may be from now.
    #[serde(default)]
    pub timestamp: Option<TimestampAt>,
    /// `standard_webhooks`: what the three headers begin with; `webhook` without it.
    #[serde(default)]
    pub header_prefix: Option<String>,
    /// `standard_webhooks`: largest distance of the signed time from now, before or after; 300 without it.
    #[serde(default)]
    pub tolerance_seconds: Option<u64>,
}

/// Name of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemeName {
    /// An HMAC over a text that holds the body.
    Hmac,
    /// Standard Webhooks, signature version v1 (HMAC-SHA256 over id, time and body).
    StandardWebhooks,
    /// `Authorization: Bearer` and the secret.
    Bearer,
    /// HTTP Basic with `username` and the secret.
    Basic,
    /// The secret itself in a header.
    Header,
    /// No proof at all: whoever knows the URL can send.
    None,
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

impl Scheme {
    /// Refuses keys that the scheme does not use: somebody expects something of them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let of_hmac = [
            ("algorithm", self.algorithm.is_some()),
            ("encoding", self.encoding.is_some()),
            ("prefix", self.prefix.is_some()),
            ("element", self.element.is_some()),
            ("key", self.key.is_some()),
            ("signed", self.signed.is_some()),
            ("id_header", self.id_header.is_some()),
            ("timestamp", self.timestamp.is_some()),
        ];
        let of_standard =
            [("header_prefix", self.header_prefix.is_some()), ("tolerance_seconds", self.tolerance_seconds.is_some())];
        let (hmac, standard) = (self.scheme == SchemeName::Hmac, self.scheme == SchemeName::StandardWebhooks);
        let header = hmac || self.scheme == SchemeName::Header;
        let unused = of_hmac
            .into_iter()
            .filter(|_| !hmac)
            .chain(of_standard.into_iter().filter(|_| !standard))
            .chain([("header", self.header.is_some() && !header)])
            .find(|(_, given)| *given);
        match unused {
            Some((key, _)) => Err(ConfigError::new(format!("verify.{key}"), "is not used by this scheme")),
            None if header && self.header.as_deref().is_none_or(str::is_empty) => {
                Err(ConfigError::new("verify.header", "is needed by this scheme"))
            }
            None => Ok(()),
        }
    }
}
