//! From parameters to events: which callback it is, and what all of them share.

mod address;
mod call;
mod media;
mod message;
mod stream;

use std::sync::Arc;

use connector_sdk::key::content_key;
use connector_sdk::schemas::{Channel, Conversation, Event, KeyBasis, Kind};
use connector_sdk::{Draft, EventKey, FetchedMedia, Parse, Parsed, RawEvent, Timestamp, Wire, redact};
use serde_json::Value;

pub use media::MediaParams;

use crate::wire::{self, Params};
use crate::{Config, PROVIDER};

const PARSER_VERSION: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// Account of input that names none.
const NO_ACCOUNT: &str = "unknown";

/// The one parser of all callbacks.
pub struct Parser {
    config: Arc<Config>,
}

impl Parser {
    pub fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    fn callback(&self, raw: &RawEvent) -> Parsed {
        let params = Params::of(raw);
        if params.is_empty() {
            return Parsed::reject("empty_body", "the callback has no parameters");
        }
        let cx = Context { config: &self.config, params: &params, raw, occurred_at: None, event_id: None };
        let has = |name| params.get(name).is_some();
        // Webhooks of Twilio Conversations also carry a MessageSid, of another kind of message.
        if has("ConversationSid") {
            return cx.unsupported(params.get("EventType").unwrap_or("conversation"));
        }
        if has("RecordingStatus") && has("RecordingSid") {
            return call::recording(&cx);
        }
        if has("TranscriptionStatus") && has("TranscriptionSid") {
            return call::transcription(&cx);
        }
        if ["MessageSid", "SmsMessageSid", "SmsSid"].iter().any(|name| has(name)) {
            return message::parse(&cx);
        }
        if has("CallSid") && has("CallStatus") {
            return call::status(&cx);
        }
        let name = ["TranscriptionEvent", "StreamEvent", "EventType", "CallbackSource", "Level"]
            .iter()
            .find_map(|name| Some(format!("{name}:{}", params.get(name)?)));
        cx.unsupported(name.as_deref().unwrap_or("callback"))
    }
}

impl Parse for Parser {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        match raw.wire {
            Wire::Fetched => match serde_json::from_slice::<FetchedMedia>(&raw.body) {
                Ok(fetched) => media::fetched(fetched, raw),
                Err(error) => Parsed::reject("malformed_fetch_result", format!("line {}", error.line())),
            },
            _ if raw.method == "GET" || wire::is_form(raw) => self.callback(raw),
            _ => stream::parse(&self.config, raw),
        }
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        // Bodies hold personal data but no secret: credentials never travel in callbacks. What an operator put into the
        // URL (a token) is not written as Twilio writes its own parameters.
        let mut redacted = redact::headers(raw, &[]);
        redact::query(&mut redacted, wire::is_own_parameter);
        redacted
    }
}

/// One callback, for the functions that read it.
struct Context<'a> {
    config: &'a Config,
    params: &'a Params,
    raw: &'a RawEvent,
    /// By the provider's clock, where it is not a parameter.
    occurred_at: Option<Timestamp>,
    /// The provider's id of the delivery.
    event_id: Option<&'a str>,
}

impl<'a> Context<'a> {
    /// The account that owns the number. Not the number itself: most call callbacks name none of the business, and all
    /// events of a conversation must share their account.
    fn account(&self) -> &'a str {
        self.params.get("AccountSid").or(self.config.account_sid.as_deref()).unwrap_or(NO_ACCOUNT)
    }

    fn at(&self) -> Timestamp {
        self.occurred_at.unwrap_or(self.raw.received_at)
    }

    /// An event with provenance and, in `provider_data`, every parameter that `used` does not name.
    fn event(&self, kind: Kind, channel: Channel, provider_type: &str, used: &[&str]) -> Event {
        let mut event = Event::new(kind, channel, PROVIDER, self.account(), self.at());
        provenance(&mut event, self.raw, provider_type);
        event.provenance.provider_event_id = self.event_id.map(str::to_owned);
        event.provider_data = self.params.rest(used).map(Into::into);
        event
    }

    fn unsupported(&self, provider_type: &str) -> Parsed {
        let all = self.params.rest(&[]).unwrap_or(Value::Null);
        let id = content_key(&[self.params.signed_text().as_bytes()]);
        let at = self.at();
        let channel = if self.params.has("CallSid") { Channel::Voice } else { Channel::Sms };
        let key = EventKey::new(id);
        let mut draft = Draft::unsupported(key, channel, PROVIDER, self.account(), at, provider_type, all);
        provenance(&mut draft.event, self.raw, provider_type);
        draft.event.conversation = match (self.params.get("ConversationSid"), self.params.get("CallSid")) {
            (Some(conversation), _) => Conversation::new(KeyBasis::Thread, conversation),
            (None, Some(call)) => Conversation::new(KeyBasis::Call, call),
            (None, None) => Conversation::new(KeyBasis::Event, ""),
        };
        Parsed::one(draft)
    }

    fn missing(name: &str) -> Parsed {
        Parsed::reject("missing_field", format!("parameter {name} is missing"))
    }
}

fn provenance(event: &mut Event, raw: &RawEvent, provider_type: &str) {
    let provenance = &mut event.provenance;
    provenance.parser_version = Some(PARSER_VERSION.to_owned());
    provenance.provider_type = Some(provider_type.to_owned());
    if raw.wire == Wire::Http {
        provenance.verified_by = Some("hmac-sha1".to_owned());
    }
}
