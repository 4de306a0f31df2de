//! An entry as it is written: readable columns, one payload, one checksum over all of it.

use connector_sdk::{Blob, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::delivery::Parcel;
use crate::pipeline::record::Record;
use crate::telemetry::counters::{Fate, InstanceCounters};

/// What a row takes in the file beside its contents, roughly.
const ROW_OVERHEAD_BYTES: usize = 128;
/// Bytes of the checksum: SHA-256, cut.
pub(super) const CHECKSUM_BYTES: usize = 16;

/// One input on its way into the database.
pub(super) struct Packed {
    pub row: Row,
    pub blobs: Vec<Blob>,
    /// Counts against `max_bytes`.
    pub bytes: u64,
    /// Whose input it is; none for what is nobody's.
    pub counters: Option<InstanceCounters>,
}

/// The columns of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub instance: String,
    pub accepted_ms: i64,
    /// What it counts as; empty for what is no input.
    pub fate: String,
    pub events: i64,
    /// Heads of the records as JSON.
    pub records: String,
    /// Their values, one after the other.
    pub payload: Vec<u8>,
    pub blobs: i64,
    pub checksum: Vec<u8>,
}

/// A record without its value.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub topic: String,
    pub key: String,
    pub headers: Vec<(String, String)>,
    pub bytes: usize,
}

impl Packed {
    pub fn input(parcel: Parcel<'_>) -> Self {
        let Parcel { records, blobs, accepted_at, answer_by: _, fate, counters } = parcel;
        let (name, events) = fate_columns(fate);
        Self::new(counters.instance().to_owned(), accepted_at, (name, events), &records, blobs, Some(counters.clone()))
    }

    /// Records that are no input's: events about an instance, letters of orders.
    pub fn records(records: &[Record], now: Timestamp) -> Self {
        Self::new(String::new(), now, ("", 0), records, Vec::new(), None)
    }

    fn new(
        instance: String,
        accepted_at: Timestamp,
        (fate, events): (&str, i64),
        records: &[Record],
        blobs: Vec<Blob>,
        counters: Option<InstanceCounters>,
    ) -> Self {
        let heads: Vec<_> = records.iter().map(head).collect();
        let mut payload = Vec::with_capacity(records.iter().map(|record| record.value.len()).sum());
        records.iter().for_each(|record| payload.extend_from_slice(&record.value));
        let mut row = Row {
            instance,
            accepted_ms: accepted_at.unix_millis(),
            fate: fate.to_owned(),
            events,
            // Plain texts and numbers: it cannot fail.
            records: serde_json::to_string(&heads).unwrap_or_default(),
            payload,
            blobs: i64::try_from(blobs.len()).unwrap_or(i64::MAX),
            checksum: Vec::new(),
        };
        row.checksum = row.sum().to_vec();
        let own = row.instance.len() + row.records.len() + row.payload.len() + ROW_OVERHEAD_BYTES;
        let bytes = own + blobs.iter().map(|blob| blob.bytes.len() + ROW_OVERHEAD_BYTES).sum::<usize>();
        Self { row, blobs, bytes: bytes as u64, counters }
    }
}

impl Row {
    /// The checksum that the columns should have.
    pub fn sum(&self) -> [u8; CHECKSUM_BYTES] {
        let mut hash = Sha256::new();
        for part in [self.instance.as_bytes(), self.fate.as_bytes(), self.records.as_bytes(), &self.payload] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        for number in [self.accepted_ms, self.events, self.blobs] {
            hash.update(number.to_le_bytes());
        }
        let mut sum = [0; CHECKSUM_BYTES];
        sum.copy_from_slice(&hash.finalize()[..CHECKSUM_BYTES]);
        sum
    }
}

fn head(record: &Record) -> Head {
    Head {
        topic: record.topic.as_str().to_owned(),
        key: record.key.clone(),
        headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        bytes: record.value.len(),
    }
}

fn fate_columns(fate: Fate) -> (&'static str, i64) {
    match fate {
        Fate::Published { events } => ("published", i64::try_from(events).unwrap_or(i64::MAX)),
        Fate::Skipped => ("skipped", 0),
        Fate::Duplicate => ("duplicate", 0),
        Fate::DeadLettered => ("dead_lettered", 0),
        // Nobody spools these.
        Fate::Spooled | Fate::Returned(_) => ("", 0),
    }
}

/// The fate that the columns say.
pub(super) fn fate(name: &str, events: i64) -> Option<Fate> {
    match name {
        "published" => Some(Fate::Published { events: usize::try_from(events).unwrap_or(0) }),
        "skipped" => Some(Fate::Skipped),
        "duplicate" => Some(Fate::Duplicate),
        "dead_lettered" => Some(Fate::DeadLettered),
        _ => None,
    }
}
