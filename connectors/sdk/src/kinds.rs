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
//! ```

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    #[serde(rename = "type")]
    pub types: Vec<KindOfProvider>,
}

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
