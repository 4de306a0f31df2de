//! Law 6, secrets: no configured secret, token or signature leaves by an event, an error, a Debug text or the redacted input.

use base64::{Engine, engine::general_purpose::STANDARD};
use connector_sdk::{Admission, Connector, Outcome, Parsed, RawEvent};

use crate::subject::{self, Subject};
use crate::{Verdict, options, outcome, proof};

/// A shorter secret would be found by chance.
const SECRET_BYTES_MIN: usize = 8;
/// Forged requests whose refusals are read.
const REFUSALS_MAX: usize = 50;
/// A header of such a name carries a secret or a signature.
const SECRET_HEADERS: &[&str] =
    &["authorization", "cookie", "signature", "token", "secret", "hmac", "password", "api-key"];

/// Looks for every secret in everything that leaves.
pub(super) fn secrets(subject: &Subject) -> Verdict {
    let connector = subject.build()?;
    let secrets = known(subject)?;
    let raw = &subject.case.raw;
    let mut leaves: Vec<(String, String)> = vec![("Debug of the raw input".to_owned(), format!("{raw:?}"))];
    if subject.is_input() {
        let parsed = connector.parse.parse(raw);
        leaves.push(("Debug of what parse gave".to_owned(), format!("{parsed:?}")));
        rejected(&connector, raw, &parsed, &mut leaves);
        leaves.push(("events and errors".to_owned(), outcome::parsed(subject, parsed, raw).json.to_string()));
    }
    leaves.extend(redacted("the redacted input", &connector.parse.redact(raw)));
    if subject.is_request() {
        refusals(subject, &connector, &mut leaves)?;
    }
    for (place, text) in &leaves {
        if let Some((name, _)) = secrets.iter().find(|(_, secret)| text.contains(secret.as_str())) {
            return Err(format!("{place} holds {name}"));
        }
    }
    Ok(())
}

/// Name and text of what must not be seen: configured secrets, declared tokens, secret headers and parameters.
fn known(subject: &Subject) -> Result<Vec<(String, String)>, String> {
    let mut list = Vec::new();
    for (pointer, secret) in options::secrets(&(subject.folder.entry.schema)(), &subject.case.options()) {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "the secret {pointer} of this case is too short to look for; give it {SECRET_BYTES_MIN} bytes"
            ));
        }
        list.push((format!("the configured secret {pointer} in base64"), STANDARD.encode(&secret)));
        list.push((format!("the configured secret {pointer}"), secret));
    }
    let raw = &subject.case.raw;
    let whole = format!("{}\n{}\n{}", raw.uri, header_text(raw), String::from_utf8_lossy(&raw.body));
    for token in &subject.case.file.secrets {
        if !whole.contains(token.as_str()) {
            return Err(format!("case.toml names the secret '{token}', which is not in the input"));
        }
        list.push((format!("the declared token '{token}'"), token.clone()));
    }
    for (name, value) in raw.headers.iter() {
        let value = String::from_utf8_lossy(value);
        if SECRET_HEADERS.iter().any(|part| name.contains(part)) && value.len() >= SECRET_BYTES_MIN {
            list.push((format!("the header {name}"), value.into_owned()));
        }
    }
    let proof = &subject.case.file.admission;
    for name in &proof.query {
        list.extend(proof::query_text(raw, name).map(|value| (format!("the query parameter {name}"), value)));
    }
    for name in &proof.fields {
        list.extend(proof::field_text(raw, name).map(|value| (format!("the field {name}"), value)));
    }
    Ok(list)
}

/// Bytes of rejected items become dead letters: they are redacted as an input of their own.
fn rejected(connector: &Connector, raw: &RawEvent, parsed: &Parsed, leaves: &mut Vec<(String, String)>) {
    for bytes in parsed.rejected.iter().filter_map(|r| r.raw.as_ref()) {
        let mut part = raw.clone();
        part.body = bytes.clone();
        leaves.extend(redacted("a redacted part", &connector.parse.redact(&part)));
    }
}

fn redacted(what: &str, raw: &RawEvent) -> Vec<(String, String)> {
    vec![
        (format!("{what}'s URI"), raw.uri.clone()),
        (format!("{what}'s headers"), header_text(raw)),
        (format!("{what}'s body"), String::from_utf8_lossy(&raw.body).into_owned()),
    ]
}

fn header_text(raw: &RawEvent) -> String {
    raw.headers.iter().map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value))).collect()
}

/// What a forger reads in answers.
fn refusals(subject: &Subject, connector: &Connector, leaves: &mut Vec<(String, String)>) -> Verdict {
    let webhook = subject::webhook(connector)?;
    let forged = proof::forgeries(&subject.case.file.admission, &subject.case.raw);
    for forgery in forged.iter().take(REFUSALS_MAX) {
        if let Admission::Refuse(refusal) = subject::admit(webhook, &forgery.raw, subject.case.clock)? {
            leaves.push(("a refusal".to_owned(), format!("{refusal:?}")));
            let reply = webhook.reply(&forgery.raw, &Outcome::Refused(refusal));
            leaves.push(("the answer to a forger".to_owned(), String::from_utf8_lossy(&reply.body).into_owned()));
        }
    }
    Ok(())
}
