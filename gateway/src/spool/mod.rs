//! The spool: where push input is safe while Kafka does not take it.
//!
//! One SQLite database in WAL mode with `synchronous=FULL` under `data_dir/spool`, so that an operator can look inside. An
//! entry is one input: its records, what it counts as, and the blobs that the store did not take. One thread writes
//! (`writer`), many inputs a commit, and answers only after the fsync. [`publisher`] decides which way an input goes,
//! [`drain`] brings entries to Kafka in their order. Nothing leaves the spool but by way of Kafka: limits refuse new input,
//! they never drop old.

pub mod collector;
pub mod drain;
mod entry;
mod error;
mod figures;
mod gate;
mod lane;
mod packed;
mod patience;
pub mod publisher;
mod quarantine;
mod reader;
pub mod service;
mod store;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use self::entry::Entry;
pub use self::error::SpoolError;
pub use self::figures::{Figures, SpoolState};
pub use self::lane::{Lane, Sent};
pub use self::reader::Reader;
pub use self::store::{Summary, summary};
pub use self::writer::{Spool, exists};
use crate::config::Config;

/// Name of the database within the spool's directory.
pub const DATABASE: &str = "spool.db";

/// Name of the directory under `data_dir`.
pub const DIRECTORY: &str = "spool";

/// Where a spool is, and its limits.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// Directory of the database, its lock and what was quarantined.
    pub dir: PathBuf,
    /// Inputs beyond this are refused.
    pub max_bytes: u64,
    /// An entry older than this raises an alert. It stays.
    pub max_age: Duration,
}

impl SpoolSettings {
    /// As configured; none where it is off.
    pub fn of(config: &Config) -> Option<Self> {
        let section = config.spool.on()?;
        let dir = config.data_dir.join(DIRECTORY);
        Some(Self { dir, max_bytes: section.max_bytes.0 as u64, max_age: section.max_age.0 })
    }
}
