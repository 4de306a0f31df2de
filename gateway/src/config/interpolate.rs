//! `${env:NAME}` and `${file:PATH}` in string values.

use serde_json::Value;

use super::document::join;

/// Replaces references in every string below `value`; reports `(path, message)` for those that cannot be resolved.
pub fn interpolate(value: &mut Value, path: &str, problems: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => match resolve(text) {
            Ok(Some(resolved)) => *text = resolved,
            Ok(None) => {}
            Err(message) => problems.push((path.to_owned(), message)),
        },
        Value::Array(list) => {
            for (i, item) in list.iter_mut().enumerate() {
                interpolate(item, &format!("{path}[{i}]"), problems);
            }
        }
        Value::Object(map) => {
            for (key, item) in map.iter_mut() {
                interpolate(item, &join(path, key), problems);
            }
        }
        _ => {}
    }
}

/// `None` = no reference in it.
fn resolve(text: &str) -> Result<Option<String>, String> {
    let mut out = String::new();
    let (mut rest, mut found) = (text, false);
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}') else { return Err(format!("'{}' has no closing '}}'", &rest[at..])) };
        let reference = &rest[at + 2..at + end];
        out.push_str(&rest[..at]);
        out.push_str(&lookup(reference)?);
        rest = &rest[at + end + 1..];
        found = true;
    }
    out.push_str(rest);
    Ok(found.then_some(out))
}

fn lookup(reference: &str) -> Result<String, String> {
    match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_| format!("environment variable {name} is not set; export it or change ${{env:{name}}}")),
        Some(("file", path)) => std::fs::read_to_string(path)
            // Secrets mounted as files usually end in a line break that is not part of them.
            .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .map_err(|error| format!("file {path} cannot be read: {error}")),
        _ => Err(format!("'${{{reference}}}' is not known; write ${{env:NAME}} or ${{file:PATH}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_unknown_references() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(resolve(&format!("a${{file:{}}}b", path.display())).unwrap().as_deref(), Some("as3cretb"));
        assert_eq!(resolve("plain").unwrap(), None);
        assert!(resolve("${nope:x}").unwrap_err().contains("${env:NAME}"));
        assert!(resolve("${env:INLET_TEST_NOT_SET}").unwrap_err().contains("INLET_TEST_NOT_SET"));
        assert!(resolve("${env:X").is_err());
    }
}
