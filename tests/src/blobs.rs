//! What a consumer does with a reference to stored bytes: joins it to the store's base, reads and verifies.

use crate::consume::Record;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// The bytes behind a reference `{path, sha256, size_bytes}` of a record; the store is a folder on this machine.
pub fn read(record: &Record, reference: &Value) -> Result<Vec<u8>> {
    let base = record.header("inlet-blob-base").context("no header inlet-blob-base")?;
    let folder = base.strip_prefix("file://").with_context(|| format!("{base} is no folder"))?;
    let path = reference["path"].as_str().with_context(|| format!("no path in {reference}"))?;
    let bytes = std::fs::read(Path::new(folder).join(path)).with_context(|| format!("{folder}/{path}"))?;
    ensure!(reference["size_bytes"] == bytes.len(), "{reference} has {} bytes", bytes.len());
    let sum = hex::encode(Sha256::digest(&bytes));
    ensure!(reference["sha256"] == sum.as_str(), "{reference} has the sum {sum}");
    Ok(bytes)
}

/// The whole event: the record's value, or what its claim check leads to.
pub fn whole_event(record: &Record) -> Result<Value> {
    let event = record.json()?;
    match event.get("claim_check") {
        None => Ok(event),
        Some(reference) => serde_json::from_slice(&read(record, reference)?).context("a claim check leads to JSON"),
    }
}
