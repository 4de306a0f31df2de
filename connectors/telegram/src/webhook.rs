//! How Telegram calls us: the secret header, and which answer keeps its data.
//!
//! Source: core.telegram.org/bots/api#setwebhook; tdlib/telegram-bot-api `WebhookActor.cpp`.

use connector_sdk::{Admission, Keys, Outcome, RawEvent, Refusal, RefusalKind, Reply, Secret, Timestamp, Webhook};

use crate::Telegram;

const SECRET_TOKEN: &str = "x-telegram-bot-api-secret-token";

impl Webhook for Telegram {
    fn admit(&self, request: &RawEvent, _keys: &Keys, _now: Timestamp) -> Admission {
        let given = match request.headers.unique(SECRET_TOKEN) {
            Ok(given) => given,
            Err(fault) => return Admission::Refuse(Refusal::signature(format!("{SECRET_TOKEN}: {fault}"))),
        };
        let matches = |secret: &Secret| secret.matches(given.as_bytes());
        if !self.secret_token.as_ref().is_some_and(|secrets| secrets.any(matches)) {
            return Admission::Refuse(Refusal::signature(format!("{SECRET_TOKEN}: is not the configured one")));
        }
        if request.headers.media_type().as_deref() != Some("application/json") {
            return Admission::Refuse(Refusal::new(RefusalKind::MediaType, "Telegram sends application/json"));
        }
        Admission::Accept
    }

    fn reply(&self, _request: &RawEvent, outcome: &Outcome) -> Reply {
        match outcome {
            // Empty: Telegram would carry out a JSON or form answer that names a `method`.
            Outcome::Safe { .. } | Outcome::DeadLettered => Reply::status(200),
            // Any other status makes Telegram send again for 24 hours, at the pace of Retry-After (which it honours up
            // to an hour); only this chat waits. Never 410: answered for a day, it removes the webhook. A refused
            // secret is sent again too, so one that was rotated too early loses nothing.
            Outcome::NotSafeNow { .. } | Outcome::OverRate { .. } | Outcome::TooLarge { .. } | Outcome::Refused(_) => {
                Reply::default_for(outcome)
            }
        }
    }

    fn sign(&self, request: &mut RawEvent, _now: Timestamp) {
        if let Some(secrets) = &self.secret_token {
            request.headers.set(SECRET_TOKEN, secrets.current().expose().to_owned());
        }
    }
}
