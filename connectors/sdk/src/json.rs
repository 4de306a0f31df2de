//! Reading JSON that a provider wrote, without losing or rounding anything.

use std::borrow::Cow;

use serde_json::Value;

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
    fn invalid_utf8_is_replaced_and_garbage_refused() {
        let doc = parse(b"{\"a\":\"\xff\"}").unwrap();
        assert_eq!((doc.sanitized, &doc.value["a"]), (true, &Value::from("\u{fffd}")));
        assert_eq!(parse(b"{\"a\":").unwrap_err().code, "malformed_json");
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
