//! Lines of a file of any size: at most so much of them is kept, however long they are.

use std::io::{self, BufRead};

/// What is kept of a message while it is read, and how large it is as a whole.
#[derive(Debug, Default)]
pub struct Kept {
    pub bytes: Vec<u8>,
    /// As mail counts: every line end two bytes.
    pub size: u64,
    cut: bool,
}

impl Kept {
    /// Adds a line, or a part of one, as far as there is room.
    pub fn push(&mut self, part: &[u8], max_bytes: u64) {
        let room = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_sub(self.bytes.len());
        self.cut |= part.len() > room;
        self.bytes.extend_from_slice(&part[..part.len().min(room)]);
        self.size += part.len() as u64;
    }

    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), size: self.size, cut: self.cut }
    }

    /// Takes back what was added since.
    pub fn restore(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        (self.size, self.cut) = (mark.size, mark.cut);
    }

    /// One more byte for a line end that lacks its carriage return.
    pub fn bare_newline(&mut self) {
        self.size += 1;
    }

    /// Size of the whole, where it does not fit: because it was cut, or would be with the line ends that mail has.
    pub fn whole(&self, max_bytes: u64) -> Option<u64> {
        (self.cut || self.size > max_bytes).then_some(self.size)
    }
}

/// How far something was kept.
#[derive(Clone, Copy)]
pub struct Mark {
    bytes: usize,
    size: u64,
    cut: bool,
}

/// What was read of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bytes of it, its end included.
    pub bytes: u64,
    pub has_end: bool,
}

/// Reads on to the end of a line, handing on its parts; `None`: the file has ended.
pub fn read(from: &mut impl BufRead, mut part: impl FnMut(&[u8])) -> io::Result<Option<Line>> {
    let mut bytes = 0;
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok((bytes > 0).then_some(Line { bytes, has_end: false }));
        }
        let end = buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(buffer.len());
        part(&buffer[..taken]);
        bytes += taken as u64;
        from.consume(taken);
        if end.is_some() {
            return Ok(Some(Line { bytes, has_end: true }));
        }
    }
}

/// A whole file as one message.
pub fn whole_file(from: &mut impl BufRead, max_bytes: u64) -> io::Result<Kept> {
    let mut kept = Kept::default();
    loop {
        let mut before_last = [0, 0];
        let line = read(from, |part| {
            kept.push(part, max_bytes);
            before_last = last_two(before_last, part);
        })?;
        match line {
            None => return Ok(kept),
            Some(line) if line.has_end && before_last[0] != b'\r' => kept.bare_newline(),
            Some(_) => {}
        }
    }
}

/// The last two bytes of a line so far.
pub fn last_two(before: [u8; 2], part: &[u8]) -> [u8; 2] {
    match part {
        [] => before,
        [one] => [before[1], *one],
        [.., a, b] => [*a, *b],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn a_file_over_the_cap_is_measured_and_not_kept() {
        let mail = b"A: b\n\nline\r\nend".to_vec();
        let of = |max| whole_file(&mut BufReader::with_capacity(3, &mail[..]), max).unwrap();
        let kept = of(100);
        assert_eq!((kept.bytes.len(), kept.size, kept.whole(100)), (15, 17, None));
        assert_eq!(of(8).bytes, mail[..8]);
        assert_eq!(of(8).whole(8), Some(17));
        // As it is in a mailbox, it would not fit either.
        assert_eq!((of(16).whole(16), of(17).whole(17)), (Some(17), None));
    }
}
