//! How positions are written in the cursors topic.
//!
//! Key: a JSON array of instance and stream, `["support-mail","INBOX"]`. Value:
//! `{"v":1,"cursor":…,"at":"2026-01-31T12:00:00Z"}`, where `cursor` is the connector's own; no value removes the
//! position. The record lies in the instance's shard's partition, whatever its key hashes to.

use connector_sdk::{Cursor, StreamId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CursorKey;

/// The version that is written.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u64,
    cursor: Value,
    at: Timestamp,
}

/// Kafka key of a position.
pub fn encode_key(key: &CursorKey) -> String {
    serde_json::json!([key.instance, key.stream]).to_string()
}

/// `None`: not written by Inlet.
pub fn decode_key(bytes: &[u8]) -> Option<CursorKey> {
    let (instance, stream): (String, String) = serde_json::from_slice(bytes).ok()?;
    Some(CursorKey { instance, stream: StreamId::new(stream) })
}

/// Kafka value of a position.
pub fn encode_value(cursor: &Cursor, at: Timestamp) -> String {
    let envelope = serde_json::json!({ "v": VERSION, "cursor": cursor.0, "at": at });
    envelope.to_string()
}

/// The position and when it was stored. A value that this version cannot read is handed on as it is: the connector
/// refuses it and stops that one stream, where a missing position would make it start from the beginning.
pub fn decode_value(bytes: &[u8]) -> (Cursor, Option<Timestamp>) {
    match serde_json::from_slice::<Envelope>(bytes) {
        Ok(envelope) if envelope.v == VERSION => (Cursor(envelope.cursor), Some(envelope.at)),
        _ => {
            let whole = serde_json::from_slice(bytes);
            let text = || Value::String(String::from_utf8_lossy(bytes).into_owned());
            (Cursor(serde_json::json!({ "unreadable": whole.unwrap_or_else(|_| text()) })), None)
        }
    }
}

/// Stream of the mark that the positions of a topic were moved elsewhere; its instance has no name.
const MOVED: &str = "inlet:moved";

/// The mark, for every partition of the topic that was left.
pub fn moved_mark(to: &str, partitions: i32) -> (CursorKey, Cursor) {
    let key = CursorKey::new("", StreamId::new(MOVED));
    (key, Cursor(serde_json::json!({ "topic": to, "partitions": partitions })))
}

/// Topic and number of partitions to which the mark points; `None` for what is no mark.
pub fn moved_to(key: &CursorKey, cursor: &Cursor) -> Option<(String, i32)> {
    if !key.instance.is_empty() || key.stream.0 != MOVED {
        return None;
    }
    let partitions = cursor.0["partitions"].as_i64().and_then(|count| i32::try_from(count).ok());
    Some((cursor.0["topic"].as_str().unwrap_or_default().to_owned(), partitions.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(instance: &str, stream: &str) -> CursorKey {
        CursorKey { instance: instance.to_owned(), stream: StreamId::new(stream) }
    }

    #[test]
    fn keys_round_trip_whatever_they_hold() {
        for (instance, stream) in [("support-mail", "INBOX"), ("a", ""), ("a\",\"b", "c\u{0}/Отправленные")]
        {
            let key = key(instance, stream);
            assert_eq!(decode_key(encode_key(&key).as_bytes()), Some(key));
        }
        assert_eq!(encode_key(&key("support-mail", "INBOX")), r#"["support-mail","INBOX"]"#);
        assert_eq!(decode_key(b"something else"), None);
    }

    #[test]
    fn values_round_trip() {
        let at = Timestamp::from_unix_seconds(1_800_000_000).expect("in range");
        let cursor = Cursor(json!({ "v": 1, "uidvalidity": 4_294_967_295_u64, "uid": 7 }));
        assert_eq!(decode_value(encode_value(&cursor, at).as_bytes()), (cursor, Some(at)));
    }

    #[test]
    fn what_cannot_be_read_is_no_position_but_not_nothing() {
        for bytes in [&br#"{"v":2,"cursor":{"uid":7},"at":"2026-01-01T00:00:00Z"}"#[..], b"\xff", b"7"] {
            let (cursor, at) = decode_value(bytes);
            assert_eq!(at, None);
            assert!(cursor.0.get("unreadable").is_some(), "{cursor:?}");
        }
    }
}
