//! Dead letters: what could not be understood or delivered, redacted, with its reason.

use connector_sdk::key::{content_key, sha256_hex};
use connector_sdk::parse::blob_ref;
use connector_sdk::schemas::{BlobRef, Timestamp};
use connector_sdk::{RawEvent, Rejected};
use serde::{Deserialize, Serialize};

use super::blobs::BlobFault;
use super::encode::{JSON, to_json};
use super::instance::Instance;
use super::line::Line;
use super::record::{Record, TopicRole};

/// The value of a record on `inlet.deadletter`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Deterministic: the same input refused for the same reason has the same id.
    pub id: String,
    pub instance: String,
    pub connector: String,
    /// Stable code (`malformed_json`).
    pub reason: String,
    /// What was wrong and where.
    pub detail: String,
    /// Where in the source it stood (`folder INBOX, uid 17`), as far as its headers say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    pub received_at: Timestamp,
    /// SHA-256 of the raw body before redaction, lower-case hex.
    pub raw_sha256: String,
    /// The redacted input; absent when it is a claim check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawEvent>,
    /// The redacted input as JSON in the blob store, when it is large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_check: Option<BlobRef>,
}

/// The record of one rejected item (or whole input).
pub async fn record(
    instance: &Instance,
    raw: &RawEvent,
    rejected: &Rejected,
    line: &Line,
) -> Result<Record, BlobFault> {
    instance.counters.dead_lettered(rejected.code);
    let mut own = raw.clone();
    if let Some(part) = &rejected.raw {
        own.body = part.clone();
    }
    let raw_sha256 = sha256_hex(&own.body);
    let redacted = instance.parse.redact(&own);
    let position = position(raw);
    let mut letter = DeadLetter {
        id: content_key(&[instance.name.as_bytes(), rejected.code.as_bytes(), raw_sha256.as_bytes()])[..32].to_owned(),
        instance: instance.name.clone(),
        connector: instance.connector.to_owned(),
        reason: rejected.code.to_owned(),
        detail: rejected.detail.clone(),
        position,
        received_at: raw.received_at,
        raw_sha256,
        raw: Some(redacted),
        claim_check: None,
    };
    let mut headers = vec![
        ("content-type", JSON.to_owned()),
        ("inlet-instance", instance.name.clone()),
        ("inlet-connector", instance.connector.to_owned()),
        ("inlet-reason", rejected.code.to_owned()),
    ];
    let mut value = to_json(&letter);
    if value.len() > line.inline_max_bytes {
        let whole = to_json(&letter.raw);
        let reference = blob_ref(&whole);
        line.enricher.blobs.put(&reference, whole).await?;
        letter.raw = None;
        letter.claim_check = Some(reference);
        headers.push(("inlet-blob-base", line.enricher.blobs.base().to_owned()));
        value = to_json(&letter);
    }
    Ok(Record { topic: TopicRole::DeadLetter, key: letter.id, value, headers })
}

/// Inlet's own headers of the raw input say where it stood.
fn position(raw: &RawEvent) -> Option<String> {
    let parts: Vec<String> = raw
        .headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("inlet-")?;
            Some(format!("{name} {}", String::from_utf8_lossy(value)))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
