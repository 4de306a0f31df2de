//! Event Streams: a JSON list of CloudEvents. Those about messages say the same as the callbacks and become the same
//! events with the same ids; the others are published as they are.

use connector_sdk::schemas::{Channel, Conversation, KeyBasis};
use connector_sdk::{Draft, EventKey, Parsed, RawEvent, Rejected, Timestamp, json};
use serde_json::{Map, Value};

use super::{Context, NO_ACCOUNT, message, provenance};
use crate::wire::Params;
use crate::{Config, PROVIDER};

const INBOUND: &str = "com.twilio.messaging.inbound-message.received";
/// What follows is the message's status.
const OUTBOUND: &str = "com.twilio.messaging.message.";

/// Every CloudEvent of a body has an outcome of its own.
pub fn parse(config: &Config, raw: &RawEvent) -> Parsed {
    let document = match json::parse(&raw.body) {
        Ok(document) => document,
        Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
    };
    let items = match document.value {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() {
        return Parsed::skip("empty list", "a batch without events says nothing");
    }
    let mut parsed = Parsed::default();
    for item in items {
        match cloud_event(config, raw, &item) {
            Ok(one) => parsed.merge(one),
            Err(detail) => parsed.rejected.push(Rejected::part("not_a_cloud_event", detail, item.to_string())),
        }
    }
    parsed
}

fn cloud_event(config: &Config, raw: &RawEvent, item: &Value) -> Result<Parsed, &'static str> {
    let id = json::text(item, "/id").ok_or("CloudEvent without id")?;
    let provider_type = json::text(item, "/type").ok_or("CloudEvent without type")?;
    let data = item.pointer("/data").and_then(Value::as_object);
    let occurred_at = ["/data/timestamp", "/time"].iter().find_map(|at| Timestamp::parse(json::text(item, at)?));
    let status = match provider_type.strip_prefix(OUTBOUND) {
        _ if provider_type == INBOUND => Some("received"),
        status => status,
    };
    if let (Some(status), Some(data)) = (status, data) {
        let params = Params::from_pairs(pairs(data, status));
        let cx = Context { config, params: &params, raw, occurred_at, event_id: Some(id) };
        let mut parsed = if status == "sent" { message::sent(&cx) } else { message::parse(&cx) };
        for rejected in &mut parsed.rejected {
            rejected.raw = Some(item.to_string().into());
        }
        return Ok(parsed);
    }
    let account = ["/data/accountSid", "/data/AccountSid", "/data/account_sid"]
        .iter()
        .find_map(|at| json::text(item, at))
        .or(config.account_sid.as_deref())
        .unwrap_or(NO_ACCOUNT);
    let at = occurred_at.unwrap_or(raw.received_at);
    let key = EventKey::new(id);
    let mut draft = Draft::unsupported(key, Channel::Sms, PROVIDER, account, at, provider_type, item.clone());
    draft.event.conversation = Conversation::new(KeyBasis::Event, "");
    provenance(&mut draft.event, raw, provider_type);
    draft.event.provenance.provider_event_id = Some(id.to_owned());
    Ok(Parsed::one(draft))
}

/// The data under the names that callbacks use (`messageSid` is `MessageSid` there).
fn pairs(data: &Map<String, Value>, status: &str) -> Vec<(String, String)> {
    const SAID_ELSEWHERE: &[&str] = &["timestamp", "eventName", "messageStatus"];
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let callback_name = |name: &str| {
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    data.iter()
        .filter(|(name, _)| !SAID_ELSEWHERE.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((callback_name(name), text(value)?)))
        .chain([("MessageStatus".to_owned(), status.to_owned())])
        .collect()
}
