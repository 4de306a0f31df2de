//! Ids and keys, in one place.

use connector_sdk::EventKey;
use connector_sdk::key::content_key;
use connector_sdk::schemas::{Conversation, ConversationType, KeyBasis};

use crate::wire::Frame;

/// Hex digits of a content hash within a key: within one leg and event type that is plenty.
const HASH_DIGITS: usize = 16;

/// A fact: the call, the leg, the event, and what tells two of them apart. AMI events have no id; where the PBX sends a
/// time or a sequence number that is taken, else the frame's own content, never the order of arrival, so that a frame
/// that is seen again is the same event.
pub fn fact(call: &str, leg: &str, event: &str, frame: &Frame, bytes: &[u8]) -> EventKey {
    let apart = match (frame.get("Timestamp"), frame.get("SequenceNumber")) {
        (None, None) => content_key(&[bytes])[..HASH_DIGITS].to_owned(),
        (time, sequence) => [time, sequence].into_iter().flatten().collect::<Vec<_>>().join("."),
    };
    EventKey::new(format!("{call}/{leg}/{event}/{apart}"))
}

/// The summary of a call: one, whoever saw it.
pub fn summary(call: &str) -> EventKey {
    EventKey::new(format!("{call}/summary"))
}

pub fn conversation(call: &str) -> Conversation {
    Conversation::new(KeyBasis::Call, call).of_type(ConversationType::Call)
}

/// When a channel was made, by its unique id (`1795315315.0`, with a system name before it `pbx1-1795315315.0`).
pub fn created_seconds(unique_id: &str) -> Option<i64> {
    let number = unique_id.rsplit('-').next().unwrap_or(unique_id);
    let (seconds, counter) = number.split_once('.')?;
    // Ten digits: anything else is an id that somebody chose (`Originate` with ChannelId).
    (seconds.len() == 10 && !counter.is_empty() && counter.bytes().all(|b| b.is_ascii_digit()))
        .then(|| seconds.parse().ok())
        .flatten()
}
