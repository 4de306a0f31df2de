//! The wire format: form parameters, and the text that Twilio signs.

use std::collections::BTreeMap;

use connector_sdk::{RawEvent, body};
use serde_json::{Map, Value};

/// Name of the query parameter that carries the hash of a body that is no form.
pub const BODY_HASH_PARAM: &str = "bodySHA256";

/// Whether a query parameter is Twilio's own, by the way in which it writes names.
pub fn is_own_parameter(name: &str) -> bool {
    name == BODY_HASH_PARAM || name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// Parameters of a callback, by name; values in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct Params(BTreeMap<String, Vec<String>>);

impl Params {
    /// Of a request: the query's for GET, the form's for POST.
    pub fn of(raw: &RawEvent) -> Self {
        let bytes = if raw.method == "GET" { raw.query().unwrap_or_default().as_bytes() } else { &raw.body[..] };
        Self::from_pairs(body::urlencoded(bytes))
    }

    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut params = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs {
            params.entry(name).or_default().push(value);
        }
        Self(params)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value, also where it is empty.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// The first value; absent and empty are `None`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Everything but the named parameters, as JSON: a string each, or a list where a name came more than once.
    pub fn rest(&self, used: &[&str]) -> Option<Value> {
        let rest: Map<String, Value> = self
            .0
            .iter()
            .filter(|(name, _)| !used.contains(&name.as_str()))
            .map(|(name, values)| (name.clone(), json(values)))
            .collect();
        (!rest.is_empty()).then_some(Value::Object(rest))
    }

    /// What is signed after the URL: every name and value without separators, names in byte order, the values of a
    /// repeated name sorted and without doubles.
    pub fn signed_text(&self) -> String {
        let mut text = String::new();
        for (name, values) in &self.0 {
            let mut values: Vec<&String> = values.iter().collect();
            values.sort();
            values.dedup();
            for value in values {
                text.push_str(name);
                text.push_str(value);
            }
        }
        text
    }
}

fn json(values: &[String]) -> Value {
    match values {
        [one] => Value::from(one.as_str()),
        many => many.iter().map(String::as_str).collect(),
    }
}

/// Whether the body is a form, whose parameters are signed one by one, rather than hashed as a whole.
pub fn is_form(raw: &RawEvent) -> bool {
    match raw.headers.media_type() {
        Some(media_type) => media_type == "application/x-www-form-urlencoded",
        None => true,
    }
}

/// The URLs that the signature may be over: as called, and with the scheme's default port put in or left out. The
/// sender is not consistent about ports; its own SDKs accept either.
pub fn url_variants(url: &str) -> Vec<String> {
    let mut variants = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return variants };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // An IPv6 literal has colons of its own, within brackets.
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    match (port_at, scheme) {
        (Some(at), _) => variants.push(format!("{scheme}://{}{tail}", &authority[..at])),
        (None, "https") => variants.push(format!("{scheme}://{authority}:443{tail}")),
        (None, "http") => variants.push(format!("{scheme}://{authority}:80{tail}")),
        (None, _) => {}
    }
    variants
}

/// The hash that the URL promises for the body, hex.
pub fn body_hash(raw: &RawEvent) -> Option<String> {
    let query = raw.query()?;
    body::urlencoded(query.as_bytes()).into_iter().find(|(name, _)| name == BODY_HASH_PARAM).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_port_variants() {
        for (url, other) in [
            ("https://a.example/x?y=1", "https://a.example:443/x?y=1"),
            ("https://a.example:443/x", "https://a.example/x"),
            ("http://a.example?y=:1", "http://a.example:80?y=:1"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:8443/x", "https://[::1]/x"),
        ] {
            assert_eq!(url_variants(url), [url, other]);
        }
    }
}
