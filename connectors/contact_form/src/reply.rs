//! Answers: JSON for scripts, pages for people. A person never loses what was typed.

use std::time::Duration;

use connector_sdk::{Outcome, RawEvent, Refusal, RefusalKind, Reply, Timestamp};
use serde_json::json;

use crate::check::{FieldError, bytes};
use crate::form::Form;
use crate::origin;
use crate::page::{self, View};
use crate::spam;
use crate::token::{self, Token};
use crate::webhook::Place;
use crate::wire::{self, Submission, WireError};

/// An answer that is a page.
pub fn html(form: &Form, status: u16, page: String) -> Reply {
    Reply::new(status, "text/html; charset=utf-8", page)
        .header("content-security-policy", form.csp.clone())
        .header("x-content-type-options", "nosniff")
        // With `no-referrer` browsers would send the form with `Origin: null`.
        .header("referrer-policy", "same-origin")
        .header("cache-control", "no-store")
}

/// An answer for a script, readable by allowed sites.
pub fn json(form: &Form, raw: &RawEvent, status: u16, value: &serde_json::Value) -> Reply {
    let reply = Reply::json(status, value).header("cache-control", "no-store");
    origin::share(form, raw, reply.header("x-content-type-options", "nosniff"))
}

/// Whether a script asks: it sent JSON, or wants it and no page.
fn wants_json(raw: &RawEvent) -> bool {
    let accept = raw.headers.get("accept").unwrap_or_default();
    raw.headers.media_type().as_deref() == Some("application/json")
        || (accept.contains("application/json") && !accept.contains("text/html"))
        || Place::of(raw).below == "/token"
}

/// What became of a submission.
pub fn outcome(form: &Form, raw: &RawEvent, outcome: &Outcome) -> Reply {
    match outcome {
        // A dead letter is kept as well, and the sender cannot mend it.
        Outcome::Safe { event_ids } => safe(form, raw, event_ids.first().map(String::as_str)),
        Outcome::DeadLettered => safe(form, raw, None),
        // Browsers do not send again by themselves: the page asks the person to, with everything still typed in.
        Outcome::NotSafeNow { retry_after } => waiting(form, raw, 503, "not_safe", *retry_after),
        Outcome::OverRate { retry_after } => waiting(form, raw, 429, "over_rate", *retry_after),
        Outcome::TooLarge { limit_bytes } => {
            let message = form.texts.fill("body_too_large", &[("max", &bytes(*limit_bytes))]);
            problem(form, raw, 413, "body_too_large", message)
        }
        Outcome::Refused(refusal) => refusal.reply.clone().unwrap_or_else(|| refused(form, raw, refusal)),
    }
}

fn safe(form: &Form, raw: &RawEvent, id: Option<&str>) -> Reply {
    if wants_json(raw) {
        let thanks = form.config.thanks.as_deref().unwrap_or_else(|| form.texts.get("thanks"));
        let mut body = json!({ "ok": true, "message": thanks });
        if let Some(id) = id {
            body["id"] = id.into();
        }
        if let Some(redirect) = &form.config.redirect {
            body["redirect"] = redirect.as_str().into();
        }
        return json(form, raw, 200, &body);
    }
    let place = Place::of(raw);
    // Relative, so that it holds behind any proxy; 303, so that a reload does not send again.
    let thanks = if place.below == "/" { "thanks".to_owned() } else { format!("./{}/thanks", place.instance) };
    let location = form.config.redirect.clone().unwrap_or(thanks);
    Reply::status(303).header("location", location).header("cache-control", "no-store")
}

fn waiting(form: &Form, raw: &RawEvent, status: u16, code: &'static str, after: Duration) -> Reply {
    // Whole seconds, and never 0, which some clients read as 'at once'.
    let seconds = after.as_millis().div_ceil(1000).max(1).to_string();
    let message = form.texts.fill(code, &[("seconds", &seconds)]);
    problem(form, raw, status, code, message).header("retry-after", seconds)
}

/// An answer about the whole request, with what was typed where it can be read.
fn problem(form: &Form, raw: &RawEvent, status: u16, code: &'static str, message: String) -> Reply {
    if wants_json(raw) {
        return errors_json(form, raw, status, &message, &[FieldError::whole(code, message.clone())], None);
    }
    match wire::read(raw) {
        Ok(typed) if raw.method == "POST" => {
            let token = next_token(form, &typed, raw.received_at);
            html(form, status, filled_page(form, &typed, token, &[], Some(message)))
        }
        _ => html(form, status, page::notice(form, form.texts.get("error"), &message, None)),
    }
}

