//! `kinds.toml`: every event type that the provider has, mapped or skipped, so that none is forgotten.
//!
//! ```toml
//! [[type]]
//! name = "message"                       # the provider's own name
//! kind = ["message.created"]             # kinds of the unified event that it becomes
//! fixtures = ["dm_plain", "thread_reply"] # cases that prove it
//!
//! [[type]]
//! name = "typing"
//! skipped = "a hint that lasts seconds; nothing a ticket could hold"
//! fixtures = ["typing"]                   # optional for skipped types
//!
//! [not_applicable]                        # required cases that the provider cannot have, and why
//! edit = "an SMS cannot be edited"
//!
//! [example_values]                        # what `${env:…}` in config.example.yaml stands for, where any text will not do
//! SIGNING_KEY = "whsec_c2VjcmV0"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    #[serde(rename = "type")]
    pub types: Vec<KindOfProvider>,
    /// Required cases of the conformance suite ([`REQUIRED_CASES`]) that no fixture can show, and why.
    #[serde(default)]
    pub not_applicable: BTreeMap<String, String>,
    /// Values of the variables and files that `config.example.yaml` refers to, where any text will not do.
    #[serde(default)]
    pub example_values: BTreeMap<String, String>,
}

/// What a case's `covers` can name; each is shown by a case or listed as `not_applicable`.
pub const REQUIRED_CASES: &[&str] = &[
    "plain_text",
    "unicode",
    "empty_body",
    "attachment",
    "thread_reply",
    "edit",
    "delete",
    "own_echo",
    "unknown_type",
    "batch",
    "malformed",
];

/// One event type of the provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindOfProvider {
    pub name: String,
    #[serde(default)]
    pub kind: Vec<String>,
    #[serde(default)]
    pub fixtures: Vec<String>,
    /// Why it is not published.
    #[serde(default)]
    pub skipped: Option<String>,
}

/// Reads a `kinds.toml`.
pub fn parse(text: &str) -> Result<Kinds, toml::de::Error> {
    toml::from_str(text)
}
