//! Is the write-ahead log cut off at its end, as a crash leaves it, or damaged in its middle?
//!
//! SQLite reads a WAL up to the first frame whose checksum does not fit and forgets the rest. At the end that is right: what
//! is there was never confirmed. In the middle it would silently forget commits that were. Commits are fsynced one after
//! the other, so behind a torn frame at most the rest of one transaction can stand; anything more proves damage.
//! The format: <https://www.sqlite.org/fileformat2.html#walformat>.

use std::io::Read;
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;
/// The largest page that SQLite knows.
const PAGE_MAX_BYTES: usize = 65_536;

/// What a log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wal {
    /// Nothing in it, or all of it readable.
    Whole,
    /// An unconfirmed transaction at its end was cut off.
    Torn,
    /// Confirmed commits stand behind a damaged place.
    Damaged { at_frame: usize },
}

/// Reads a log frame by frame. A missing one is whole.
pub(super) fn inspect(path: &Path) -> std::io::Result<Wal> {
    let mut file = match std::fs::File::open(path) {
        Ok(file) => std::io::BufReader::with_capacity(1 << 20, file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Wal::Whole),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER_BYTES];
    if !filled(&mut file, &mut header)? || header == [0; HEADER_BYTES] {
        // The header is fsynced before the first frame.
        return Ok(Wal::Whole);
    }
    let magic = word(&header, 0);
    let big_endian = magic & 1 == 1;
    let page_bytes = word(&header, 8) as usize;
    let sum = checksum(big_endian, (0, 0), &header[..24]);
    if magic & !1 != MAGIC || page_bytes > PAGE_MAX_BYTES || sum != (word(&header, 24), word(&header, 28)) {
        return Ok(Wal::Damaged { at_frame: 0 });
    }
    let salts = &header[16..24];
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut sum = Some(sum);
    let mut behind = Behind::default();
    let mut index = 0;
    while filled(&mut file, &mut frame)? {
        index += 1;
        let ours = &frame[8..16] == salts;
        sum = sum.and_then(|before| {
            let sum = checksum(big_endian, before, &frame[..8]);
            let sum = checksum(big_endian, sum, &frame[FRAME_HEADER_BYTES..]);
            (ours && sum == (word(&frame, 16), word(&frame, 20))).then_some(sum)
        });
        if sum.is_none() {
            behind.see(index, ours, word(&frame, 4) != 0);
        }
    }
    Ok(behind.verdict())
}

/// What stands behind the first bad frame.
#[derive(Default)]
struct Behind {
    first_bad: Option<usize>,
    ours: usize,
    committed: bool,
    after_a_commit: bool,
}

impl Behind {
    fn see(&mut self, index: usize, ours: bool, commit: bool) {
        self.first_bad.get_or_insert(index);
        if ours {
            self.ours += 1;
            // Another frame of this log: the commit before it had been fsynced.
            self.after_a_commit |= self.committed;
            self.committed |= commit;
        }
    }

    fn verdict(&self) -> Wal {
        match self.first_bad {
            Some(at_frame) if self.after_a_commit => Wal::Damaged { at_frame },
            // Frames of a log that was begun anew are left over from the one before and carry other salts.
            Some(_) if self.ours > 0 => Wal::Torn,
            _ => Wal::Whole,
        }
    }
}

fn filled(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn checksum(big_endian: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let read = |at: usize| if big_endian { word(bytes, at) } else { word(bytes, at).swap_bytes() };
    for at in (0..bytes.len() / 8 * 8).step_by(8) {
        a = a.wrapping_add(read(at)).wrapping_add(b);
        b = b.wrapping_add(read(at + 4)).wrapping_add(a);
    }
    (a, b)
}
