//! Header lines in their order, looked up without regard to case.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Header lines in the order received; names are lower case.
#[derive(Clone, Default)]
pub struct Headers {
    /// Names and values, one after the other: a request's lines cost two allocations in all.
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where one line stands; text on the wire where its value is UTF-8.
#[derive(Clone)]
struct Line {
    /// Of a text: names come in as `str` only.
    name: Range<usize>,
    value: Range<usize>,
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let lines = Vec::<(String, String)>::deserialize(d)?;
        let mut headers = Self::default();
        lines.iter().for_each(|(name, value)| headers.add(name, value.as_bytes()));
        Ok(headers)
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

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
    /// Copies all lines.
    pub fn copied<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        const USUAL_BYTES: usize = 1024;
        const USUAL_LINES: usize = 16;
        let mut headers = Self { text: Vec::with_capacity(USUAL_BYTES), lines: Vec::with_capacity(USUAL_LINES) };
        lines.for_each(|(name, value)| headers.add(name, value));
        headers
    }

    pub fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.add(name, &value.into());
    }

    fn add(&mut self, name: &str, value: &[u8]) {
        let name = self.append(name.as_bytes());
        self.text[name.clone()].make_ascii_lowercase();
        let value = self.append(value);
        self.lines.push(Line { name, value });
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        start..self.text.len()
    }

    fn name(&self, line: &Line) -> &str {
        std::str::from_utf8(&self.text[line.name.clone()]).unwrap_or("")
    }

    fn value(&self, line: &Line) -> &[u8] {
        &self.text[line.value.clone()]
    }

    /// Replaces every line of this name by one.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(name);
        self.push(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        let text = &self.text;
        self.lines.retain(|line| !text[line.name.clone()].eq_ignore_ascii_case(name.as_bytes()));
    }

    /// The first line of this name that is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let is_it = |line: &&Line| self.text[line.name.clone()].eq_ignore_ascii_case(name.as_bytes());
        self.lines.iter().filter(is_it).map(|line| self.value(line))
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
        self.lines.iter().map(|line| (self.name(line), self.value(line)))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| self.name(line))
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Keeps the lines for which `keep(name)` holds; masks the others' values.
    pub fn mask_unless(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let mut masked = Self::default();
        for (name, value) in self.iter() {
            masked.add(name, if keep(name) { value } else { crate::redact::MASK.as_bytes() });
        }
        *self = masked;
    }
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
