//! Reading JSON that a provider wrote, without losing or rounding anything.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::parse::Rejected;

/// A JSON document, and whether something illegal in it had to be replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub value: Value,
    /// Lone surrogates or invalid UTF-8 became U+FFFD.
    pub sanitized: bool,
}

/// Parses a body. Invalid UTF-8 and lone `\ud800` escapes are replaced rather than refused: one broken emoji must not
/// cost a message. Depth is limited (128 levels), so hostile nesting is an error, not a stack overflow.
pub fn parse(bytes: &[u8]) -> Result<Document, Rejected> {
    let first_error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(Document { value, sanitized: false }),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    let mended = mend_surrogates(&text);
    if matches!(text, Cow::Borrowed(_)) && matches!(mended, Cow::Borrowed(_)) {
        return Err(malformed(&first_error));
    }
    serde_json::from_str(&mended).map(|value| Document { value, sanitized: true }).map_err(|e| malformed(&e))
}

fn malformed(error: &serde_json::Error) -> Rejected {
    // serde_json's message may quote input; the category and place are enough.
    let what = match error.classify() {
        serde_json::error::Category::Eof => "ends early",
        _ => "is not JSON",
    };
    Rejected::whole("malformed_json", format!("body {what} at line {} column {}", error.line(), error.column()))
}

/// JSON text that was looked through and can be passed on as it is: no lone surrogate, no number out of range, no nesting
/// that a parser would refuse. Nothing is taken apart, so it costs a fraction of a [`Value`].
#[derive(Clone, Copy, Debug)]
pub struct SoundText<'a>(pub &'a RawValue);

impl<'de> Deserialize<'de> for SoundText<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(d)?;
        if suspicious(raw.get()) {
            serde_json::from_str::<Looked>(raw.get()).map_err(D::Error::custom)?;
        }
        Ok(Self(raw))
    }
}

/// Whether JSON by its form could hold what parsers refuse: an escape, a number with an exponent or of many digits,
/// or nesting. Says yes too often, but never no to such a text.
fn suspicious(text: &str) -> bool {
    const DIGITS_MAX: usize = 300;
    const OPENED_MAX: usize = 64;
    let bytes = text.as_bytes();
    let opened = bytes.iter().filter(|b| matches!(b, b'[' | b'{')).count();
    // To the end without branches, which compilers turn into steps of many bytes.
    let odd = bytes.windows(2).fold(false, |odd, pair| {
        let exponent = pair[0].is_ascii_digit() & (pair[1] | 0x20 == b'e');
        odd | exponent | ((pair[0] == b'\\') & (pair[1] == b'u'))
    });
    let digits = || bytes.split(|b| !b.is_ascii_digit()).any(|run| run.len() > DIGITS_MAX);
    opened > OPENED_MAX || odd || (bytes.len() > DIGITS_MAX && digits())
}

/// Visits everything and keeps nothing.
struct Looked;

impl<'de> Deserialize<'de> for Looked {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Looked)
    }
}

impl<'de> Visitor<'de> for Looked {
    type Value = Looked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_unit<E: Error>(self) -> Result<Looked, E> {
        Ok(Looked)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Looked, A::Error> {
        while seq.next_element::<Looked>()?.is_some() {}
        Ok(Looked)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Looked, A::Error> {
        while map.next_entry::<Looked, Looked>()?.is_some() {}
        Ok(Looked)
    }
}

/// Replaces `\uD8xx`/`\uDCxx` escapes that are not half of a pair by `\ufffd`.
fn mend_surrogates(text: &str) -> Cow<'_, str> {
    const ESCAPE_BYTES: usize = 6;
    let unit = |at: usize| -> Option<u16> {
        let escape = text.as_bytes().get(at..at + ESCAPE_BYTES)?;
        if &escape[..2] != b"\\u" {
            return None;
        }
        u16::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
    };
    let bytes = text.as_bytes();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + ESCAPE_BYTES), Some(0xDC00..=0xDFFF)) => at += 2 * ESCAPE_BYTES,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&text[kept..at]);
                out.push_str("\\ufffd");
                at += ESCAPE_BYTES;
                kept = at;
            }
            Some(_) => at += ESCAPE_BYTES,
            // Any other escape is two bytes; skipping both keeps `\\u` from being read as an escape.
            None => at += 2,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// The string at a pointer; absent, null and empty are `None`.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// An id at a pointer, whether the provider wrote a string or a number; digits are kept exactly.
pub fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_pairs_kept() {
        let doc = parse(br#"{"a":"x\ud83d y","b":"\ud83d\ude00","c":"\\ud83d"}"#).unwrap();
        assert!(doc.sanitized);
        assert_eq!(doc.value["a"], "x\u{fffd} y");
        assert_eq!(doc.value["b"], "😀");
        assert_eq!(doc.value["c"], "\\ud83d");
        assert!(!parse(br#"{"a":"\ud83d\ude00"}"#).unwrap().sanitized);
    }

    #[test]
    fn sound_text_is_what_a_value_could_be_made_of() {
        let sound = |text: &str| serde_json::from_str::<SoundText<'_>>(text).is_ok();
        assert!(sound(r#"{"a": [1, -2.5e3, null, true, "\ud83d\ude00\n"]}"#));
        for bad in [r#""\ud83d""#, "[1e999]", "[-1E+400]", &"9".repeat(400), &"[".repeat(1000), r#"{"a":}"#] {
            assert!(!sound(bad), "{bad}");
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn invalid_utf8_is_replaced_and_garbage_refused() {
        let doc = parse(b"{\"a\":\"\xff\"}").unwrap();
        assert_eq!((doc.sanitized, &doc.value["a"]), (true, &Value::from("\u{fffd}")));
        assert_eq!(parse(b"{\"a\":").unwrap_err().code, "malformed_json");
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
