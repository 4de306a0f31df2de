//! Secrets in Slack's bodies: the verification token of old, tokens handed to functions, and URLs that let whoever
//! knows them post into the channel.

use connector_sdk::redact::{MASK, request};
use connector_sdk::{RawEvent, body};
use memchr::memmem;
use serde_json::Value;

use crate::webhook;

/// Fields that hold a secret, at any depth.
const SECRET_FIELDS: &[&str] = &["token", "bot_access_token", "response_url"];
/// Header lines that help to understand an input.
const HEADERS: &[&str] = &["x-slack-request-timestamp", "x-slack-retry-num", "x-slack-retry-reason"];
/// The field of an interactivity form that holds JSON.
const PAYLOAD: &str = "payload";

/// The input without secrets. Works on bytes, so that a body that is no JSON is masked too.
pub fn input(raw: &RawEvent) -> RawEvent {
    let mut raw = request(raw, HEADERS);
    if webhook::is_form(&raw.headers) {
        let fields: Vec<(String, String)> = body::urlencoded(&raw.body)
            .into_iter()
            .map(|(name, value)| {
                let value = match &*name {
                    PAYLOAD => json_text(value.as_bytes()).map_or(value, |masked| {
                        // Only ASCII was put in place of whole strings.
                        String::from_utf8_lossy(&masked).into_owned()
                    }),
                    secret if SECRET_FIELDS.contains(&secret) => MASK.to_owned(),
                    _ => value,
                };
                (name, value)
            })
            .collect();
        raw.body = body::to_urlencoded(fields.iter().map(|(name, value)| (&**name, &**value))).into();
    } else if let Some(masked) = json_text(&raw.body) {
        raw.body = masked.into();
    }
    raw
}

/// Masks the secret fields of a value, at any depth.
pub fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if value.is_string() && SECRET_FIELDS.contains(&name.as_str()) {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(mask),
        _ => {}
    }
}

/// JSON text with the secret fields' strings masked; `None` where there are none. Within a string a quote is always
/// escaped, so `"name"` in the bytes is a name or a whole value, never part of what somebody wrote.
fn json_text(text: &[u8]) -> Option<Vec<u8>> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for field in SECRET_FIELDS {
        let name = format!("\"{field}\"");
        for at in memmem::find_iter(text, name.as_bytes()) {
            spans.extend(string_value(text, at + name.len()));
        }
    }
    if spans.is_empty() {
        return None;
    }
    spans.sort_unstable();
    let mut out = Vec::with_capacity(text.len());
    let mut kept = 0;
    for (start, end) in spans {
        if start < kept {
            continue;
        }
        out.extend_from_slice(&text[kept..start]);
        out.extend_from_slice(MASK.as_bytes());
        kept = end;
    }
    out.extend_from_slice(&text[kept..]);
    Some(out)
}

/// Inside of the string behind `: "` at a place; to the end of the text where it is not closed.
fn string_value(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let skip_space = |from: usize| from + text[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let colon = skip_space(at);
    if text.get(colon) != Some(&b':') {
        return None;
    }
    let quote = skip_space(colon + 1);
    if text.get(quote) != Some(&b'"') {
        return None;
    }
    let start = quote + 1;
    let mut end = start;
    while let Some(byte) = text.get(end) {
        match byte {
            b'"' => return Some((start, end)),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    Some((start, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_whole_values_are_told_apart() {
        let masked = |text: &str| json_text(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(masked(r#"{"text":"token","a":1}"#), None);
        assert_eq!(masked(r#"{"text":"\"token\":\"x\""}"#), None);
        assert_eq!(
            masked(r#"{"token" : "a\"b", "b":{"token":"c"}}"#).unwrap(),
            r#"{"token" : "***", "b":{"token":"***"}}"#
        );
        assert_eq!(masked(r#"{"token":"cut of"#).unwrap(), r#"{"token":"***"#);
        assert_eq!(masked(r#"{"token":"cut\"#).unwrap(), r#"{"token":"***"#);
    }
}
