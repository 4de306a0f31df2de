//! Signs that a program filled the form in. They mark a submission; the policy may refuse it, nothing drops it.

use std::time::Duration;

use connector_sdk::{RawEvent, Timestamp};

use crate::form::Form;
use crate::origin::{self, Origin};
use crate::token::{self, Token};
use crate::wire::Submission;

pub const HONEYPOT: &str = "honeypot";
pub const TOO_FAST: &str = "too_fast";
pub const TOKEN_EXPIRED: &str = "token_expired";
pub const TOKEN_INVALID: &str = "token_invalid";
pub const TOKEN_MISSING: &str = "token_missing";
pub const ORIGIN: &str = "origin";

/// What the time-trap token of a submission says at `now`.
pub fn token(form: &Form, submission: &Submission, now: Timestamp) -> Token {
    token::check(&form.config.secret, &form.id, submission.token(), now)
}

/// Reasons to suspect a submission, as `provenance.spam.reasons` names them.
pub fn reasons(form: &Form, raw: &RawEvent, submission: &Submission, now: Timestamp) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    if submission.values(&form.config.honeypot_field).iter().any(|value| !value.trim().is_empty()) {
        reasons.push(HONEYPOT);
    }
    match token(form, submission, now) {
        Token::Missing if form.config.require_token => reasons.push(TOKEN_MISSING),
        Token::Missing => {}
        Token::Invalid => reasons.push(TOKEN_INVALID),
        Token::Sealed { age } if age < Duration::from_secs(form.config.min_seconds) => reasons.push(TOO_FAST),
        Token::Sealed { age } if age > Duration::from_secs(form.config.max_seconds) => reasons.push(TOKEN_EXPIRED),
        Token::Sealed { .. } => {}
    }
    if origin::of(form, raw) == Origin::Foreign {
        reasons.push(ORIGIN);
    }
    reasons
}
