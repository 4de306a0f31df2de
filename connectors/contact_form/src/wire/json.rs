//! A JSON object as a submission: nested objects become dotted keys, arrays several values.

use connector_sdk::json;
use connector_sdk::schemas::Charset;
use serde_json::Value;

use super::{FIELDS_MAX, Submission, WireError};

/// Reads an object; anything else at the top is malformed.
pub fn read(body: &[u8]) -> Result<Submission, WireError> {
    let document = json::parse(body).map_err(|rejected| WireError::Malformed(rejected.detail))?;
    let Value::Object(fields) = document.value else {
        return Err(WireError::Malformed("the JSON is not an object".to_owned()));
    };
    let mut submission = Submission::default();
    for (key, value) in &fields {
        add(&mut submission, key, value)?;
    }
    if document.sanitized {
        submission.charset = Some(Charset { declared: None, used: "utf-8".to_owned(), lossy: true });
    }
    Ok(submission)
}

fn add(submission: &mut Submission, key: &str, value: &Value) -> Result<(), WireError> {
    if submission.count() > FIELDS_MAX {
        return Err(WireError::TooMany);
    }
    match value {
        Value::String(text) => submission.add(key, text.clone()),
        Value::Object(inner) if !inner.is_empty() => {
            for (name, value) in inner {
                add(submission, &format!("{key}.{name}"), value)?;
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate() {
                add(submission, &format!("{key}.{at}"), item)?;
            }
        }
        Value::Array(items) => {
            submission.declare(key);
            for item in items {
                add(submission, key, item)?;
            }
        }
        other => {
            let (kind, text) = scalar(other);
            submission.json_types.insert(key.to_owned(), Value::from(kind));
            submission.add(key, text);
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> (&'static str, String) {
    match value {
        Value::Null => ("null", String::new()),
        Value::Bool(yes) => ("boolean", yes.to_string()),
        Value::Number(number) => ("number", number.to_string()),
        other => ("object", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_keep_their_place_and_type() {
        let request = include_bytes!("../../fixtures/json_nested/input.http");
        let raw = connector_sdk::fixture::http_request(request, "", connector_sdk::Timestamp::UNIX_EPOCH).unwrap();
        let submission = read(&raw.body).unwrap();
        assert_eq!(submission.values("address.city"), ["Köln"]);
        assert_eq!(submission.values("topics"), ["a", "b"]);
        assert_eq!(submission.values("children.1.age"), ["7"]);
        assert_eq!(submission.values("order"), ["12345678901234567890"]);
        assert_eq!(submission.json_types["newsletter"], "boolean");
        assert_eq!(submission.token(), Some("t"));
        assert!(matches!(read(b"[1]"), Err(WireError::Malformed(_))));
    }
}
