//! An event's or a dead letter's id in sixteen bytes.

use connector_sdk::key::hex_value;

use crate::pipeline::record::{Record, TopicRole};

/// Bytes of an id, also on `inlet.seen`.
pub const ID_BYTES: usize = 16;

/// What the index keeps of an event: its id, a UUID made of a hash. Dead letters have ids of the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeenId(pub [u8; ID_BYTES]);

impl SeenId {
    /// From 32 hex digits, with hyphens anywhere.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        let mut digits = 0;
        for byte in text.bytes().filter(|byte| *byte != b'-') {
            let value = hex_value(byte)?;
            let place = bytes.get_mut(digits / 2)?;
            *place = *place << 4 | value;
            digits += 1;
        }
        (digits == 2 * ID_BYTES).then_some(Self(bytes))
    }

    /// The id by which a record's repeat is recognised. Fetch orders have none: the same order may be meant anew, and
    /// what it brings has ids. Raw inputs go with the events that came of them.
    pub fn of(record: &Record) -> Option<Self> {
        match record.topic {
            TopicRole::Events => {
                let (_, id) = record.headers.iter().find(|(name, _)| *name == "ce_id")?;
                Self::parse(id)
            }
            TopicRole::DeadLetter => Self::parse(&record.key),
            TopicRole::Fetches | TopicRole::Cursors | TopicRole::Raw | TopicRole::Seen => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_events_and_letters_are_read() {
        let uuid = "0a1b2c3d-4e5f-8071-8283-94a5b6c7d8e9";
        let id = SeenId::parse(uuid).expect("an id");
        assert_eq!(id.0[..4], [0x0a, 0x1b, 0x2c, 0x3d]);
        assert_eq!(SeenId::parse(&uuid.replace('-', "")), Some(id));
        for wrong in ["", "0a", "0a1b2c3d-4e5f-8071-8283-94a5b6c7d8e9f", "xa1b2c3d-4e5f-8071-8283-94a5b6c7d8e9"] {
            assert_eq!(SeenId::parse(wrong), None, "{wrong}");
        }
    }
}
