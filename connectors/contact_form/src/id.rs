//! Ids of submissions: the same for a double click and for a browser's second POST, apart for everything else.
//!
//! The key covers the form, what was filled in (secrets masked, so that the redacted input gives the same id) and the
//! files' hashes, with one more part that tells two equal messages apart:
//!
//! 1. the id of the submission: header Idempotency-Key or field `_submission_id`. The hosted page and the embed script
//!    bring one, so that one filled-in form is one message, however often the button is pressed or the answer reloaded.
//!    An id that a page was given counts while its token is young: a copy of the page that somebody keeps elsewhere
//!    must not make one message of two that are a month apart.
//! 2. else the address and a span of `dedupe_seconds` on a fixed grid: two presses on either side of a grid line stay
//!    two events.
//!
//! An id never stands alone: who goes back and sends another text with the same id sends another message, and two
//! visitors of one cached page do not share a conversation.

use std::time::Duration;

use connector_sdk::key::content_key;
use connector_sdk::schemas::{Attachment, FormField};
use connector_sdk::{EventKey, RawEvent};

use crate::form::Form;
use crate::token;
use crate::wire::Submission;

/// The key of a submission; it is its conversation's as well.
pub fn key(
    form: &Form,
    raw: &RawEvent,
    submission: &Submission,
    fields: &[FormField],
    attachments: &[Attachment],
) -> EventKey {
    let content = content(fields, attachments);
    let (scope, apart) = match submission.id(raw).filter(|id| counts(form, raw, submission, id)) {
        Some(id) => ("id", id),
        None => span(form, raw),
    };
    EventKey::new(content_key(&[form.id.as_bytes(), scope.as_bytes(), apart.as_bytes(), content.as_bytes()]))
}

fn counts(form: &Form, raw: &RawEvent, submission: &Submission, id: &str) -> bool {
    let young = Duration::from_secs(form.config.max_seconds);
    // The seal does not matter here: a replay after the secret was changed must give the same id.
    let made_at = submission.token().and_then(token::made_at);
    !id.starts_with(token::PAGE_ID) || made_at.is_some_and(|at| raw.received_at.since(at) <= young)
}

fn span(form: &Form, raw: &RawEvent) -> (&'static str, String) {
    let seconds = i64::try_from(form.config.dedupe_seconds).unwrap_or(i64::MAX);
    if seconds == 0 {
        return ("moment", raw.received_at.to_string());
    }
    let peer = raw.peer.filter(|_| form.config.keep_ip).map(|ip| ip.to_string()).unwrap_or_default();
    ("span", format!("{} {peer}", raw.received_at.unix_seconds().div_euclid(seconds)))
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
