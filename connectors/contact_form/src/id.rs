//! Ids of submissions: the same for a double click and for a browser's second POST, apart for everything else.
//!
//! The key covers the form, what was filled in (secrets masked, so that the redacted input gives the same id) and the
//! files' hashes, with one more part that tells two equal messages apart:
//!
//! 1. the id that the sender gave (Idempotency-Key, `_submission_id`), where there is one;
//! 2. else the page's token, while it is young enough: one page sends one message once, however often the button is
//!    pressed or the page reloaded;
//! 3. else the address and a span of `dedupe_seconds` on a fixed grid: two presses on either side of a grid line stay
//!    two events.
//!
//! An id of the sender never stands alone: who goes back and sends another text with the same id sends another message.

use std::time::Duration;

use connector_sdk::key::content_key;
use connector_sdk::schemas::{Attachment, FormField};
use connector_sdk::{EventKey, RawEvent};

use crate::form::Form;
use crate::token;
use crate::wire::Submission;

/// Key of the event and of its conversation.
pub struct Ids {
    pub event: EventKey,
    /// The sender's id of the submission, else the event's.
    pub submission: String,
}

/// Makes the ids of a submission.
pub fn make(
    form: &Form,
    raw: &RawEvent,
    submission: &Submission,
    fields: &[FormField],
    attachments: &[Attachment],
) -> Ids {
    let content = content(fields, attachments);
    let own = submission.id(raw);
    let (scope, apart) = match &own {
        Some(id) => ("id", id.clone()),
        None => occasion(form, raw, submission),
    };
    let parts: [&[u8]; 4] = [form.id.as_bytes(), scope.as_bytes(), apart.as_bytes(), content.as_bytes()];
    let key = content_key(&parts);
    Ids { submission: own.unwrap_or_else(|| key.clone()), event: EventKey::new(key) }
}

fn occasion(form: &Form, raw: &RawEvent, submission: &Submission) -> (&'static str, String) {
    let span_seconds = i64::try_from(form.config.dedupe_seconds).unwrap_or(i64::MAX);
    if span_seconds == 0 {
        return ("moment", raw.received_at.to_string());
    }
    let young = Duration::from_secs(form.config.max_seconds);
    let token = submission.token().filter(|token| {
        // The seal does not matter here: a replay after the secret was changed must give the same id.
        token::made_at(token).is_some_and(|at| raw.received_at.since(at) <= young)
    });
    match token {
        Some(token) => ("page", token.to_owned()),
        None => {
            let peer = raw.peer.filter(|_| form.config.keep_ip).map(|ip| ip.to_string()).unwrap_or_default();
            ("span", format!("{} {peer}", raw.received_at.unix_seconds().div_euclid(span_seconds)))
        }
    }
}

fn content(fields: &[FormField], attachments: &[Attachment]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for field in fields.iter().filter(|field| !field.values.is_empty()) {
        let values: Vec<&[u8]> = field.values.iter().map(String::as_bytes).collect();
        // Hashed on its own, so that a value of one field cannot pass as the key of the next.
        parts.push(format!("{}={}", field.key, content_key(&values)));
    }
    for attachment in attachments {
        let sha256 = attachment.blob.as_ref().map_or("", |blob| &blob.sha256);
        parts.push(format!("{}:{sha256}", attachment.id));
    }
    content_key(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}
