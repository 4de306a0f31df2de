//! From bytes to events.

use bytes::Bytes;
use inlet_schemas::{Attachment, BlobRef, Channel, Event, FetchState, Kind, Timestamp, UnsupportedPart};
use serde_json::Value;

use crate::fetch::FetchOrder;
use crate::key::{EventKey, sha256_hex};
use crate::raw::RawEvent;

/// Bytes in, events out. Pure (no I/O, no clock, no randomness) and total: it never panics and never loses; what it does
/// not understand comes back in `rejected` or as an `unsupported` event with the raw part.
pub trait Parse: Send + Sync {
    fn parse(&self, raw: &RawEvent) -> Parsed;

    /// The input without secrets, for dead letters and the raw topic: headers outside the allow-list and the
    /// values of query parameters masked. Connectors whose bodies carry tokens override it and mask those paths too;
    /// those that read query parameters keep them by [`crate::redact::query`].
    fn redact(&self, raw: &RawEvent) -> RawEvent {
        crate::redact::request(raw, &[])
    }
}

/// What became of one input; never all empty.
#[derive(Debug, Default)]
pub struct Parsed {
    pub events: Vec<Draft>,
    /// Items that are known and deliberately not published (a typing notice), by name.
    pub skipped: Vec<Skipped>,
    /// Items that could not be understood: dead letters.
    pub rejected: Vec<Rejected>,
    /// What has to be fetched; goes to `inlet.fetches` before the input is settled.
    pub fetches: Vec<FetchOrder>,
}

impl Parsed {
    pub fn one(draft: Draft) -> Self {
        Self { events: vec![draft], ..Self::default() }
    }

    pub fn skip(item: impl Into<String>, reason: &'static str) -> Self {
        Self { skipped: vec![Skipped { item: item.into(), reason }], ..Self::default() }
    }

    pub fn reject(code: &'static str, detail: impl Into<String>) -> Self {
        Self { rejected: vec![Rejected::whole(code, detail)], ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.skipped.is_empty() && self.rejected.is_empty() && self.fetches.is_empty()
    }

    /// Adds what another item of the same input gave.
    pub fn merge(&mut self, other: Parsed) {
        self.events.extend(other.events);
        self.skipped.extend(other.skipped);
        self.rejected.extend(other.rejected);
        self.fetches.extend(other.fetches);
    }
}

/// An event before the stamp, the key that its id is made of, and the bytes that its attachments refer to.
#[derive(Debug)]
pub struct Draft {
    pub key: EventKey,
    /// Boxed: an event is large, and moves along the whole line.
    pub event: Box<Event>,
    pub blobs: Vec<Blob>,
}

/// Bytes that came within the input and go to the blob store before the event is published.
#[derive(Clone)]
pub struct Blob {
    pub reference: BlobRef,
    pub bytes: Bytes,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blob").field(&self.reference.path).field(&self.bytes.len()).finish()
    }
}

impl Draft {
    pub fn new(key: EventKey, event: impl Into<Box<Event>>) -> Self {
        Self { key, event: event.into(), blobs: Vec::new() }
    }

    /// An event of a type that the connector does not model: named, with its raw part.
    pub fn unsupported(
        key: EventKey,
        channel: Channel,
        provider: &str,
        account: impl Into<String>,
        occurred_at: Timestamp,
        provider_type: impl Into<String>,
        raw: Value,
    ) -> Self {
        let mut event = Event::new(Kind::Unsupported, channel, provider, account, occurred_at);
        event.unsupported = Some(UnsupportedPart { provider_type: provider_type.into(), raw });
        Self::new(key, event)
    }

    /// Adds an attachment whose bytes are at hand; its state and blob reference are filled in.
    pub fn attach(&mut self, mut attachment: Attachment, bytes: Bytes) {
        let reference = blob_ref(&bytes);
        attachment.fetch_state = FetchState::Stored;
        attachment.blob = Some(reference.clone());
        if !self.blobs.iter().any(|have| have.reference.sha256 == reference.sha256) {
            self.blobs.push(Blob { reference, bytes });
        }
        self.event.attachments.push(attachment);
    }
}

/// The content address of some bytes.
pub fn blob_ref(bytes: &[u8]) -> BlobRef {
    let sha256 = sha256_hex(bytes);
    BlobRef { path: blob_path(&sha256), sha256, size_bytes: bytes.len() as u64 }
}

/// Path under the blob store's root of the bytes with this SHA-256 (lower-case hex).
pub fn blob_path(sha256: &str) -> String {
    format!("sha256/{}/{sha256}", sha256.get(..2).unwrap_or("xx"))
}

/// A known item that is deliberately not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The provider's name of its type.
    pub item: String,
    pub reason: &'static str,
}

/// An item that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Stable code for counting and for replaying by reason (`malformed_json`, `missing_field`).
    pub code: &'static str,
    /// What was wrong and where; no content of the message.
    pub detail: String,
    /// The item's bytes where it is part of a batch; absent = the whole input.
    pub raw: Option<Bytes>,
}

impl Rejected {
    pub fn whole(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), raw: None }
    }

    pub fn part(code: &'static str, detail: impl Into<String>, raw: impl Into<Bytes>) -> Self {
        Self { code, detail: detail.into(), raw: Some(raw.into()) }
    }
}
