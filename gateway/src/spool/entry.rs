//! An entry as it is read back: whole and unharmed, or damaged.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use connector_sdk::Timestamp;

use super::packed::{Head, Row, fate};
use crate::pipeline::record::{Record, TopicRole};
use crate::telemetry::counters::Fate;

/// Header names that may be met in one process. The line writes a dozen.
const HEADER_NAMES_MAX: usize = 256;

/// One input that waits for Kafka.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Rises with each entry of a spool.
    pub id: i64,
    /// Empty for what is no input.
    pub instance: String,
    pub accepted_at: Timestamp,
    /// What it counts as when Kafka has it; none for what is no input.
    pub fate: Option<Fate>,
    pub records: Vec<Record>,
    /// Blobs beside it that are to be stored first.
    pub blobs: usize,
    /// What it counts against the spool's limit.
    pub bytes: u64,
}

/// An entry whose bytes are not those that were written.
#[derive(Clone, Debug)]
pub struct Damaged {
    pub id: i64,
    pub instance: String,
    pub accepted_at: Timestamp,
    pub reason: String,
    /// What it counts against the spool's limit.
    pub bytes: u64,
}

/// The records that a row tells of, without their values; none where it cannot be read.
pub(super) fn heads(text: &str) -> Vec<Record> {
    let heads: Vec<Head> = serde_json::from_str(text).unwrap_or_default();
    let record = |head: Head| {
        let topic = TopicRole::ALL.into_iter().find(|role| role.as_str() == head.topic)?;
        let headers = head.headers.into_iter().filter_map(|(name, value)| Some((interned(&name)?, value))).collect();
        Some(Record { topic, key: head.key, value: Bytes::new(), headers })
    };
    heads.into_iter().filter_map(record).collect()
}

impl Entry {
    pub(super) fn unpack(id: i64, row: Row, bytes: i64) -> Result<Self, Damaged> {
        let bytes = bytes.unsigned_abs();
        let accepted_at = Timestamp::from_unix_millis(row.accepted_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let damaged = |reason: &str| {
            let (instance, reason) = (row.instance.clone(), reason.to_owned());
            Damaged { id, instance, accepted_at, reason, bytes }
        };
        if row.checksum != row.sum() {
            return Err(damaged("the checksum does not fit"));
        }
        let heads: Vec<Head> = serde_json::from_str(&row.records).map_err(|error| damaged(&error.to_string()))?;
        let mut payload = Bytes::from(row.payload.clone());
        let mut records = Vec::with_capacity(heads.len());
        for head in heads {
            let Some(topic) = TopicRole::ALL.into_iter().find(|role| role.as_str() == head.topic) else {
                return Err(damaged(&format!("this version knows no topic '{}'", head.topic)));
            };
            if head.bytes > payload.len() {
                return Err(damaged("a value is cut short"));
            }
            let mut headers = Vec::with_capacity(head.headers.len());
            for (name, value) in head.headers {
                headers.push((interned(&name).ok_or_else(|| damaged("too many header names"))?, value));
            }
            records.push(Record { topic, key: head.key, value: payload.split_to(head.bytes), headers });
        }
        let fate = fate(&row.fate, row.events);
        let blobs = usize::try_from(row.blobs).unwrap_or(0);
        Ok(Self { id, instance: row.instance, accepted_at, fate, records, blobs, bytes })
    }

    /// What it takes in memory and on the wire, roughly.
    pub fn wire_bytes(&self) -> usize {
        self.records.iter().map(Record::wire_bytes).sum()
    }
}

/// Records name their headers by constants of the code; these come from a file.
fn interned(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= HEADER_NAMES_MAX {
        return None;
    }
    let leaked: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(leaked);
    Some(leaked)
}
