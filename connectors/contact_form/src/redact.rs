//! The request without what must not be kept: masked headers, passwords, captcha tokens, card numbers, and the address
//! where the form does not keep it. What the event is made of stays, so that a replay gives the same event.

use connector_sdk::{RawEvent, body, redact};
use serde_json::Value;

use crate::config::FieldKind;
use crate::form::Form;
use crate::mask;
use crate::wire::{self, Encoding};

/// Headers that parsing reads or that explain an answer, beyond the usual ones.
const HEADERS: &[&str] = &["accept", "host", "sec-fetch-site"];

/// Masks a request.
pub fn request(form: &Form, raw: &RawEvent) -> RawEvent {
    let mut raw = redact::headers(raw, HEADERS);
    if !form.config.keep_ip {
        raw.peer = None;
    }
    let body = match wire::encoding(&raw) {
        Ok(Encoding::Urlencoded) => urlencoded(form, &raw),
        Ok(Encoding::Json) => json(form, &raw),
        Ok(Encoding::Multipart) => multipart(form, &raw),
        Err(_) => None,
    };
    if let Some(body) = body {
        raw.body = body.into();
    }
    raw
}

/// The masked value, where it differs.
fn masked(form: &Form, key: &str, value: &str) -> Option<String> {
    let kind = form.field(key).map(|field| field.spec.kind);
    let cards = form.config.mask_card_numbers && !matches!(kind, Some(FieldKind::Tel | FieldKind::Email));
    let own = key.starts_with('_');
    let masked = mask::value(key, value, cards && !own);
    (masked != value).then(|| masked.into_owned())
}

/// Only the pairs that hold something are written anew; the others stay byte for byte.
fn urlencoded(form: &Form, raw: &RawEvent) -> Option<Vec<u8>> {
    let mut changed = false;
    let pairs: Vec<Vec<u8>> = raw
        .body
        .split(|b| *b == b'&')
        .map(|pair| {
            let decoded = body::urlencoded(pair).into_iter().next();
            match decoded.and_then(|(key, value)| Some((masked(form, bare(&key), &value)?, key))) {
                Some((value, key)) => {
                    changed = true;
                    body::to_urlencoded([(key.as_str(), value.as_str())]).into_bytes()
                }
                None => pair.to_vec(),
            }
        })
        .collect();
    changed.then(|| pairs.join(&b'&'))
}

fn json(form: &Form, raw: &RawEvent) -> Option<Vec<u8>> {
    let mut document = connector_sdk::json::parse(&raw.body).ok()?.value;
    json_value(form, "", &mut document).then(|| document.to_string().into_bytes())
}

fn json_value(form: &Form, key: &str, value: &mut Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter_mut().fold(false, |hit, (name, value)| {
            let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            json_value(form, &path, value) | hit
        }),
        Value::Array(items) => items.iter_mut().fold(false, |hit, item| json_value(form, key, item) | hit),
        Value::Null => false,
        scalar => {
            let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
            let Some(text) = masked(form, key, &text) else { return false };
            *scalar = Value::from(text);
            true
        }
    }
}

/// A body with something to mask is written anew with the same boundary; files stay as they are.
fn multipart(form: &Form, raw: &RawEvent) -> Option<Vec<u8>> {
    let mut parts = wire::parts(raw).ok()?;
    let mut changed = false;
    for part in parts.iter_mut().filter(|part| part.file_name.is_none()) {
        let text = String::from_utf8_lossy(&part.bytes);
        if let Some(text) = masked(form, bare(&part.name), &text) {
            part.bytes = text.into();
            changed = true;
        }
    }
    let header = raw.headers.get("content-type")?;
    changed.then(|| crate::wire::write_parts(header, &parts)).flatten()
}

fn bare(key: &str) -> &str {
    key.strip_suffix("[]").unwrap_or(key)
}
