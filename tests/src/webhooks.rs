//! Webhooks signed as each provider signs them, computed here anew: the connectors' own code is what is tested.

use crate::http_client::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, now.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Slack's v0 scheme: HMAC-SHA256 over `v0:TIMESTAMP:BODY`, in `X-Slack-Signature` as `v0=hex`.
pub fn slack(url: &str, secret: &str, body: impl Into<Bytes>) -> Request {
    slack_at(url, secret, body, unix_now())
}

/// [`slack`] with a clock of one's own, for replay windows.
pub fn slack_at(url: &str, secret: &str, body: impl Into<Bytes>, timestamp: u64) -> Request {
    let body = body.into();
    let signature = hex::encode(hmac_sha256(secret.as_bytes(), &[format!("v0:{timestamp}:").as_bytes(), &body]));
    Request::post(url, body)
        .header("content-type", "application/json")
        .header("x-slack-request-timestamp", timestamp.to_string())
        .header("x-slack-signature", format!("v0={signature}"))
}

/// Telegram sends the configured token as it is.
pub fn telegram(url: &str, secret: &str, body: impl Into<Bytes>) -> Request {
    Request::post(url, body)
        .header("content-type", "application/json")
        .header("x-telegram-bot-api-secret-token", secret)
}

/// Twilio: HMAC-SHA1 over the public URL and the form's names and values sorted by name, in base64.
pub fn twilio(url: &str, public_url: &str, secret: &str, form: &[(&str, &str)]) -> Request {
    let mut sorted = form.to_vec();
    sorted.sort();
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length of key");
    mac.update(public_url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let body: Vec<_> = form.iter().map(|(n, v)| format!("{}={}", percent(n), percent(v))).collect();
    Request::post(url, body.join("&"))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-twilio-signature", signature)
}

/// HMAC-SHA256 over the body in hex, in a header and with a prefix of the caller's choice.
pub fn hmac_hex(url: &str, secret: &str, body: impl Into<Bytes>, header: &str, prefix: &str) -> Request {
    let body = body.into();
    let signature = hex::encode(hmac_sha256(secret.as_bytes(), &[&body]));
    Request::post(url, body).header("content-type", "application/json").header(header, format!("{prefix}{signature}"))
}

/// Standard Webhooks: HMAC-SHA256 over `ID.TIMESTAMP.BODY` with the base64 key behind `whsec_`.
pub fn standard(url: &str, key: &[u8], id: &str, body: impl Into<Bytes>) -> Request {
    let body = body.into();
    let timestamp = unix_now();
    let signature = STANDARD.encode(hmac_sha256(key, &[format!("{id}.{timestamp}.").as_bytes(), &body]));
    Request::post(url, body)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", format!("v1,{signature}"))
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length of key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Form encoding of everything that is not plainly safe.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Slack's page 'Verifying requests from Slack'.
    #[test]
    fn slack_signature_is_that_of_the_documentation() {
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
                    &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
                    &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                    &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let request = slack_at("http://127.0.0.1/", "8f742231b10e8888abcd99yyyzzz85a5", body, 1_531_420_618);
        let signature = &request.headers.iter().find(|(n, _)| n == "x-slack-signature").expect("signed").1;
        assert_eq!(signature, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
    }
}
