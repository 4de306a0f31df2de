//! Header lines in their order, looked up without regard to case.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Header lines in the order received; names are lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<Line>);

/// One line; text on the wire where its value is UTF-8.
#[derive(Clone, PartialEq, Eq)]
struct Line {
    /// Of a text: names come in as `str` only.
    name: Bytes,
    value: Bytes,
}

impl Line {
    fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or("")
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(|line| (line.name(), String::from_utf8_lossy(&line.value))))
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let lines = Vec::<(String, String)>::deserialize(d)?;
        Ok(Self(lines.into_iter().map(|(name, value)| Line { name: name.into(), value: value.into() }).collect()))
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
    /// Copies all lines, most requests' into one allocation.
    pub fn copied<'a>(lines: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        const USUAL_BYTES: usize = 1024;
        const USUAL_LINES: usize = 16;
        let (mut copy, mut all) = (BytesMut::with_capacity(USUAL_BYTES), Vec::with_capacity(USUAL_LINES));
        for (name, value) in lines {
            copy.extend_from_slice(name.as_bytes());
            copy.make_ascii_lowercase();
            let name = copy.split().freeze();
            copy.extend_from_slice(value);
            all.push(Line { name, value: copy.split().freeze() });
        }
        Self(all)
    }

    pub fn push(&mut self, name: &str, value: impl Into<Bytes>) {
        self.0.push(Line { name: name.to_ascii_lowercase().into(), value: value.into() });
    }

    /// Replaces every line of this name by one.
    pub fn set(&mut self, name: &str, value: impl Into<Bytes>) {
        self.remove(name);
        self.push(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|line| !line.is(name));
    }

    /// The first line of this name that is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).find_map(|value| std::str::from_utf8(value).ok())
    }

    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0.iter().filter(move |line| line.is(name)).map(|line| &line.value[..])
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
        self.0.iter().map(|line| (line.name(), &line.value[..]))
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Line::name)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the lines for which `keep(name)` holds; masks the others' values.
    pub fn mask_unless(&mut self, mut keep: impl FnMut(&str) -> bool) {
        for line in &mut self.0 {
            if !keep(line.name()) {
                line.value = Bytes::from_static(crate::redact::MASK.as_bytes());
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
