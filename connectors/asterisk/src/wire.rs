//! AMI's framing: `Key: Value` lines up to an empty line; and the headers that the session adds.
//!
//! Source: asterisk/asterisk, `main/manager.c`; Asterisk documentation, *AMI v2 Specification*.

use connector_sdk::Bytes;
use connector_sdk::redact::MASK;
use serde_json::{Map, Value};

/// Header: absent = one event; [`CALL`] = every frame that was kept of a finished call.
pub const ITEM: &str = "inlet-item";
/// Value of [`ITEM`].
pub const CALL: &str = "call";
/// Header: rises within the call as the session saw its facts.
pub const SEQUENCE: &str = "inlet-sequence";
/// Header: the call that the session counts a frame to, for frames without `Linkedid`.
pub const CALL_ID: &str = "inlet-call";
/// Header: direction of the call, as far as it is known when a fact is submitted.
pub const DIRECTION: &str = "inlet-direction";
/// Header of a [`CALL`]: [`LOST`] where the end was not seen.
pub const END: &str = "inlet-end";
/// Value of [`END`].
pub const LOST: &str = "lost";
/// Header of a [`CALL`]: how many frames were not kept because of the limits.
pub const DROPPED: &str = "inlet-dropped";
/// Field that the session puts before each frame of a [`CALL`]: when the frame came, RFC 3339.
pub const RECEIVED: &str = "InletReceived";

/// Largest frame; larger ones are discarded up to their empty line.
pub const FRAME_MAX_BYTES: usize = 64 << 10;
/// What AMI writes for an empty caller id.
const UNKNOWN: &str = "<unknown>";
/// Fields whose values are masked wherever a frame is kept.
const SECRET_FIELDS: &[&str] = &["secret", "password", "md5secret", "key", "challenge", "authtoken"];

/// One message of the manager interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// In the order of the lines; a key may come again.
    fields: Vec<(String, String)>,
}

impl Frame {
    /// Reads the lines of one frame. Total: a line without a colon is left out, bytes that are not UTF-8 are replaced.
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let fields = text
            .split('\n')
            .filter_map(|line| line.trim_end_matches('\r').split_once(':'))
            .map(|(key, value)| (key.trim().to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()))
            .collect();
        Self { fields }
    }

    /// The first value of a key that says something. Keys are compared without case: AMI writes `Uniqueid` and `UniqueID`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).find(|value| !value.is_empty() && *value != UNKNOWN)
    }

    /// The value of a key with a prefix (`Dest` + `Uniqueid`).
    pub fn of(&self, prefix: &str, key: &str) -> Option<&str> {
        if prefix.is_empty() { self.get(key) } else { self.get(&format!("{prefix}{key}")) }
    }

    pub fn all<'a, 'k>(&'a self, key: &'k str) -> impl Iterator<Item = &'a str> + use<'a, 'k> {
        self.fields.iter().filter(move |(have, _)| have.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.trim().parse().ok()
    }

    /// Name of the event; `None` for a response.
    pub fn event(&self) -> Option<&str> {
        self.get("Event")
    }

    /// The fields without those in `told`, secrets masked; a key that comes again becomes a list.
    pub fn rest(&self, told: &[&str]) -> Value {
        let mut map = Map::new();
        for (key, value) in &self.fields {
            if told.iter().any(|told| told.eq_ignore_ascii_case(key)) {
                continue;
            }
            let secret = SECRET_FIELDS.iter().any(|secret| secret.eq_ignore_ascii_case(key));
            let value = Value::from(if secret { MASK } else { value });
            match map.get_mut(key) {
                None => {
                    map.insert(key.clone(), value);
                }
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Value::Object(map)
    }
}

/// Every frame of a transcript, empty ones left out. The banner line has no colon and so no field.
pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut splitter = Splitter::default();
    splitter.push(bytes);
    splitter.push(b"\n\n");
    let mut frames = Vec::new();
    while let Some(bytes) = splitter.next() {
        frames.push(Frame::read(&bytes));
    }
    frames
}

/// The bytes with secret fields masked, line by line.
pub fn masked(bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let key = line.split(|byte| *byte == b':').next().unwrap_or(line);
        if SECRET_FIELDS.iter().any(|secret| secret.as_bytes().eq_ignore_ascii_case(key)) {
            out.extend_from_slice(key);
            out.extend_from_slice(b": ");
            out.extend_from_slice(MASK.as_bytes());
            out.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
        } else {
            out.extend_from_slice(line);
        }
    }
    out.into()
}

