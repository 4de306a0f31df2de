//! The request without what must not be kept: masked headers, passwords, captcha tokens, card numbers, and the address
//! where the form does not keep it. What the event is made of stays, so that a replay gives the same event.

use connector_sdk::{RawEvent, redact};
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

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
    if let Some(query) = raw.query().and_then(|query| urlencoded(form, query.as_bytes())) {
        let path = raw.uri.split('?').next().unwrap_or_default();
        raw.uri = format!("{path}?{}", String::from_utf8_lossy(&query));
    }
    let body = match wire::encoding(&raw) {
        Ok(Encoding::Urlencoded) => urlencoded(form, &raw.body),
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
fn masked(form: &Form, key: &str, value: &[u8]) -> Option<Vec<u8>> {
    let key = key.strip_suffix("[]").unwrap_or(key);
    let kind = form.field(key).map(|field| field.spec.kind);
    // Tokens and ids of the form itself are long numbers as well.
    let is_control = key.starts_with('_');
    let is_exempt = is_control || matches!(kind, Some(FieldKind::Tel | FieldKind::Email));
    mask::bytes(key, value, form.config.mask_card_numbers && !is_exempt)
}

/// Only the pairs that hold something are written anew; the others stay byte for byte.
fn urlencoded(form: &Form, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut changed = false;
    let pairs: Vec<Vec<u8>> = bytes
        .split(|b| *b == b'&')
        .map(|pair| {
            let (key, value) = wire::urlencoded::pair(pair);
            let Some(value) = masked(form, &String::from_utf8_lossy(&key), &value) else { return pair.to_vec() };
            changed = true;
            let write = |bytes: &[u8]| byte_serialize(bytes).collect::<String>();
            format!("{}={}", write(&key), write(&value)).into_bytes()
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
            let Some(text) = masked(form, key, text.as_bytes()) else { return false };
            *scalar = Value::from(String::from_utf8_lossy(&text));
            true
        }
    }
}

/// A body with something to mask is written anew with the same boundary; files stay as they are.
fn multipart(form: &Form, raw: &RawEvent) -> Option<Vec<u8>> {
    let mut parts = wire::parts(raw).ok()?;
    let mut changed = false;
    for part in parts.iter_mut().filter(|part| part.file_name.is_none()) {
        if let Some(bytes) = masked(form, &part.name, &part.bytes) {
            part.bytes = bytes.into();
            changed = true;
        }
    }
    let header = raw.headers.get("content-type")?;
    changed.then(|| crate::wire::write_parts(header, &parts)).flatten()
}
