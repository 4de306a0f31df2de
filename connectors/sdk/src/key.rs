//! Deterministic ids.

use sha2::{Digest, Sha256};

/// What makes an event the same event: the provider's own id of it and its revision. With tenant, provider, account and
/// kind it gives the event id. Never put in: the instance's name, the way it came, a delivery attempt, a mail's UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// The provider's own id, unique within provider, account and kind.
    pub event_id: String,
    /// Which version of it: an edit time or counter; empty for the first.
    pub revision: String,
}

impl EventKey {
    pub fn new(event_id: impl Into<String>) -> Self {
        Self { event_id: event_id.into(), revision: String::new() }
    }

    pub fn revised(event_id: impl Into<String>, revision: impl Into<String>) -> Self {
        Self { event_id: event_id.into(), revision: revision.into() }
    }
}

/// Lower-case hex SHA-256 over the parts, each with its length before it, so that no two lists of parts collide by
/// shifting bytes between them.
pub fn content_key(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// The event id: a UUID (version 8, RFC 9562) from SHA-256 over the parts of its key.
pub fn event_id(tenant: &str, provider: &str, account: &str, kind: &str, key: &EventKey) -> String {
    let mut hash = Sha256::new();
    for part in [tenant, provider, account, kind, &key.event_id, &key.revision] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    uuid::Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
}

/// Lower-case hex SHA-256 of some bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Value of a hex digit of either case. Looked up: a processor cannot guess which of a digest's digits are letters, and
/// each wrong guess costs as much as a table of sixteen.
pub fn hex_value(digit: u8) -> Option<u8> {
    const NONE: u8 = 0xff;
    const VALUES: [u8; 256] = {
        let mut values = [NONE; 256];
        let mut value = 0;
        while value < 16 {
            values[DIGITS[value] as usize] = value as u8;
            values[DIGITS[value].to_ascii_uppercase() as usize] = value as u8;
            value += 1;
        }
        values
    };
    Some(VALUES[usize::from(digit)]).filter(|value| *value != NONE)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_part_by_part() {
        let key = EventKey::new("Ev1");
        let id = event_id("t", "p", "a", "message.created", &key);
        assert_eq!(id, event_id("t", "p", "a", "message.created", &key));
        assert_eq!(id.as_bytes()[14], b'8', "UUID version 8: {id}");
        assert_ne!(id, event_id("t", "pa", "", "message.created", &key));
        assert_ne!(id, event_id("t", "p", "a", "message.created", &EventKey::revised("Ev1", "2")));
        assert_ne!(content_key(&[b"ab", b"c"]), content_key(&[b"a", b"bc"]));
    }
}
