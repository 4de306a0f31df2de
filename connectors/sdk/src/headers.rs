//! Header lines in their order, looked up without regard to case.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Header lines in the order received; names are lower case.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(Vec<(String, HeaderValue)>);

/// A header's bytes; text on the wire where it is UTF-8.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct HeaderValue(Bytes);

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<HeaderValue> for String {
    fn from(value: HeaderValue) -> Self {
        String::from_utf8_lossy(&value.0).into_owned()
    }
}

/// Why a header that must be there exactly once cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    #[error("header is missing")]
    Missing,
    #[error("header is given more than once")]
    Repeated,
    #[error("header is not text")]
    NotText,
}

impl Headers {
    pub fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.push((name.to_ascii_lowercase(), HeaderValue(value.into())));
    }

    /// Replaces every line of this name by one.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(name);
        self.push(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
    }

    /// The first line of this name that is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| &value.0[..])
    }

    /// The one line of this name; a signature header that comes twice is refused, not guessed at.
    pub fn unique(&self, name: &str) -> Result<&str, HeaderFault> {
        let mut all = self.get_all(name);
        let first = all.next().ok_or(HeaderFault::Missing)?;
        if all.next().is_some() {
            return Err(HeaderFault::Repeated);
        }
        std::str::from_utf8(first).map_err(|_| HeaderFault::NotText)
    }

    /// Media type of Content-Type: lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        self.get("content-type")
            .map(|value| value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
            .filter(|value| !value.is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), &value.0[..]))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the lines for which `keep(name)` holds; masks the others' values.
    pub fn mask_unless(&mut self, mut keep: impl FnMut(&str) -> bool) {
        for (name, value) in &mut self.0 {
            if !keep(name) {
                value.0 = Bytes::from_static(crate::redact::MASK.as_bytes());
            }
        }
    }
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
