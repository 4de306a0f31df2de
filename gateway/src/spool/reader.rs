//! Reads entries in their order, beside the writer.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use connector_sdk::Blob;
use connector_sdk::parse::blob_ref;
use rusqlite::{Connection, Row as SqlRow, params};

use super::DATABASE;
use super::entry::{Damaged, Entry, heads};
use super::error::SpoolError;
use super::packed::Row;
use super::store::open_to_read;
use crate::pipeline::record::Record;

/// A connection that only reads.
pub struct Reader {
    path: PathBuf,
    connection: Connection,
}

/// An entry, or what is left of it.
pub type Found = Result<Entry, Damaged>;

impl Reader {
    /// Opens the database of a spool's directory.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(DATABASE);
        Ok(Self { connection: open_to_read(&path)?, path })
    }

    /// Entries behind `after` up to `through`, in order: at most so many, and not much more than so many bytes.
    pub fn read(
        &self,
        (after, through): (i64, i64),
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Found>, SpoolError> {
        self.rows((after, through), entries_max, bytes_max).map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    fn rows(&self, (after, through): (i64, i64), entries_max: usize, bytes_max: usize) -> rusqlite::Result<Vec<Found>> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![after, through, i64::try_from(entries_max).unwrap_or(i64::MAX)])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            let (id, row, counted) = columns(row)?;
            bytes += row.payload.len() + row.records.len();
            found.push(Entry::unpack(id, row, counted));
        }
        Ok(found)
    }

    /// The records of all entries, in order, without their values. What is damaged is the drain's to tell.
    pub fn heads(&self, mut each: impl FnMut(&Record)) -> Result<(), SpoolError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare("SELECT records FROM entries ORDER BY id")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                heads(&row.get::<_, String>(0)?).iter().for_each(&mut each);
            }
            Ok(())
        };
        read().map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    /// One blob of an entry. One that is not there, or not what its address says, is damage.
    pub fn blob(&self, entry: i64, n: usize) -> Result<Blob, SpoolError> {
        let sql = "SELECT sha256, bytes FROM blobs WHERE entry = ?1 AND n = ?2";
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row(params![entry, i64::try_from(n).unwrap_or(i64::MAX)], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
        });
        let damaged = |reason: String| SpoolError::Corrupt { path: self.path.clone(), reason };
        let (sha256, bytes) = match found {
            Ok(found) => found,
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                return Err(damaged(format!("blob {n} of entry {entry} is missing")));
            }
            Err(error) => return Err(SpoolError::sqlite(&self.path, &error)),
        };
        let bytes = Bytes::from(bytes);
        let reference = blob_ref(&bytes);
        if reference.sha256 != sha256 {
            return Err(damaged(format!("blob {n} of entry {entry} is not what it was")));
        }
        Ok(Blob { reference, bytes })
    }
}

pub(super) const COLUMNS: &str = "id, accepted_ms, instance, fate, events, records, payload, blobs, checksum, bytes";

/// A row of [`COLUMNS`]: its id, its contents, and what it counts against the limit.
pub(super) fn columns(row: &SqlRow<'_>) -> rusqlite::Result<(i64, Row, i64)> {
    let contents = Row {
        accepted_ms: row.get(1)?,
        instance: row.get(2)?,
        fate: row.get(3)?,
        events: row.get(4)?,
        records: row.get(5)?,
        payload: row.get(6)?,
        blobs: row.get(7)?,
        checksum: row.get(8)?,
    };
    Ok((row.get(0)?, contents, row.get(9)?))
}
