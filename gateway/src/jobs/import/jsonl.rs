//! A file with one JSON value a line, from any line on.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use super::lines::{self, Kept};
use super::{Found, Reader};

const BUFFER_BYTES: usize = 256 << 10;

pub struct Jsonl {
    file: BufReader<File>,
    name: String,
    max_bytes: u64,
    at: u64,
}

impl Jsonl {
    pub fn open(path: &Path, at: u64, max_bytes: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), name: super::file_name(path), max_bytes, at })
    }
}

impl Reader for Jsonl {
    fn next(&mut self) -> io::Result<Option<Found>> {
        loop {
            let (at, mut kept) = (self.at, Kept::default());
            let Some(line) = lines::read(&mut self.file, |part| kept.push(part, self.max_bytes))? else {
                return Ok(None);
            };
            self.at += line.bytes;
            if kept.bytes.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(Found {
                whole_bytes: kept.whole(self.max_bytes),
                bytes: kept.bytes.into(),
                stored_at: None,
                place: format!("{}#{at}", self.name),
                behind: self.at.into(),
                progress: self.at,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_from_any_place() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\":1}\n\n{\"b\":2}").unwrap();
        let mut lines = Jsonl::open(file.path(), 0, 100).unwrap();
        let first = lines.next().unwrap().unwrap();
        assert_eq!((&first.bytes[..], first.behind.as_u64()), (&b"{\"a\":1}\n"[..], Some(8)));
        assert_eq!(&lines.next().unwrap().unwrap().bytes[..], b"{\"b\":2}");
        assert!(lines.next().unwrap().is_none());
        assert_eq!(&Jsonl::open(file.path(), 8, 100).unwrap().next().unwrap().unwrap().bytes[..], b"{\"b\":2}");
    }
}
