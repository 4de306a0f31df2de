//! Raw inputs as they are kept on `inlet.raw`: redacted, with the ids of what came of them, so that a better parser can
//! make the same events anew, and so that what is to be erased is found.

use connector_sdk::key::content_key;
use connector_sdk::parse::blob_ref;
use connector_sdk::schemas::{BlobRef, Timestamp};
use connector_sdk::{Bytes, RawEvent};
use serde::{Deserialize, Serialize};

use super::blobs::BlobFault;
use super::deadletter::redacted;
use super::encode::{JSON, to_json};
use super::instance::Instance;
use super::line::{Line, RESYNC_HEADER};
use super::record::{Record, TopicRole};

/// Hex digits of the ids of raw inputs and dead letters.
pub const ID_DIGITS: usize = 32;

/// The value of a record on `inlet.raw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawInput {
    /// Deterministic: the same input at the same instance has the same id.
    pub id: String,
    pub instance: String,
    pub connector: String,
    /// The parser that made the events.
    pub parser_version: String,
    pub received_at: Timestamp,
    /// SHA-256 of the body before redaction, lower-case hex.
    pub raw_sha256: String,
    /// What came of it.
    pub event_ids: Vec<String>,
    /// The redacted input; absent when it is a claim check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawEvent>,
    /// The redacted input as JSON in the blob store, when it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_check: Option<BlobRef>,
}

/// The id of an input: of its instance, where it stood in its source or what was called with which query, and its body.
pub fn id(instance: &str, raw: &RawEvent, raw_sha256: &str) -> String {
    let query = raw.query().unwrap_or_default();
    let mut parts: Vec<&[u8]> =
        vec![instance.as_bytes(), raw.path().as_bytes(), query.as_bytes(), raw_sha256.as_bytes()];
    let is_place = |name: &str| name.starts_with("inlet-") && name != RESYNC_HEADER;
    for (name, value) in raw.headers.iter().filter(|(name, _)| is_place(name)) {
        parts.extend([name.as_bytes(), value]);
    }
    let mut id = content_key(&parts);
    id.truncate(ID_DIGITS);
    id
}

/// The version of the parser that an instance has.
pub fn parser_version(instance: &Instance) -> String {
    format!("{}/{}", instance.connector, env!("CARGO_PKG_VERSION"))
}

/// The record of one input.
pub async fn record(
    instance: &Instance,
    raw: &RawEvent,
    id: String,
    raw_sha256: &str,
    event_ids: Vec<String>,
    line: &Line,
) -> Result<Record, BlobFault> {
    let mut kept = RawInput {
        id,
        instance: instance.name.clone(),
        connector: instance.connector.to_owned(),
        parser_version: parser_version(instance),
        received_at: raw.received_at,
        raw_sha256: raw_sha256.to_owned(),
        event_ids,
        raw: Some(redacted(instance, raw)),
        claim_check: None,
    };
    let mut headers = vec![
        ("content-type", JSON.to_owned()),
        ("inlet-instance", kept.instance.clone()),
        ("inlet-connector", kept.connector.clone()),
    ];
    let mut value = to_json(&kept);
    if value.len() > line.inline_max_bytes {
        kept.claim_check = Some(claim_check(&kept.raw, line).await?);
        kept.raw = None;
        value = to_json(&kept);
        headers.push(("inlet-blob-base", line.enricher.blobs.base().to_owned()));
    }
    Ok(Record { topic: TopicRole::Raw, key: kept.id, value, headers })
}

/// Stores an input as JSON.
pub async fn claim_check(raw: &Option<RawEvent>, line: &Line) -> Result<BlobRef, BlobFault> {
    let whole = to_json(raw);
    let reference = blob_ref(&whole);
    line.enricher.blobs.put(&reference, whole).await?;
    Ok(reference)
}

/// The input behind a claim check.
pub fn read_claimed(bytes: &Bytes) -> Option<RawEvent> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::Wire;

    #[test]
    fn ids_tell_inputs_apart_and_not_their_deliveries() {
        let mut raw = RawEvent::new(Wire::Http, "body", Timestamp::UNIX_EPOCH);
        raw.uri = "https://a.example/in/x?a=0".to_owned();
        let first = id("x", &raw, "hash");
        raw.headers.push("x-retry", "1");
        raw.headers.push(RESYNC_HEADER, "true");
        raw.received_at = raw.received_at.plus(std::time::Duration::from_secs(9));
        assert_eq!(id("x", &raw, "hash"), first);
        assert_eq!(first.len(), ID_DIGITS);
        assert_ne!(id("y", &raw, "hash"), first);
        assert_ne!(id("x", &raw, "other"), first);
        raw.uri = "https://a.example/in/x?a=1".to_owned();
        assert_ne!(id("x", &raw, "hash"), first);
        raw.uri = "https://a.example/in/x?a=0".to_owned();
        raw.headers.push("inlet-uid", "7");
        assert_ne!(id("x", &raw, "hash"), first);
    }
}