/// Cuts a stream of bytes into frames, however they arrive.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Whole lines of the frame that is being read, and the line that is not finished.
    buffer: Vec<u8>,
    /// Where in `buffer` the unread bytes begin.
    read: usize,
    /// Where the search for the next line end goes on.
    searched: usize,
    discarding: bool,
    /// Frames that were too large.
    pub oversize: u64,
}

impl Splitter {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.searched -= self.read;
            self.read = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line, without its end; for the banner.
    pub fn line(&mut self) -> Option<Bytes> {
        let end = self.buffer[self.read..].iter().position(|byte| *byte == b'\n')? + self.read;
        let line = Bytes::copy_from_slice(self.buffer[self.read..end].trim_ascii_end());
        self.read = end + 1;
        self.searched = self.read;
        Some(line)
    }

    /// The next whole frame with its lines' ends, without the empty line.
    pub fn next(&mut self) -> Option<Bytes> {
        while let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let (start, end) = (self.searched, self.searched + length);
            self.searched = end + 1;
            let empty = matches!(&self.buffer[start..end], b"" | b"\r");
            if !empty {
                self.discard_oversize();
                continue;
            }
            let frame = Bytes::copy_from_slice(&self.buffer[self.read..start]);
            self.read = self.searched;
            let oversize = std::mem::take(&mut self.discarding);
            if !oversize && !frame.is_empty() {
                return Some(frame);
            }
        }
        self.discard_oversize();
        None
    }

    /// Forgets what was read of a frame that is too large; what follows up to the empty line is forgotten too.
    fn discard_oversize(&mut self) {
        if self.searched - self.read > FRAME_MAX_BYTES || self.buffer.len() - self.read > 2 * FRAME_MAX_BYTES {
            self.oversize += u64::from(!self.discarding);
            self.discarding = true;
            // An unfinished line that is larger than any frame goes too.
            if self.buffer.len() - self.searched > FRAME_MAX_BYTES {
                self.buffer.truncate(self.searched);
            }
            self.read = self.searched;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_frames() {
        let stream = b"Event: A\r\nX: 1: 2\r\n\r\n\r\nEvent: B\nX:\n\nEvent: C\r\n\r\nEvent: rest";
        for cut in 0..stream.len() {
            let mut splitter = Splitter::default();
            let mut events = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                splitter.push(part);
                while let Some(bytes) = splitter.next() {
                    events.push(Frame::read(&bytes).event().unwrap_or("?").to_owned());
                }
            }
            assert_eq!(events, ["A", "B", "C"], "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_left_out_and_the_next_one_read() {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        let long_line =
            [b"Event: Long\r\nX: ".to_vec(), vec![b'x'; 5 * FRAME_MAX_BYTES], b"\r\n\r\n".to_vec()].concat();
        let many_lines = [b"Event: Many\r\n".to_vec(), b"X: y\r\n".repeat(FRAME_MAX_BYTES), b"\r\n".to_vec()].concat();
        let stream = [long_line, b"Event: A\r\n\r\n".to_vec(), many_lines, b"Event: B\r\n\r\n".to_vec()].concat();
        for part in stream.chunks(1000) {
            splitter.push(part);
            while let Some(bytes) = splitter.next() {
                events.push(Frame::read(&bytes).event().unwrap_or("?").to_owned());
            }
            assert!(splitter.buffer.len() < 4 * FRAME_MAX_BYTES);
        }
        assert_eq!((events, splitter.oversize), (vec!["A".to_owned(), "B".to_owned()], 2));
    }

    #[test]
    fn repeated_keys_unknown_values_and_secrets() {
        let frame =
            Frame::read(b"Event: X\r\nChanVariable: a=1\r\nChanVariable: b=2\r\nName: <unknown>\r\nSecret: s\r\n");
        assert_eq!(frame.all("chanvariable").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(frame.get("Name"), None);
        assert_eq!(
            frame.rest(&["Event"]),
            serde_json::json!({ "ChanVariable": ["a=1", "b=2"], "Name": "<unknown>", "Secret": "***" })
        );
        assert_eq!(&masked(b"A: 1\r\nSecret: s\r\n\r\n")[..], b"A: 1\r\nSecret: ***\r\n\r\n");
    }
}
