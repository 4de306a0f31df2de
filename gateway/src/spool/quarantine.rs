//! Damage: the files are kept aside as they are, what is readable goes on, and all of it is said aloud.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use connector_sdk::Blob;
use connector_sdk::schemas::BlobRef;
use rusqlite::{Connection, params};

use super::DATABASE;
use super::entry::Entry;
use super::error::SpoolError;
use super::packed::Packed;
use super::reader::{COLUMNS, columns};
use super::store::{insert, wal_of};

/// What was found damaged, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Where the files are now.
    pub kept: PathBuf,
    pub reason: String,
    /// Entries that were taken over from them.
    pub salvaged: u64,
    /// Entries that were found and could not be read whole.
    pub unreadable: u64,
}

/// Copies the files: the database goes on with what is readable.
pub(super) fn copy(dir: &Path, reason: &str) -> Result<Report, SpoolError> {
    let kept = place(dir)?;
    for file in files(dir) {
        let to = kept.join(file.file_name().unwrap_or_default());
        std::fs::copy(&file, &to).map_err(|error| SpoolError::io(&to, &error))?;
    }
    Ok(Report { kept, reason: reason.to_owned(), salvaged: 0, unreadable: 0 })
}

/// Moves the files: a new database begins.
pub(super) fn aside(dir: &Path, reason: &str) -> Result<Report, SpoolError> {
    let kept = place(dir)?;
    for file in files(dir) {
        let to = kept.join(file.file_name().unwrap_or_default());
        std::fs::rename(&file, &to).map_err(|error| SpoolError::io(&to, &error))?;
    }
    Ok(Report { kept, reason: reason.to_owned(), salvaged: 0, unreadable: 0 })
}

/// A directory for what is damaged, named after the time and never used before.
fn place(dir: &Path) -> Result<PathBuf, SpoolError> {
    let stamp = crate::clock::now().unix_millis();
    let place = dir.join(format!("quarantine-{stamp}"));
    std::fs::create_dir(&place).map_err(|error| SpoolError::io(&place, &error))?;
    Ok(place)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let database = dir.join(DATABASE);
    let mut shm = database.as_os_str().to_owned();
    shm.push("-shm");
    [wal_of(&database), shm.into(), database].into_iter().filter(|file| file.exists()).collect()
}

/// Takes over what can be read. Works on a copy: reading a database writes to it.
pub(super) fn salvage(mut report: Report, into: &mut Connection) -> Result<Report, SpoolError> {
    let copy = report.kept.join("reading");
    let failed = |error: &std::io::Error| SpoolError::io(&copy, error);
    std::fs::create_dir(&copy).map_err(|error| failed(&error))?;
    for file in files(&report.kept) {
        std::fs::copy(&file, copy.join(file.file_name().unwrap_or_default())).map_err(|error| failed(&error))?;
    }
    let path = copy.join(DATABASE);
    let taken = into.transaction().and_then(|transaction| {
        match Connection::open(&path) {
            Ok(from) => take_over(&from, &transaction, &mut report)?,
            Err(_) => report.unreadable += 1,
        }
        transaction.commit()
    });
    taken.map_err(|error| SpoolError::sqlite(&path, &error))?;
    std::fs::remove_dir_all(&copy).map_err(|error| failed(&error))?;
    Ok(report)
}

/// From the front up to the damage, then from the end back to it.
fn take_over(from: &Connection, into: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let mut reached = i64::MIN;
    for order in ["ASC", "DESC"] {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE id > ?1 ORDER BY id {order}");
        let Ok(mut statement) = from.prepare(&sql) else { break };
        let Ok(mut rows) = statement.query(params![reached]) else { break };
        loop {
            let (id, row, bytes) = match rows.next() {
                // All of it was read.
                Ok(None) => return Ok(()),
                Ok(Some(row)) => match columns(row) {
                    Ok(row) => row,
                    Err(_) => break,
                },
                Err(_) => break,
            };
            if order == "ASC" {
                reached = id;
            }
            match (Entry::unpack(id, row.clone(), bytes), blobs(from, id, row.blobs)) {
                (Ok(_), Some(blobs)) => {
                    let packed = Packed { row, blobs, bytes: bytes.unsigned_abs(), counters: None };
                    insert(into, id, &packed)?;
                    report.salvaged += 1;
                }
                _ => report.unreadable += 1,
            }
        }
    }
    // Whatever stands where both ways ended.
    report.unreadable += 1;
    Ok(())
}

fn blobs(from: &Connection, entry: i64, count: i64) -> Option<Vec<Blob>> {
    let mut statement =
        from.prepare_cached("SELECT path, sha256, bytes FROM blobs WHERE entry = ?1 ORDER BY n").ok()?;
    let rows = statement.query_map([entry], |row| {
        let bytes: Vec<u8> = row.get(2)?;
        let reference = BlobRef { path: row.get(0)?, sha256: row.get(1)?, size_bytes: bytes.len() as u64 };
        Ok(Blob { reference, bytes: Bytes::from(bytes) })
    });
    let blobs: Vec<_> = rows.ok()?.collect::<rusqlite::Result<_>>().ok()?;
    (i64::try_from(blobs.len()) == Ok(count)).then_some(blobs)
}
