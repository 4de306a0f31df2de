//! One input as it is kept, from either topic.

use connector_sdk::RawEvent;
use connector_sdk::schemas::{BlobRef, Timestamp};

use crate::pipeline::blobs::{BlobFault, BlobStore};
use crate::pipeline::deadletter::DeadLetter;
use crate::pipeline::raw::{RawInput, read_claimed};
use crate::pipeline::record::TopicRole;

/// A record of `inlet.raw` or `inlet.deadletter`.
#[derive(Clone, Debug)]
pub struct Kept {
    pub role: TopicRole,
    pub key: String,
    pub instance: String,
    pub connector: String,
    /// Why it is a dead letter; empty for a raw input.
    pub reason: String,
    pub received_at: Timestamp,
    /// Of the body before redaction.
    pub raw_sha256: String,
    /// What came of it when it was kept.
    pub event_ids: Vec<String>,
    raw: Option<RawEvent>,
    pub claim_check: Option<BlobRef>,
}

impl Kept {
    /// `None` for what is no record of Inlet's.
    pub fn read(role: TopicRole, key: &str, value: &[u8]) -> Option<Self> {
        let key = key.to_owned();
        match role {
            TopicRole::DeadLetter => {
                let letter: DeadLetter = serde_json::from_slice(value).ok()?;
                let DeadLetter { instance, connector, reason, received_at, raw_sha256, raw, claim_check, .. } = letter;
                let event_ids = Vec::new();
                Some(Self {
                    role,
                    key,
                    instance,
                    connector,
                    reason,
                    received_at,
                    raw_sha256,
                    event_ids,
                    raw,
                    claim_check,
                })
            }
            TopicRole::Raw => {
                let input: RawInput = serde_json::from_slice(value).ok()?;
                let RawInput { instance, connector, received_at, raw_sha256, event_ids, raw, claim_check, .. } = input;
                let reason = String::new();
                Some(Self {
                    role,
                    key,
                    instance,
                    connector,
                    reason,
                    received_at,
                    raw_sha256,
                    event_ids,
                    raw,
                    claim_check,
                })
            }
            TopicRole::Events | TopicRole::Fetches | TopicRole::Cursors | TopicRole::Seen => None,
        }
    }

    /// The redacted input; `None` where its bytes were not kept, or are gone from the store.
    pub async fn input(&self, blobs: &BlobStore) -> Result<Option<RawEvent>, BlobFault> {
        match (&self.raw, &self.claim_check) {
            (Some(raw), _) => Ok(Some(raw.clone())),
            (None, Some(reference)) => Ok(read_claimed(&blobs.get(reference).await?)),
            (None, None) => Ok(None),
        }
    }
}
