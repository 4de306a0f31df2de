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

/// Masks the strings at JSON pointers; `*` stands for every element of an array or object. Values that are not there
/// are left alone; a body that is not JSON is returned as it is.
pub fn json_body(raw: &mut RawEvent, pointers: &[&str]) {
    let Ok(mut value) = serde_json::from_slice::<Value>(&raw.body) else { return };
    let mut changed = false;
    for pointer in pointers {
        let steps: Vec<&str> = pointer.split('/').skip(1).collect();
        changed |= mask(&mut value, &steps);
    }
    if changed {
        raw.body = value.to_string().into();
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
    fn masks_by_pointer_with_wildcards() {
        let mut value = json!({"token": "t", "list": [{"k": "a"}, {"k": "b", "z": 1}]});
        assert!(mask(&mut value, &["token"]));
        assert!(mask(&mut value, &["list", "*", "k"]));
        assert!(!mask(&mut value, &["none", "k"]));
        assert_eq!(value, json!({"token": "***", "list": [{"k": "***"}, {"k": "***", "z": 1}]}));
    }
}
