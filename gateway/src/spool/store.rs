//! The database: opened and checked, appended to, emptied from the front.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use connector_sdk::Blob;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::DATABASE;
use super::error::SpoolError;
use super::packed::{Packed, Row};
use super::quarantine::{self, Report};
use super::wal::{self, Wal};

/// `PRAGMA application_id`: "INLT".
const APPLICATION_ID: i64 = 0x494e_4c54;
/// `PRAGMA user_version`.
const FORMAT: i64 = 1;
const LOCK: &str = "spool.lock";
/// Another process that looks at the database (`inlet spool status`, sqlite3) holds it for moments.
pub(super) const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// The WAL file is cut down to this when it has been emptied into the database.
const WAL_REST_BYTES: i64 = 16 << 20;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY, accepted_ms INTEGER NOT NULL, instance TEXT NOT NULL, fate TEXT NOT NULL, events INTEGER NOT NULL,
  bytes INTEGER NOT NULL, records TEXT NOT NULL, payload BLOB NOT NULL, blobs INTEGER NOT NULL, checksum BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS blobs (
  entry INTEGER NOT NULL, n INTEGER NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (entry, n)
) STRICT;
CREATE TABLE IF NOT EXISTS damaged (
  id INTEGER PRIMARY KEY, found_ms INTEGER NOT NULL, reason TEXT NOT NULL, accepted_ms ANY, instance ANY, records ANY, payload ANY
) STRICT;
";

/// How full a database is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub entries: u64,
    pub bytes: u64,
    pub oldest_ms: Option<i64>,
    pub damaged: u64,
    /// 0 = none.
    pub last_id: i64,
    /// Entries by instance; those of no instance under an empty name.
    pub instances: Vec<(String, u64)>,
}

/// An opened database; this process is its only writer.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    next_id: i64,
    _lock: File,
}

impl Store {
    /// Opens the spool of a directory, which is made where it is missing. Damage is moved aside and reported.
    pub fn open(dir: &Path) -> Result<(Self, Option<Report>), SpoolError> {
        std::fs::create_dir_all(dir).map_err(|error| SpoolError::io(dir, &error))?;
        let lock = lock(dir)?;
        Self::open_locked(dir, lock)
    }

    /// Opens anew after a failure, which may have been damage.
    pub fn reopen(self) -> Result<(Self, Option<Report>), SpoolError> {
        let Self { path, connection, _lock: lock, .. } = self;
        drop(connection);
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        Self::open_locked(&dir, lock)
    }

    pub(super) fn open_locked(dir: &Path, lock: File) -> Result<(Self, Option<Report>), SpoolError> {
        let path = dir.join(DATABASE);
        let mut report = match wal::inspect(&wal_of(&path)) {
            Ok(Wal::Whole) => None,
            Ok(Wal::Torn) => {
                tracing::info!(spool = %path.display(), "the end of the log was never confirmed and is cut off");
                None
            }
            // SQLite reads what stands before the damage, and forgets the rest: its bytes are kept.
            Ok(Wal::Damaged { at_frame }) => {
                let reason = format!("its log is damaged at frame {at_frame}, with confirmed input behind it");
                Some(quarantine::copy(dir, &reason)?)
            }
            Err(error) => return Err(SpoolError::io(&wal_of(&path), &error)),
        };
        let connection = match open_checked(&path) {
            Ok(connection) => connection,
            Err(SpoolError::Corrupt { reason, .. }) => {
                let moved = quarantine::aside(dir, &reason)?;
                let mut connection = open_checked(&path)?;
                report = Some(quarantine::salvage(moved, &mut connection)?);
                connection
            }
            Err(error) => return Err(error),
        };
        sync_directories(dir);
        let last: Option<i64> = connection
            .query_row("SELECT max(id) FROM entries", [], |row| row.get(0))
            .map_err(|error| SpoolError::sqlite(&path, &error))?;
        Ok((Self { path, connection, next_id: last.unwrap_or(0) + 1, _lock: lock }, report))
    }

    /// Writes entries in their order and fsyncs; gives the id of the first. All or none of them.
    pub fn append(&mut self, entries: &[Packed]) -> Result<i64, SpoolError> {
        let first = self.next_id;
        let written = self.connection.transaction().and_then(|transaction| {
            (first..).zip(entries).try_for_each(|(id, packed)| insert(&transaction, id, packed))?;
            transaction.commit()
        });
        written.map_err(|error| SpoolError::sqlite(&self.path, &error))?;
        self.next_id = first + i64::try_from(entries.len()).unwrap_or(0);
        Ok(first)
    }

