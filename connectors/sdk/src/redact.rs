//! Masking of secrets before anything is stored.

use serde_json::Value;

use crate::raw::RawEvent;

/// What stands in place of a masked value.
pub const MASK: &str = "***";

/// Headers that never carry a secret and help to understand an input. All others are masked.
const ALLOWED: &[&str] = &[
    "accept-language",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "idempotency-key",
    "origin",
    "referer",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
];

/// The input with every header masked that is neither harmless in general, nor Inlet's own (`inlet-…`), nor in `allowed`.
pub fn headers(raw: &RawEvent, allowed: &[&str]) -> RawEvent {
    let mut raw = raw.clone();
    raw.headers.mask_unless(|name| name.starts_with("inlet-") || ALLOWED.contains(&name) || allowed.contains(&name));
    raw
}

/// Words of a name that say that its value may be a secret.
const SECRET_WORDS: &[&str] = &["auth", "credential", "hmac", "key", "pass", "pwd", "secret", "sess", "sig", "token"];

/// The input with headers as in [`headers`], and the values of all query parameters masked: a token in the URL that was
/// given to a provider must not reach a topic. Connectors that read parameters keep those by [`query`].
pub fn request(raw: &RawEvent, allowed_headers: &[&str]) -> RawEvent {
    let mut raw = headers(raw, allowed_headers);
    query(&mut raw, |_| false);
    raw
}

/// Masks the values of the URI's query parameters that `keep` does not let through, the rest byte for byte. A part
/// without `=` is a value too. Names are as they stand there, percent-encoding kept.
pub fn query(raw: &mut RawEvent, keep: impl Fn(&str) -> bool) {
    let Some((path, rest)) = raw.uri.split_once('?') else { return };
    let (query, fragment) = match rest.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (rest, None),
    };
    let masked: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if !keep(name) => format!("{name}={MASK}"),
            None if !pair.is_empty() && !keep(pair) => MASK.to_owned(),
            _ => pair.to_owned(),
        })
        .collect();
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    raw.uri = format!("{path}?{}{fragment}", masked.join("&"));
}

/// Whether a name of a parameter or field says that its value may be a secret.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Masks the strings at JSON pointers; `*` stands for every element of an array or object. Values that are not there
/// are left alone. In a body that is not JSON (cut off, a lone surrogate) every text behind one of the pointers' last
/// keys is masked, wherever it stands: what nobody can parse becomes a dead letter, and must hold no secret either.
pub fn json_body(raw: &mut RawEvent, pointers: &[&str]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(&raw.body) else {
        for key in pointers.iter().filter_map(|pointer| pointer.rsplit('/').next()).filter(|key| *key != "*") {
            mask_text_behind(raw, key);
        }
        return;
    };
    let mut changed = false;
    for pointer in pointers {
        let steps: Vec<&str> = pointer.split('/').skip(1).collect();
        changed |= mask(&mut value, &steps);
    }
    if changed {
        raw.body = value.to_string().into();
    }
}

/// Masks what stands between the quotes behind `"key":`, up to the end where the closing quote is missing.
fn mask_text_behind(raw: &mut RawEvent, key: &str) {
    let quoted = format!("\"{key}\"").into_bytes();
    let body = &raw.body[..];
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(found) = body[at..].windows(quoted.len()).position(|window| window == quoted) {
        let behind = at + found + quoted.len();
        let gap = body[behind..].iter().take_while(|b| b.is_ascii_whitespace() || **b == b':').count();
        let start = behind + gap;
        out.extend_from_slice(&body[at..start]);
        at = start;
        if gap > 0 && body.get(start) == Some(&b'"') {
            let text = &body[start + 1..];
            let mut escaped = false;
            let end = text.iter().position(|b| {
                let ends = *b == b'"' && !escaped;
                escaped = *b == b'\\' && !escaped;
                ends
            });
            out.extend_from_slice(format!("\"{MASK}").as_bytes());
            at = start + 1 + end.unwrap_or(text.len());
        }
    }
    if at > 0 {
        out.extend_from_slice(&body[at..]);
        raw.body = out.into();
    }
}

/// Masks the value at a pointer of steps; true where something was masked.
pub fn mask(value: &mut Value, steps: &[&str]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        if value.is_null() {
            return false;
        }
        *value = Value::from(MASK);
        return true;
    };
    match value {
        Value::Object(map) if *step == "*" => map.values_mut().fold(false, |hit, v| mask(v, rest) | hit),
        Value::Array(list) if *step == "*" => list.iter_mut().fold(false, |hit, v| mask(v, rest) | hit),
        Value::Object(map) => map.get_mut(*step).is_some_and(|v| mask(v, rest)),
        Value::Array(list) => step.parse::<usize>().ok().and_then(|i| list.get_mut(i)).is_some_and(|v| mask(v, rest)),
        _ => false,
    }
}

/// Masks the named fields of an urlencoded body, the rest byte for byte.
pub fn urlencoded_body(raw: &mut RawEvent, fields: &[&str]) {
    let Ok(text) = std::str::from_utf8(&raw.body) else { return };
    let masked: Vec<String> = text
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if fields.contains(&name) => format!("{name}={MASK}"),
            _ => pair.to_owned(),
        })
        .collect();
    raw.body = masked.join("&").into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn masks_in_what_is_no_json() {
        let mut raw = RawEvent::new(
            crate::Wire::Http,
            "{\"a\": {\"token\" : \"x\\\"y\", \"b\":\"c\"}, \"token\":\"z",
            crate::Timestamp::UNIX_EPOCH,
        );
        json_body(&mut raw, &["/a/token", "/list/*"]);
        assert_eq!(raw.body, "{\"a\": {\"token\" : \"***\", \"b\":\"c\"}, \"token\":\"***");
    }

    #[test]
    fn d13_query_values_are_masked_unless_kept() {
        let masked = |uri: &str| {
            let mut raw = RawEvent::new(crate::Wire::Http, "", crate::Timestamp::UNIX_EPOCH);
            raw.uri = uri.to_owned();
            query(&mut raw, |name| name == "page");
            raw.uri
        };
        assert_eq!(masked("https://a/in/x?token=t0k&page=2&&bare#f"), "https://a/in/x?token=***&page=2&&***#f");
        assert_eq!(masked("https://a/in/x"), "https://a/in/x");
        assert!(names_a_secret("X-Access_Token") && names_a_secret("apiKey") && !names_a_secret("page"));
    }

    #[test]
    fn masks_by_pointer_with_wildcards() {
        let mut value = json!({"token": "t", "list": [{"k": "a"}, {"k": "b", "z": 1}]});
        assert!(mask(&mut value, &["token"]));
        assert!(mask(&mut value, &["list", "*", "k"]));
        assert!(!mask(&mut value, &["none", "k"]));
        assert_eq!(value, json!({"token": "***", "list": [{"k": "***"}, {"k": "***", "z": 1}]}));
    }
}
