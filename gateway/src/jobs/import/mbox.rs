//! An mbox file, mail by mail, from any place in it.
//!
//! A mail begins with a line `From sender date` at the start of the file or behind an empty line. Where a mail itself has
//! such a line, its writer puts `>` before it (mboxrd: also before lines that have one already); one is taken away again,
//! so that the mail is what it was.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use connector_sdk::Timestamp;

use super::lines::{self, Kept, last_two};
use super::{Found, Reader};

const BUFFER_BYTES: usize = 256 << 10;
/// Of each line, what is looked at to tell what it is.
const LOOK_BYTES: usize = 256;

pub struct Mbox {
    file: BufReader<File>,
    name: String,
    max_bytes: u64,
    unquote: bool,
    /// Where the next line begins.
    at: u64,
    /// The `From ` line that was read last: the mail behind it is next.
    begun: Option<Begun>,
}

struct Begun {
    at: u64,
    stored_at: Option<Timestamp>,
}

/// A line as far as it matters here.
#[derive(Default)]
struct Seen {
    start: Vec<u8>,
    end: [u8; 2],
}

impl Mbox {
    /// `at`: where a mail begins; 0 for the first.
    pub fn open(path: &Path, at: u64, max_bytes: u64, unquote: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(at))?;
        let name = super::file_name(path);
        let file = BufReader::with_capacity(BUFFER_BYTES, file);
        let mut mbox = Self { file, name, max_bytes, unquote, at, begun: None };
        if at < end {
            let mut seen = Seen::default();
            mbox.line(&mut seen, None)?;
            mbox.begun = separator(&seen.start).map(|stored_at| Begun { at, stored_at });
            if mbox.begun.is_none() {
                let text = format!("no mbox: at byte {at} no mail begins with a line 'From sender date'");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(mbox)
    }

    /// Reads a line into `kept`, without what quotes it. A separator is put in too, and taken out by whoever sees it.
    fn line(&mut self, seen: &mut Seen, mut kept: Option<&mut Kept>) -> io::Result<bool> {
        *seen = Seen::default();
        let (unquote, max_bytes) = (self.unquote, self.max_bytes);
        // The start is held back until it is known: a buffer may end within it.
        let mut keep = |start: &[u8], rest: &[u8]| {
            if let Some(kept) = kept.as_deref_mut() {
                let quoted = unquote && is_quoted(start);
                kept.push(&start[usize::from(quoted)..], max_bytes);
                kept.push(rest, max_bytes);
            }
        };
        let line = lines::read(&mut self.file, |part| {
            seen.end = last_two(seen.end, part);
            let room = LOOK_BYTES - seen.start.len();
            let (start, rest) = part.split_at(part.len().min(room));
            seen.start.extend_from_slice(start);
            if room == 0 {
                keep(&[], rest);
            } else if seen.start.len() == LOOK_BYTES {
                keep(&seen.start, rest);
            }
        })?;
        let Some(line) = line else { return Ok(false) };
        if seen.start.len() < LOOK_BYTES {
            keep(&seen.start, &[]);
        }
        self.at += line.bytes;
        if line.has_end
            && seen.end[0] != b'\r'
            && let Some(kept) = kept
        {
            kept.bare_newline();
        }
        Ok(true)
    }
}

impl Reader for Mbox {
    fn next(&mut self) -> io::Result<Option<Found>> {
        let Some(begun) = self.begun.take() else { return Ok(None) };
        let (mut kept, mut seen) = (Kept::default(), Seen::default());
        // Before the line that was read last, where that is empty: it belongs to what follows, as the end does.
        let mut empty = None;
        loop {
            let (before, line_at) = (kept.mark(), self.at);
            if !self.line(&mut seen, Some(&mut kept))? {
                break;
            }
            if empty.is_some()
                && let Some(stored_at) = separator(&seen.start)
            {
                self.begun = Some(Begun { at: line_at, stored_at });
                break;
            }
            empty = matches!(&seen.start[..], b"\n" | b"\r\n").then_some(before);
        }
        if let Some(before) = empty {
            kept.restore(before);
        }
        Ok(Some(Found {
            whole_bytes: kept.whole(self.max_bytes),
            bytes: kept.bytes.into(),
            stored_at: begun.stored_at,
            place: format!("{}#{}", self.name, begun.at),
            behind: self.begun.as_ref().map_or(self.at, |next| next.at).into(),
            progress: self.begun.as_ref().map_or(self.at, |next| next.at),
        }))
    }
}

/// Whether a line is `>From `, with any number of `>`.
fn is_quoted(line: &[u8]) -> bool {
    let quotes = line.iter().take_while(|byte| **byte == b'>').count();
    quotes > 0 && line[quotes..].starts_with(b"From ")
}

/// Whether a line begins a mail, and the time that it names. A time of day and a year must be in it: sentences that
/// begin with `From ` are seldom so precise.
fn separator(line: &[u8]) -> Option<Option<Timestamp>> {
    let text = std::str::from_utf8(line.strip_prefix(b"From ")?).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1);
    let is_time =
        |word: &str| word.len() >= 4 && word.contains(':') && word.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let is_year = |word: &str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit());
    let words: Vec<&str> = words.by_ref().collect();
    let time = words.iter().position(|word| is_time(word))?;
    let year = words.iter().skip(time).find(|word| is_year(word))?;
    let date = words.get(time.checked_sub(2)?..time)?.join(" ");
    let stored_at = jiff::civil::DateTime::strptime("%b %d %H:%M:%S %Y", format!("{date} {} {year}", words[time]))
        .ok()
        .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map(|at| at.timestamp().into());
    Some(stored_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, max_bytes: u64) -> Vec<Found> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut mbox = Mbox::open(file.path(), 0, max_bytes, true).unwrap();
        let mut all = Vec::new();
        while let Some(found) = mbox.next().unwrap() {
            // From each place on, the rest is the same.
            let at = found.behind.as_u64().unwrap();
            let next = Mbox::open(file.path(), at, max_bytes, true).unwrap().next().unwrap();
            all.push(found);
            assert_eq!(next.is_none(), at == text.len() as u64);
        }
        all
    }

    const TWO: &str = "From a@x Mon Dec 12 10:00:00 2016\nA: 1\n\nFrom here on it is body\n>From quoted 1:00 2016\n>>From twice\n\n\
                       From - Tue Nov  1 03:04:05 +0000 2016\r\nB: 2\r\n\r\nend";

    #[test]
    fn mails_are_told_apart_and_unquoted() {
        let found = all(TWO, 1000);
        assert_eq!(found.len(), 2);
        assert_eq!(&found[0].bytes[..], b"A: 1\n\nFrom here on it is body\nFrom quoted 1:00 2016\n>From twice\n");
        assert_eq!(&found[1].bytes[..], b"B: 2\r\n\r\nend");
        let times: Vec<_> = found.iter().map(|f| f.stored_at.map(|at| at.to_string()).unwrap_or_default()).collect();
        assert_eq!(times, ["2016-12-12T10:00:00Z", "2016-11-01T03:04:05Z"]);
    }

    /// Wherever a buffer ends, a mail is the same.
    #[test]
    fn buffers_may_end_anywhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TWO).unwrap();
        let whole: Vec<_> = all(TWO, 1000).into_iter().map(|found| found.bytes).collect();
        for size in 1..40 {
            let mut mbox = Mbox::open(file.path(), 0, 1000, true).unwrap();
            // The first line was read with the large buffer: only what follows is read anew.
            let mut rest = File::open(file.path()).unwrap();
            rest.seek(SeekFrom::Start(mbox.at)).unwrap();
            mbox.file = BufReader::with_capacity(size, rest);
            assert_eq!(mbox.next().unwrap().unwrap().bytes, whole[0], "{size}");
            assert_eq!(mbox.next().unwrap().unwrap().bytes, whole[1], "{size}");
        }
    }

    #[test]
    fn a_mail_over_the_cap_is_cut_and_the_next_is_found() {
        let found = all(TWO, 9);
        assert_eq!((&found[0].bytes[..], found[0].whole_bytes.is_some()), (&b"A: 1\n\nFro"[..], true));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_no_mbox_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Subject: a single mail\n\nhi").unwrap();
        assert!(Mbox::open(file.path(), 0, 100, true).is_err());
        std::fs::write(file.path(), "").unwrap();
        assert!(Mbox::open(file.path(), 0, 100, true).unwrap().next().unwrap().is_none());
    }
}
