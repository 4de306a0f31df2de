//! Dead letters: what could not be understood or delivered, redacted, with its reason.

use std::panic::{AssertUnwindSafe, catch_unwind};

use connector_sdk::key::{content_key, sha256_hex};
use connector_sdk::schemas::{BlobRef, Timestamp};
use connector_sdk::text::cut;
use connector_sdk::{Bytes, RawEvent, Rejected, Wire};
use serde::{Deserialize, Serialize};

use super::blobs::BlobFault;
use super::encode::{JSON, to_json};
use super::instance::Instance;
use super::line::Line;
use super::raw;
use super::record::{Record, TopicRole};

/// `detail` and `position` are for people; beyond this they are cut.
const TEXT_MAX_BYTES: usize = 2000;

/// The value of a record on `inlet.deadletter`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Deterministic: the same input refused for the same reason has the same id.
    pub id: String,
    pub instance: String,
    pub connector: String,
    /// The parser that could not read it.
    #[serde(default)]
    pub parser_version: String,
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
    let own = part(raw, rejected);
    let mut letter = letter_of(instance, &own, rejected);
    letter.raw = Some(redacted(instance, &own));
    if to_json(&letter).len() <= line.inline_max_bytes {
        return Ok(written(letter, None));
    }
    letter.claim_check = Some(raw::claim_check(&letter.raw, line).await?);
    letter.raw = None;
    Ok(written(letter, Some(line.enricher.blobs.base())))
}

/// The record without the input's bytes, for when nothing takes them: small, and made without waiting.
pub fn bare(instance: &Instance, raw: &RawEvent, rejected: &Rejected) -> Record {
    written(letter_of(instance, &part(raw, rejected), rejected), None)
}

/// The record of something that belongs to an instance which is not configured here. `raw` is kept as it is.
pub fn orphan(instance: &str, raw: RawEvent, rejected: &Rejected) -> Record {
    let mut letter = letter(instance, "", &raw, rejected);
    letter.raw = Some(raw);
    written(letter, None)
}

/// The record of spooled input that Kafka refuses for good. The input itself is not there any longer: the refused record
/// stands for it, where it is given.
pub fn refused(
    instance: &str,
    accepted_at: Timestamp,
    record: Option<&Record>,
    code: &'static str,
    reason: &str,
) -> Record {
    let what = record.map_or_else(String::new, |record| format!(" ({}, key {})", record.topic.as_str(), record.key));
    let rejected = Rejected::whole(code, format!("a spooled record{what}: {reason}"));
    let body = record.map_or_else(Bytes::new, |record| record.value.clone());
    orphan(instance, RawEvent::new(Wire::Json, body, accepted_at), &rejected)
}

/// The record of spooled input whose bytes were damaged on the disk.
pub fn damaged(instance: &str, entry: i64, accepted_at: Timestamp, reason: &str) -> Record {
    let detail = format!("entry {entry} of the spool: {reason}; its row is in the table 'damaged' there");
    let place = Bytes::from(format!("entry {entry}, accepted {accepted_at}"));
    let raw = RawEvent::new(Wire::Json, place, accepted_at);
    orphan(instance, raw, &Rejected::whole("spool_damaged", detail))
}

/// The rejected item in the place of the whole input.
fn part(raw: &RawEvent, rejected: &Rejected) -> RawEvent {
    let mut own = raw.clone();
    if let Some(part) = &rejected.raw {
        own.body = part.clone();
    }
    own
}

fn letter_of(instance: &Instance, raw: &RawEvent, rejected: &Rejected) -> DeadLetter {
    let parser_version = raw::parser_version(instance);
    DeadLetter { parser_version, ..letter(&instance.name, instance.connector, raw, rejected) }
}

fn letter(instance: &str, connector: &str, raw: &RawEvent, rejected: &Rejected) -> DeadLetter {
    let raw_sha256 = sha256_hex(&raw.body);
    DeadLetter {
        id: content_key(&[raw::id(instance, raw, &raw_sha256).as_bytes(), rejected.code.as_bytes()])[..raw::ID_DIGITS]
            .to_owned(),
        instance: instance.to_owned(),
        connector: connector.to_owned(),
        parser_version: String::new(),
        reason: rejected.code.to_owned(),
        detail: cut(&rejected.detail, TEXT_MAX_BYTES).0.to_owned(),
        position: position(raw),
        received_at: raw.received_at,
        raw_sha256,
        raw: None,
        claim_check: None,
    }
}

/// A connector that panics here must cost the input its bytes at most, never the letter, and never a secret.
pub(super) fn redacted(instance: &Instance, raw: &RawEvent) -> RawEvent {
    catch_unwind(AssertUnwindSafe(|| instance.parse.redact(raw))).unwrap_or_else(|_| {
        tracing::error!(instance = %instance.name, "the connector panicked in redact; it is kept without bytes");
        let mut masked = connector_sdk::redact::headers(raw, &[]);
        masked.uri = raw.path().to_owned();
        masked.body = Bytes::new();
        masked
    })
}

fn written(letter: DeadLetter, blob_base: Option<&str>) -> Record {
    let mut headers = vec![
        ("content-type", JSON.to_owned()),
        ("inlet-instance", letter.instance.clone()),
        ("inlet-connector", letter.connector.clone()),
        ("inlet-reason", letter.reason.clone()),
    ];
    if let Some(base) = blob_base {
        headers.push(("inlet-blob-base", base.to_owned()));
    }
    let value = to_json(&letter);
    Record { topic: TopicRole::DeadLetter, key: letter.id, value, headers }
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
    (!parts.is_empty()).then(|| cut(&parts.join(", "), TEXT_MAX_BYTES).0.to_owned())
}
