//! Ids of events and keys of conversations.
//!
//! A SID is unique across Twilio; the account that scopes it is the Account SID, because most call callbacks name no
//! number of the business.

use connector_sdk::EventKey;

/// A message that came in.
pub fn message(message_sid: &str) -> EventKey {
    EventKey::new(message_sid)
}

/// A message's status; each status is reached once.
pub fn receipt(message_sid: &str, status: &str) -> EventKey {
    EventKey::new(format!("{message_sid}/{status}"))
}

/// A call's status. The SID alone would make every later state a repeat of the first.
pub fn call(call_sid: &str, status: &str, sequence: Option<&str>) -> EventKey {
    EventKey::new(format!("{call_sid}/{status}/{}", sequence.unwrap_or_default()))
}

/// A state of a recording or transcription.
pub fn artefact(sid: &str, status: &str) -> EventKey {
    EventKey::new(format!("{sid}/{status}"))
}

/// What became of a media order.
pub fn fetched(order_id: &str) -> EventKey {
    EventKey::new(order_id)
}

/// The chat between a customer and one address of the business: the same for both directions, so that receipts follow
/// the messages that they are about.
pub fn chat(one: &str, other: &str) -> String {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    format!("{low}|{high}")
}
