//! How Slack calls us: signature, handshake, probes, and which answer keeps its data.
//!
//! Source: docs.slack.dev `verifying-requests-from-slack` and `events/url_verification`; slackapi/bolt-js `src/receivers`.

use std::sync::LazyLock;
use std::time::Duration;

use connector_sdk::verify::{hex_matches, hmac_sha256, within};
use connector_sdk::{
    Admission, Headers, Keys, Outcome, RawEvent, Refusal, RefusalKind, Reply, Secret, Timestamp, Webhook, body,
};
use memchr::memmem;

use crate::Slack;
use crate::wire::Envelope;

pub(crate) const SIGNATURE: &str = "x-slack-signature";
pub(crate) const TIMESTAMP: &str = "x-slack-request-timestamp";
/// How far a request's clock may be from ours, before and after.
const TOLERANCE: Duration = Duration::from_secs(300);
const VERSION: &str = "v0=";
/// What a handshake's body holds; inside a JSON string the quotes would be escaped.
const HANDSHAKE: &[u8] = b"\"url_verification\"";
const SSL_CHECK: &str = "ssl_check";

impl Webhook for Slack {
    fn admit(&self, request: &RawEvent, _keys: &Keys, now: Timestamp) -> Admission {
        let form = is_form(&request.headers);
        // A certificate probe carries no usable signature: answered, and every other field of it ignored.
        if form && is_ssl_check(&request.body) {
            return Admission::Answer(Reply::status(200));
        }
        if let Err(detail) = self.verify(request, now) {
            return Admission::Refuse(Refusal::signature(detail));
        }
        if !form && !is_json(&request.headers) {
            return Admission::Refuse(Refusal::new(
                RefusalKind::MediaType,
                "Slack sends application/json or application/x-www-form-urlencoded",
            ));
        }
        match challenge(&request.body) {
            Some(challenge) if !form => Admission::Answer(Reply::text(200, challenge)),
            _ => Admission::Accept,
        }
    }

    fn reply(&self, _request: &RawEvent, outcome: &Outcome) -> Reply {
        match outcome {
            // Empty: a body would be shown to the user of a slash command.
            Outcome::Safe { .. } | Outcome::DeadLettered => Reply::status(200),
            // The same bytes would be too large again: tell Slack not to come back with them.
            Outcome::TooLarge { .. } => Reply::default_for(outcome).header("x-slack-no-retry", "1"),
            // 503 and 429 make Slack send again (three times); a refused signature too, which gives an operator who
            // rotated the secret some minutes to put it right.
            Outcome::NotSafeNow { .. } | Outcome::OverRate { .. } | Outcome::Refused(_) => Reply::default_for(outcome),
        }
    }

    fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        let timestamp = now.unix_seconds().to_string();
        let signature = signature(self.signing_secret.current(), &timestamp, &request.body);
        request.headers.set(SIGNATURE, format!("{VERSION}{}", hex::encode(signature)));
        request.headers.set(TIMESTAMP, timestamp);
    }
}

impl Slack {
    fn verify(&self, request: &RawEvent, now: Timestamp) -> Result<(), String> {
        let unique = |name: &str| request.headers.unique(name).map_err(|fault| format!("{name}: {fault}"));
        let (timestamp, given) = (unique(TIMESTAMP)?, unique(SIGNATURE)?);
        let at = seconds(timestamp).ok_or_else(|| format!("{TIMESTAMP}: is no time in seconds"))?;
        if !within(at, now, TOLERANCE) {
            return Err(format!("{TIMESTAMP}: more than {} s from this clock", TOLERANCE.as_secs()));
        }
        let given = given.strip_prefix(VERSION).ok_or_else(|| format!("{SIGNATURE}: is not of version v0"))?;
        let genuine =
            self.signing_secret.any(|secret| hex_matches(&signature(secret, timestamp, &request.body), given));
        if genuine { Ok(()) } else { Err(format!("{SIGNATURE}: does not match the body")) }
    }
}

fn signature(secret: &Secret, timestamp: &str, body: &[u8]) -> [u8; 32] {
    hmac_sha256(secret.expose().as_bytes(), &[b"v0:", timestamp.as_bytes(), b":", body])
}

/// Unix seconds of a request's timestamp header.
pub(crate) fn seconds(text: &str) -> Option<Timestamp> {
    Timestamp::from_unix_seconds(text.parse().ok()?)
}

pub(crate) fn is_form(headers: &Headers) -> bool {
    is_media(headers, "application/x-www-form-urlencoded")
}

fn is_json(headers: &Headers) -> bool {
    is_media(headers, "application/json")
}

/// Whether the media type is this one, whatever parameters stand behind it.
fn is_media(headers: &Headers, media_type: &str) -> bool {
    let given = headers.get("content-type").and_then(|value| value.split(';').next());
    given.is_some_and(|given| given.trim().eq_ignore_ascii_case(media_type))
}

fn is_ssl_check(body: &[u8]) -> bool {
    memmem::find(body, SSL_CHECK.as_bytes()).is_some()
        && body::urlencoded(body).iter().any(|(name, value)| name == SSL_CHECK && value == "1")
}

/// The challenge of a handshake; the search spares every other request a second parse.
fn challenge(body: &[u8]) -> Option<String> {
    static SEARCH: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(HANDSHAKE));
    SEARCH.find(body)?;
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    (envelope.kind? == "url_verification").then(|| envelope.challenge.map(String::from)).flatten()
}