fn refused(form: &Form, raw: &RawEvent, refusal: &Refusal) -> Reply {
    let code = match refusal.kind {
        RefusalKind::MediaType => "media_type",
        RefusalKind::NotFound => "not_found",
        RefusalKind::Forbidden => "e_origin",
        RefusalKind::Malformed | RefusalKind::Signature | RefusalKind::Invalid => "malformed",
    };
    problem(form, raw, refusal.kind.status(), refusal.kind.as_str(), form.texts.get(code).to_owned())
}

/// Refuses a path that is not there.
pub fn not_found(form: &Form, raw: &RawEvent) -> Refusal {
    let refusal = Refusal::new(RefusalKind::NotFound, "no such page below the form");
    let reply = refused(form, raw, &refusal);
    refusal.with_reply(reply)
}

/// Refuses a site that is not on the allow-list.
pub fn forbidden(form: &Form, raw: &RawEvent) -> Refusal {
    let refusal = Refusal::new(RefusalKind::Forbidden, "origin is not in allowed_origins");
    let reply = refused(form, raw, &refusal);
    refusal.with_reply(reply)
}

/// Refuses a body that cannot be read.
pub fn unreadable(form: &Form, raw: &RawEvent, error: &WireError) -> Refusal {
    let kind = match error {
        WireError::MediaType(_) => RefusalKind::MediaType,
        WireError::Malformed(_) | WireError::TooMany => RefusalKind::Malformed,
    };
    let refusal = Refusal::new(kind, error.detail());
    let reply = refused(form, raw, &refusal);
    refusal.with_reply(reply)
}

/// Refuses a submission with field errors.
pub fn invalid(form: &Form, raw: &RawEvent, typed: &Submission, errors: &[FieldError], now: Timestamp) -> Refusal {
    let codes: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.code)).collect();
    let reply = if wants_json(raw) {
        errors_json(form, raw, 422, form.texts.get("errors"), errors, None)
    } else {
        html(form, 422, filled_page(form, typed, next_token(form, typed, now), errors, None))
    };
    Refusal::new(RefusalKind::Invalid, format!("fields with errors ({})", codes.join(", "))).with_reply(reply)
}

/// Refuses suspected spam so that a person can send it again.
pub fn suspected(form: &Form, raw: &RawEvent, typed: &Submission, reasons: &[&'static str], now: Timestamp) -> Refusal {
    let first = reasons.first().copied().unwrap_or_default();
    let (kind, text) = match first {
        spam::HONEYPOT => (RefusalKind::Invalid, "e_spam"),
        spam::TOO_FAST => (RefusalKind::Invalid, "e_too_fast"),
        spam::ORIGIN => (RefusalKind::Forbidden, "e_origin"),
        _ => (RefusalKind::Invalid, "e_token"),
    };
    let message = form.texts.get(text).to_owned();
    let token = next_token(form, typed, now);
    let reply = if wants_json(raw) {
        errors_json(form, raw, kind.status(), &message, &[FieldError::whole(first, message.clone())], Some(token))
    } else {
        html(form, kind.status(), filled_page(form, typed, token, &[], Some(message)))
    };
    Refusal::new(kind, format!("looks like spam ({})", reasons.join(", "))).with_reply(reply)
}

fn errors_json(
    form: &Form,
    raw: &RawEvent,
    status: u16,
    message: &str,
    errors: &[FieldError],
    token: Option<String>,
) -> Reply {
    let errors: Vec<_> = errors
        .iter()
        .map(|error| json!({ "field": error.field, "code": error.code, "message": error.message }))
        .collect();
    let mut body = json!({ "ok": false, "message": message, "errors": errors });
    if let Some(token) = token {
        body["token"] = token.into();
    }
    json(form, raw, status, &body)
}

fn filled_page(
    form: &Form,
    typed: &Submission,
    token: String,
    errors: &[FieldError],
    banner: Option<String>,
) -> String {
    let referrer = typed.control(wire::REFERRER);
    // The same page, so that what is sent again is the same message.
    let submission_id = typed.control(wire::SUBMISSION_ID).unwrap_or_default();
    page::page(form, &View { token, submission_id, typed: Some(typed), errors, banner, referrer })
}

/// The token of a page that is shown again. A good one goes on ageing; one that was good once is replaced by one that is old enough, so that nobody waits.
fn next_token(form: &Form, typed: &Submission, now: Timestamp) -> String {
    let secrets = &form.config.secret;
    match (spam::token(form, typed, now), typed.token()) {
        (Token::Sealed { age }, Some(token)) if age.as_secs() <= form.config.max_seconds => token.to_owned(),
        (Token::Sealed { .. }, _) => aged_token(form, now),
        (Token::Missing | Token::Invalid, _) => token::issue(secrets, &form.id, now),
    }
}

/// A token that is just old enough at `now`.
pub fn aged_token(form: &Form, now: Timestamp) -> String {
    token::issue(&form.config.secret, &form.id, now.minus(Duration::from_secs(form.config.min_seconds)))
}
