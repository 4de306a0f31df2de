//! They call us: signature check and answers.

use std::sync::Arc;

use connector_sdk::key::sha256_hex;
use connector_sdk::{
    Admission, Keys, Outcome, RawEvent, Refusal, RefusalKind, Reply, Secret, Timestamp, Webhook, verify,
};

use crate::Config;
use crate::wire::{self, BODY_HASH_PARAM, Params};

const SIGNATURE: &str = "x-twilio-signature";
/// The empty TwiML document: 'send nothing, do nothing'.
const EMPTY_TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// The one endpoint that all callbacks of an account go to.
pub struct Callback {
    config: Arc<Config>,
}

impl Callback {
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    fn check(&self, request: &RawEvent) -> Result<(), Refusal> {
        let given = request
            .headers
            .unique(SIGNATURE)
            .map_err(|fault| Refusal::signature(format!("X-Twilio-Signature: {fault}")))?;
        let tail = signed_tail(request)?;
        let urls = wire::url_variants(&request.uri);
        let genuine = self.config.auth_token.any(|token| {
            urls.iter().fold(false, |found, url| {
                let mac = mac(token, url, &tail);
                verify::base64_matches(&mac, given) | found
            })
        });
        if !genuine {
            return Err(Refusal::signature(
                "X-Twilio-Signature does not match; is ingress.public_url the URL that is configured at Twilio?",
            ));
        }
        self.check_account(request)
    }

    /// A token can be right and the account another one only by mistake in configuration.
    fn check_account(&self, request: &RawEvent) -> Result<(), Refusal> {
        let Some(expected) = &self.config.account_sid else { return Ok(()) };
        match Params::of(request).get("AccountSid") {
            Some(given) if given != expected => {
                Err(Refusal::new(RefusalKind::Forbidden, "AccountSid is not the configured account_sid"))
            }
            _ => Ok(()),
        }
    }
}

/// What follows the URL in the signed text: the form's parameters, or nothing where the URL holds the body's hash.
fn signed_tail(request: &RawEvent) -> Result<String, Refusal> {
    if request.method == "GET" {
        return Ok(String::new());
    }
    let promised = wire::body_hash(request);
    if wire::is_form(request) && promised.is_none() {
        return Ok(Params::of(request).signed_text());
    }
    let promised = promised.ok_or_else(|| Refusal::signature("a body that is no form needs bodySHA256 in the URL"))?;
    if !verify::equal(sha256_hex(&request.body).as_bytes(), promised.to_ascii_lowercase().as_bytes()) {
        return Err(Refusal::signature("bodySHA256 does not match the body"));
    }
    Ok(String::new())
}

fn mac(token: &Secret, url: &str, tail: &str) -> [u8; 20] {
    verify::hmac_sha1(token.expose().as_bytes(), &[url.as_bytes(), tail.as_bytes()])
}

impl Webhook for Callback {
    fn methods(&self) -> &[&'static str] {
        // Every callback can be switched to GET in the console; its parameters are then in the query.
        &["POST", "GET"]
    }

    fn admit(&self, request: &RawEvent, _: &Keys, _: Timestamp) -> Admission {
        match self.check(request) {
            Ok(()) => Admission::Accept,
            Err(refusal) => Admission::Refuse(refusal),
        }
    }

    fn reply(&self, _: &RawEvent, outcome: &Outcome) -> Reply {
        let usual = Reply::default_for(outcome);
        match outcome {
            // Any text in a 2xx answer would be sent to the customer as an SMS; empty TwiML sends nothing.
            Outcome::Safe { .. } | Outcome::DeadLettered => Reply::new(usual.status, "text/xml", EMPTY_TWIML),
            // 503/429 make Twilio repeat where the URL asks for it (`#rc=5&rp=all`) and try the fallback URL otherwise;
            // 413 and refusals are repeated in vain and then logged in its debugger. No body: nothing to send on.
            _ => Reply { body: connector_sdk::Bytes::new(), ..usual },
        }
    }

    fn sign(&self, request: &mut RawEvent, _: Timestamp) {
        let whole_body = request.method != "GET" && !wire::is_form(request);
        let tail = if whole_body {
            put_body_hash(request);
            String::new()
        } else if request.method == "GET" {
            String::new()
        } else {
            Params::of(request).signed_text()
        };
        let mac = mac(self.config.auth_token.current(), &request.uri, &tail);
        request.headers.set(SIGNATURE, verify::to_base64(&mac));
    }
}

/// Puts the body's hash into the URL in place of one that may be there.
fn put_body_hash(request: &mut RawEvent) {
    let hash = sha256_hex(&request.body);
    let (base, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    let mark = format!("{BODY_HASH_PARAM}=");
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(&mark)).collect();
    let own = format!("{mark}{hash}");
    pairs.push(&own);
    request.uri = format!("{base}?{}", pairs.join("&"));
}
