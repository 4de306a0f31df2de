//! They call us: origin, handshake, answers.

use std::sync::Arc;

use connector_sdk::{Admission, Keys, Outcome, RawEvent, Refusal, RefusalKind, Reply, Timestamp, Webhook};
use serde_json::json;

use crate::handshake::Handshake;
use crate::verify::Verifier;

/// Largest body: JSON webhooks with embedded files stay below it. Bytes.
const BODY_MAX_BYTES: usize = 4 << 20;

/// The endpoint of an instance.
pub struct Endpoint {
    verifier: Arc<Verifier>,
    handshake: Option<Handshake>,
}

impl Endpoint {
    pub fn new(verifier: Arc<Verifier>, handshake: Option<Handshake>) -> Self {
        Self { verifier, handshake }
    }

    fn handshake(&self, request: &RawEvent, signed: bool) -> Option<Reply> {
        self.handshake.as_ref().filter(|handshake| handshake.signed == signed)?.answer(request, &self.verifier)
    }
}

impl Webhook for Endpoint {
    fn methods(&self) -> &[&'static str] {
        if self.handshake.as_ref().is_some_and(Handshake::by_get) { &["POST", "PUT", "GET"] } else { &["POST", "PUT"] }
    }

    fn body_max_bytes(&self) -> Option<usize> {
        Some(BODY_MAX_BYTES)
    }

    fn admit(&self, request: &RawEvent, _: &Keys, now: Timestamp) -> Admission {
        if let Some(reply) = self.handshake(request, false) {
            return Admission::Answer(reply);
        }
        if let Err(refusal) = self.verifier.check(request, now) {
            return Admission::Refuse(refusal);
        }
        if let Some(reply) = self.handshake(request, true) {
            return Admission::Answer(reply);
        }
        if request.method == "GET" {
            return Admission::Refuse(Refusal::new(RefusalKind::Malformed, "a GET that is no handshake"));
        }
        Admission::Accept
    }

    fn reply(&self, _: &RawEvent, outcome: &Outcome) -> Reply {
        match outcome {
            // Any 2xx is success to senders; some insist on exactly 200. The ids help to find the events again.
            Outcome::Safe { event_ids } => Reply::json(200, &json!({ "ok": true, "event_ids": event_ids })),
            // Safe too: sending again what cannot be mapped would not help.
            Outcome::DeadLettered => Reply::json(200, &json!({ "ok": true, "event_ids": [] })),
            // 503 and 429 with Retry-After make senders repeat. Never 404 or 410: several switch the webhook off at
            // once; a 413 or 401 is repeated in vain and shows in the sender's log.
            other => Reply::default_for(other),
        }
    }

    fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        self.verifier.sign(request, now);
    }
}