    /// Removes entries up to and with this id: Kafka has them.
    pub fn remove_through(&mut self, id: i64) -> Result<(), SpoolError> {
        let removed = self.connection.transaction().and_then(|transaction| {
            transaction.prepare_cached("DELETE FROM blobs WHERE entry <= ?1")?.execute([id])?;
            transaction.prepare_cached("DELETE FROM entries WHERE id <= ?1")?.execute([id])?;
            transaction.commit()
        });
        removed.map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    /// Puts a damaged entry where it is kept and no longer sent.
    pub fn set_aside(&mut self, id: i64, reason: &str, now_ms: i64) -> Result<(), SpoolError> {
        let moved = self.connection.transaction().and_then(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO damaged SELECT id, ?2, ?3, accepted_ms, instance, records, payload FROM entries WHERE id = ?1",
                params![id, now_ms, reason],
            )?;
            transaction.execute("DELETE FROM entries WHERE id = ?1", [id])?;
            transaction.commit()
        });
        moved.map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    pub fn summary(&self) -> Result<Summary, SpoolError> {
        summarise(&self.connection).map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    /// Entries, bytes and oldest time after a removal: cheap, by the primary key.
    pub fn oldest_ms(&self) -> Result<Option<i64>, SpoolError> {
        let oldest = self
            .connection
            .prepare_cached("SELECT accepted_ms FROM entries ORDER BY id LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional());
        oldest.map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    /// A write that reaches the disk and changes nothing.
    pub fn probe(&mut self) -> Result<(), SpoolError> {
        self.connection
            .pragma_update(None, "user_version", FORMAT)
            .map_err(|error| SpoolError::sqlite(&self.path, &error))
    }

    /// There is space to give back.
    pub fn has_rest(&self) -> bool {
        let free = self.connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
        let log_bytes = std::fs::metadata(wal_of(&self.path)).map_or(0, |log| log.len());
        log_bytes > 0 || free.is_ok_and(|pages| pages > 0)
    }

    /// Gives back the space of what was removed. For when there is nothing else to do.
    pub fn shrink(&mut self) -> Result<(), SpoolError> {
        let shrunk = vacuum(&self.connection).and_then(|()| checkpoint(&self.connection));
        shrunk.map_err(|error| SpoolError::sqlite(&self.path, &error))
    }
}

/// Reads a database that another process may be writing.
pub fn summary(dir: &Path) -> Result<Summary, SpoolError> {
    let path = dir.join(DATABASE);
    let connection = open_to_read(&path)?;
    summarise(&connection).map_err(|error| SpoolError::sqlite(&path, &error))
}

fn summarise(connection: &Connection) -> rusqlite::Result<Summary> {
    let mut summary = connection.query_row(
        "SELECT count(*), coalesce(sum(bytes), 0), min(accepted_ms), (SELECT count(*) FROM damaged), coalesce(max(id), 0) FROM entries",
        [],
        |row| {
            let (entries, bytes, damaged): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(3)?);
            Ok(Summary {
                entries: entries.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
                oldest_ms: row.get(2)?,
                damaged: damaged.unsigned_abs(),
                last_id: row.get(4)?,
                instances: Vec::new(),
            })
        },
    )?;
    let mut by_instance =
        connection.prepare("SELECT instance, count(*) FROM entries GROUP BY instance ORDER BY instance")?;
    let rows = by_instance.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    summary.instances = rows.collect::<rusqlite::Result<_>>()?;
    Ok(summary)
}

pub(super) fn open_to_read(path: &Path) -> Result<Connection, SpoolError> {
    if !path.exists() {
        return Err(SpoolError::Missing(path.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_LIMIT)?;
        Ok(connection)
    });
    opened.map_err(|error| SpoolError::sqlite(path, &error))
}

/// Opens the database, made where it is missing, and looks through all of it.
fn open_checked(path: &Path) -> Result<Connection, SpoolError> {
    let failed = |error: rusqlite::Error| SpoolError::sqlite(path, &error);
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_LIMIT).map_err(failed)?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, format) = (number("application_id").map_err(failed)?, number("user_version").map_err(failed)?);
    // A power cut may have come before the name was written; then there are no tables yet.
    let tables = || connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
    let is_new = application == 0 && tables().map_err(failed)? == 0;
    if !is_new && application != APPLICATION_ID {
        return Err(SpoolError::Corrupt { path: path.to_owned(), reason: "it is no spool of Inlet's".to_owned() });
    }
    if format > FORMAT {
        return Err(SpoolError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    settle_in(&connection, is_new).map_err(failed)?;
    let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if said != "ok" {
        return Err(SpoolError::Corrupt { path: path.to_owned(), reason: said });
    }
    // What a crash left in the log goes into the database, so that a new log begins without remains of it.
    checkpoint(&connection).map_err(failed)?;
    Ok(connection)
}

fn settle_in(connection: &Connection, is_new: bool) -> rusqlite::Result<()> {
    if is_new {
        // The journal of these first writes must not come back after a power cut.
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        // Before the first write; and the name before the tables, so that a crash in between leaves nothing unknown.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // Every commit is fsynced: this is what makes an answer safe.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.query_row(&format!("PRAGMA journal_size_limit = {WAL_REST_BYTES}"), [], |_| Ok(()))?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.execute_batch(SCHEMA)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Each step frees one page.
fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    // Its first column says whether a reader was in the way: then the next one does it.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Adds one entry, within whatever transaction there is.
pub(super) fn insert(connection: &Connection, id: i64, packed: &Packed) -> rusqlite::Result<()> {
    let Packed { row, blobs, bytes, .. } = packed;
    insert_row(connection, id, row, i64::try_from(*bytes).unwrap_or(i64::MAX))?;
    for (n, Blob { reference, bytes }) in (0_i64..).zip(blobs) {
        connection.prepare_cached("INSERT INTO blobs VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            id,
            n,
            reference.path,
            reference.sha256,
            bytes.as_ref()
        ])?;
    }
    Ok(())
}

fn insert_row(connection: &Connection, id: i64, row: &Row, bytes: i64) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    insert.execute(params![
        id,
        row.accepted_ms,
        row.instance,
        row.fate,
        row.events,
        bytes,
        row.records,
        row.payload,
        row.blobs,
        row.checksum
    ])?;
    Ok(())
}

/// The file that SQLite keeps beside a database.
pub(super) fn wal_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| SpoolError::io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(SpoolError::io(&path, &error)),
    }
}

/// New files are in directories that may be new too; a power cut must not take them away. What cannot be synced is a file
/// system without that notion.
fn sync_directories(dir: &Path) {
    for dir in [Some(dir), dir.parent()].into_iter().flatten() {
        if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
            tracing::debug!(dir = %dir.display(), %error, "a directory cannot be synced");
        }
    }
}
