//! Messages that are files: a Maildir, or a folder of .eml files (or one alone). In the order of their names, so that a
//! name is a place to go on from.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use connector_sdk::Timestamp;
use serde_json::Value;

use super::lines;
use super::{Found, Reader};

const EML: &str = "eml";

/// One file.
struct Entry {
    /// Its place in the order, stable while it lies there.
    name: String,
    path: PathBuf,
}

pub struct Files {
    entries: std::vec::IntoIter<Entry>,
    max_bytes: u64,
    stored_at: fn(&str) -> Option<Timestamp>,
    done: u64,
}

impl Files {
    /// The mails of a Maildir, read or not, behind the one of this name.
    pub fn maildir(path: &Path, after: Option<&str>, max_bytes: u64) -> io::Result<(Self, u64)> {
        let mut entries = Vec::new();
        for part in ["cur", "new"] {
            for entry in fs::read_dir(path.join(part))? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('.') || !entry.file_type()?.is_file() {
                    continue;
                }
                entries.push(Entry { name: unique(&name).to_owned(), path: entry.path() });
            }
        }
        Ok(Self::ordered(entries, after, max_bytes, maildir_time))
    }

    /// One .eml file, or all below a folder.
    pub fn eml(path: &Path, after: Option<&str>, max_bytes: u64) -> io::Result<(Self, u64)> {
        let mut entries = Vec::new();
        if path.is_dir() {
            below(path, path, &mut entries)?;
        } else {
            // Fails here, not in the middle.
            File::open(path)?;
            entries.push(Entry { name: super::file_name(path), path: path.to_owned() });
        }
        Ok(Self::ordered(entries, after, max_bytes, |_| None))
    }

    fn ordered(
        mut entries: Vec<Entry>,
        after: Option<&str>,
        max_bytes: u64,
        stored_at: fn(&str) -> Option<Timestamp>,
    ) -> (Self, u64) {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let total = entries.len() as u64;
        entries.retain(|entry| after.is_none_or(|after| entry.name.as_str() > after));
        let done = total - entries.len() as u64;
        (Self { entries: entries.into_iter(), max_bytes, stored_at, done }, total)
    }
}

impl Reader for Files {
    fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            let Some(Entry { name, path }) = self.entries.next() else { return Ok(None) };
            self.done += 1;
            let file = match open(&path) {
                Ok(file) => file,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let kept = lines::whole_file(&mut BufReader::new(file), self.max_bytes)?;
            return Ok(Some(Found {
                whole_bytes: kept.whole(self.max_bytes),
                bytes: kept.bytes.into(),
                stored_at: (self.stored_at)(&name),
                place: name.clone(),
                behind: Value::String(name),
                progress: self.done,
            }));
        }
    }
}

/// A mail program may have changed its flags, or moved it from `new` to `cur`, since it was listed.
fn open(path: &Path) -> io::Result<File> {
    let error = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        opened => return opened,
    };
    let (Some(folder), Some(name)) = (path.parent().and_then(Path::parent), path.file_name()) else {
        return Err(error);
    };
    let (name, cur) = (name.to_string_lossy().into_owned(), folder.join("cur"));
    if !cur.is_dir() {
        return Err(error);
    }
    for entry in fs::read_dir(cur)? {
        let entry = entry?;
        if unique(&entry.file_name().to_string_lossy()) == unique(&name) {
            return File::open(entry.path());
        }
    }
    Err(error)
}

/// The part of a Maildir name that never changes: before the flags.
fn unique(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Names begin with the second of delivery.
fn maildir_time(name: &str) -> Option<Timestamp> {
    name.split('.').next()?.parse().ok().and_then(Timestamp::from_unix_seconds)
}

fn below(top: &Path, folder: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Links are followed to files, not to folders, which might lead round in a circle.
        if fs::symlink_metadata(&path)?.is_dir() {
            below(top, &path, entries)?;
        } else if path.extension().is_some_and(|have| have.eq_ignore_ascii_case(EML)) && path.is_file() {
            let name = path.strip_prefix(top).unwrap_or(&path).to_string_lossy().into_owned();
            entries.push(Entry { name, path });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(mut files: Files) -> Vec<String> {
        std::iter::from_fn(|| files.next().unwrap()).map(|found| found.place).collect()
    }

    #[test]
    fn a_maildir_is_read_in_order_whatever_the_flags() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["cur", "new", "tmp"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        for file in ["cur/1600000001.b:2,S", "new/1600000000.a", "cur/1600000002.c:2,", "tmp/1600000003.d"] {
            fs::write(dir.path().join(file), "A: b\n\nc").unwrap();
        }
        let (files, total) = Files::maildir(dir.path(), None, 100).unwrap();
        assert_eq!(
            (names(files), total),
            (vec!["1600000000.a".into(), "1600000001.b".into(), "1600000002.c".into()], 3)
        );
        let (mut files, _) = Files::maildir(dir.path(), Some("1600000000.a"), 100).unwrap();
        // Read meanwhile by somebody.
        fs::rename(dir.path().join("cur/1600000002.c:2,"), dir.path().join("cur/1600000002.c:2,S")).unwrap();
        fs::remove_file(dir.path().join("cur/1600000001.b:2,S")).unwrap();
        let found = files.next().unwrap().unwrap();
        assert_eq!((found.place.as_str(), found.progress), ("1600000002.c", 3));
        assert_eq!(found.stored_at, Timestamp::from_unix_seconds(1_600_000_002));
    }

    #[test]
    fn eml_files_are_found_below_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        for file in ["b/2.EML", "a.eml", "b/1.eml", "note.txt"] {
            fs::write(dir.path().join(file), "A: b\n\nc").unwrap();
        }
        assert_eq!(names(Files::eml(dir.path(), None, 100).unwrap().0), ["a.eml", "b/1.eml", "b/2.EML"]);
        assert_eq!(names(Files::eml(&dir.path().join("a.eml"), None, 100).unwrap().0), ["a.eml"]);
        assert!(Files::eml(&dir.path().join("none.eml"), None, 100).is_err());
    }
}
