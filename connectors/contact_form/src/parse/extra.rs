//! What a submission says beyond its fields: where it was sent from, by which program, with which consent.

use connector_sdk::schemas::FormField;
use connector_sdk::text::{clean, one_line};
use connector_sdk::{RawEvent, body};
use serde_json::{Map, Value, json};
use url::Url;

use super::UNLISTED;
use crate::form::Form;
use crate::mask;
use crate::roles::Roles;
use crate::wire::{self, Submission};

const UTM_PREFIX: &str = "utm_";

/// The page that holds the form: what the embed says, else the Referer header.
pub fn page_url(raw: &RawEvent, submission: &Submission) -> Option<String> {
    let said = submission.control(wire::PAGE_URL).and_then(|url| http_url(&url));
    said.or_else(|| http_url(raw.headers.get("referer")?))
}

/// The page before that one, as the page or the embed noted it.
pub fn referrer(submission: &Submission) -> Option<String> {
    submission.control(wire::REFERRER).and_then(|url| http_url(&url))
}

/// The sender's language: the browser's own, else the first of Accept-Language.
pub fn locale(raw: &RawEvent, submission: &Submission) -> Option<String> {
    let header = || raw.headers.get("accept-language").map(str::to_owned);
    let said = submission.control(wire::LOCALE).or_else(header)?;
    let first = said.split([',', ';']).next().unwrap_or_default().trim();
    let is_tag = first.len() <= 35 && first.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_tag && !first.is_empty()).then(|| first.to_owned())
}

/// `provider_data` of a submission; absent facts are left out.
pub fn provider_data(
    form: &Form,
    raw: &RawEvent,
    submission: &Submission,
    roles: &Roles,
    fields: &[FormField],
) -> Value {
    let header = |name: &str| raw.headers.get(name).map(one_line);
    let mut data = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            data.insert(name.to_owned(), value);
        }
    };
    put("content_type", raw.headers.media_type().map(Value::from));
    put("ip", raw.peer.filter(|_| form.config.keep_ip).map(|ip| Value::from(ip.to_string())));
    put("user_agent", header("user-agent").map(Value::from));
    put("accept_language", header("accept-language").map(Value::from));
    put("origin", header("origin").map(Value::from));
    put("referrer", referrer(submission).map(Value::from));
    put("honeypot", filled_honeypot(form, submission).map(Value::from));
    put("roles", role_names(roles));
    put("consent", consent(form, fields));
    let query = body::urlencoded(raw.query().unwrap_or_default().as_bytes());
    put("utm", utm(&query, page_url(raw, submission).as_deref(), fields));
    put("query", pairs(form, query));
    put("json_types", Some(Value::Object(submission.json_types.clone())).filter(filled));
    let unlisted = fields.iter().filter(|field| field.field_type.as_deref() == Some(UNLISTED));
    put("unlisted_fields", Some(unlisted.map(|field| Value::from(field.key.clone())).collect()).filter(filled));
    Value::Object(data)
}

fn http_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // Credentials in an address are nobody's business; a password cannot fail to be removed from an http URL.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(url.to_string())
}

fn filled_honeypot(form: &Form, submission: &Submission) -> Option<String> {
    let values = submission.values(&form.config.honeypot_field);
    let text = values.iter().find(|value| !value.trim().is_empty())?;
    Some(mask::value("", &clean(text), form.config.mask_card_numbers).into_owned())
}

fn role_names(roles: &Roles) -> Option<Value> {
    let mut names = Map::new();
    if !roles.name.is_empty() {
        names.insert("name".to_owned(), Value::from(roles.name.clone()));
    }
    let single =
        [("email", &roles.email), ("phone", &roles.phone), ("subject", &roles.subject), ("message", &roles.message)];
    for (role, key) in single {
        if let Some(key) = key {
            names.insert(role.to_owned(), Value::from(key.clone()));
        }
    }
    Some(Value::Object(names)).filter(filled)
}

/// Each consent field with the wording that was shown, its version and whether it was given.
fn consent(form: &Form, fields: &[FormField]) -> Option<Value> {
    let consents = form.fields.iter().filter_map(|field| {
        let version = field.spec.consent.as_ref()?;
        let given = fields.iter().any(|sent| sent.key == field.key() && !sent.values.is_empty());
        Some(json!({ "field": field.key(), "text": field.label, "version": version, "given": given }))
    });
    Some(consents.collect()).filter(filled)
}

/// Campaign parameters: of the page's address, of the request's, of fields; the last one wins.
fn utm(query: &[(String, String)], page_url: Option<&str>, fields: &[FormField]) -> Option<Value> {
    let page = page_url.and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    let page = body::urlencoded(page.split('#').next().unwrap_or_default().as_bytes());
    let of_query = page.iter().chain(query).map(|(key, value)| (key.clone(), one_line(value)));
    let of_fields = fields.iter().filter_map(|field| Some((field.key.clone(), one_line(field.values.first()?))));
    let found = of_query.chain(of_fields).filter(|(key, _)| key.starts_with(UTM_PREFIX));
    let found: Map<String, Value> = found.map(|(key, value)| (key, Value::from(value))).collect();
    Some(Value::Object(found)).filter(filled)
}

fn pairs(form: &Form, query: Vec<(String, String)>) -> Option<Value> {
    let mut object = Map::new();
    for (key, value) in query {
        let value = mask::value(&key, &clean(&value), form.config.mask_card_numbers).into_owned();
        match object.get_mut(&key) {
            None => {
                object.insert(key, Value::from(value));
            }
            Some(Value::Array(values)) => values.push(Value::from(value)),
            Some(single) => *single = Value::from(vec![single.take(), Value::from(value)]),
        }
    }
    Some(Value::Object(object)).filter(filled)
}

fn filled(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
