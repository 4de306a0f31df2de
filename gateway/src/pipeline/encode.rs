//! From events and orders to records: key, headers, value, claim check.

use bytes::Bytes;
use connector_sdk::FetchOrder;
use connector_sdk::parse::blob_ref;
use connector_sdk::schemas::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use super::blobs::BlobFault;
use super::instance::Instance;
use super::line::Line;
use super::record::{Record, TopicRole};

/// `content-type` of events.
pub const JSON: &str = "application/json";
/// Prefix of CloudEvents types.
pub const CE_TYPE_PREFIX: &str = "inlet.";
/// Size of a chat message's event, roughly.
const JSON_USUAL_BYTES: usize = 4096;

/// CloudEvents 1.0, Kafka binary mode: attributes as headers, the event as value.
pub async fn event(mut event: Box<Event>, line: &Line) -> Result<Record, BlobFault> {
    let has_blobs = event.attachments.iter().any(|attachment| attachment.blob.is_some());
    let mut value = to_json(&event);
    let claimed = value.len() > line.inline_max_bytes;
    if claimed {
        value = Box::pin(claim_check(&mut event, value, line)).await?;
    }
    let key = std::mem::take(&mut event.conversation.key);
    let mut headers = vec![
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", std::mem::take(&mut event.id)),
        ("ce_type", [CE_TYPE_PREFIX, event.kind.as_str()].concat()),
        ("ce_source", ["", &event.tenant, &event.connector, &event.account].join("/")),
        ("ce_time", event.occurred_at.to_text()),
        ("ce_subject", key.clone()),
        ("content-type", JSON.to_owned()),
    ];
    if let Some(trace) = event.trace.take() {
        headers.push(("traceparent", trace));
    }
    if has_blobs || claimed {
        headers.push(("inlet-blob-base", line.enricher.blobs.base().to_owned()));
    }
    Ok(Record { topic: TopicRole::Events, key, value, headers })
}

/// Stores the whole event and leaves its envelope with the reference.
async fn claim_check(event: &mut Event, whole: Bytes, line: &Line) -> Result<Bytes, BlobFault> {
    let reference = blob_ref(&whole);
    line.enricher.blobs.put(&reference, whole).await?;
    event.claim_check = Some(reference);
    event.text = None;
    event.content.clear();
    event.attachments.clear();
    event.provider_data = None;
    event.unsupported = None;
    let value = to_json(event);
    if value.len() <= line.inline_max_bytes {
        return Ok(value);
    }
    // An envelope this large has absurd lists in it; the blob has them whole.
    event.recipients.clear();
    event.conversation.references.clear();
    event.provenance.authentication.clear();
    event.provenance.message_ids.truncate(1);
    event.sender = None;
    event.conversation.subject = None;
    event.conversation.normalized_subject = None;
    Ok(to_json(event))
}

/// The record of a fetch order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    pub instance: String,
    pub order: FetchOrder,
    pub ordered_at: Timestamp,
}

/// A fetch order for `inlet.fetches`, keyed so that orders for the same thing meet in one partition.
pub fn fetch_order(instance: &Instance, order: &FetchOrder, ordered_at: Timestamp) -> Record {
    let record = OrderRecord { instance: instance.name.clone(), order: order.clone(), ordered_at };
    Record {
        topic: TopicRole::Fetches,
        key: format!("{}/{}", instance.name, order.id),
        value: to_json(&record),
        headers: vec![("content-type", JSON.to_owned())],
    }
}

/// Plain data to JSON, which cannot fail for these types: their maps have string keys.
pub fn to_json<T: Serialize>(value: &T) -> Bytes {
    // Room for most of them: growing from nothing copies each several times.
    let mut json = Vec::with_capacity(JSON_USUAL_BYTES);
    match serde_json::to_writer(&mut json, value) {
        Ok(()) => json.into(),
        Err(_) => Bytes::from_static(b"null"),
    }
}
