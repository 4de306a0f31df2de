//! What can be wrong with a spool, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the spool does not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("spool {}: in use by another process; every process needs a spool (data_dir) of its own", .0.display())]
    InUse(PathBuf),
    #[error("spool {}: there is none here", .0.display())]
    Missing(PathBuf),
    #[error("spool {}: written by a newer Inlet (format {found}, this one knows {known}); use that version", .path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("spool {}: damaged: {reason}", .path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error(
        "spool: full ({bytes} of {max_bytes} bytes); it empties when Kafka takes records again, spool.max_bytes is its limit"
    )]
    Full { bytes: u64, max_bytes: u64 },
    #[error("spool {}: {reason}", .path.display())]
    Disk { path: PathBuf, reason: String },
    #[error("spool: closed, the process is stopping")]
    Closed,
}

impl SpoolError {
    pub(super) fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, reason },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse(path),
            _ => Self::Disk { path, reason },
        }
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Disk { path: path.to_owned(), reason: error.to_string() }
    }
}
