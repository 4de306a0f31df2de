//! What can happen to any bytes.

use super::{Body, HUGE_BYTES, HUGE_DEPTH, Rng};

/// Bytes that parsers stumble over.
const POISON: &[&[u8]] = &[
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\r\n\r\n",
    b"\\ud83d",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b"%00",
    b"%",
];

pub(super) fn each(bytes: &[u8], rng: &mut Rng, count: usize, run: Body<'_>) -> Result<(), String> {
    prefixes(bytes, count, run)?;
    for _ in 0..count {
        let at = rng.below(bytes.len());
        let bit = rng.below(8);
        let mut copy = bytes.to_vec();
        if let Some(byte) = copy.get_mut(at) {
            *byte ^= 1 << bit;
        }
        run(format!("bit {bit} of byte {at} flipped"), copy)?;
    }
    for _ in 0..count {
        let (at, poison) = (rng.below(bytes.len() + 1), rng.pick(POISON));
        let copy = [&bytes[..at], poison, &bytes[at..]].concat();
        run(format!("{poison:x?} put in at {at}"), copy)?;
    }
    for _ in 0..count {
        let (a, b) = (rng.below(bytes.len() + 1), rng.below(bytes.len() + 1));
        let (from, to) = (a.min(b), a.max(b));
        if rng.below(2) == 0 {
            run(format!("bytes {from}..{to} cut out"), [&bytes[..from], &bytes[to..]].concat())?;
        } else {
            run(format!("bytes {from}..{to} doubled"), [&bytes[..to], &bytes[from..]].concat())?;
        }
    }
    run("nothing but one letter".to_owned(), vec![b'A'; HUGE_BYTES])?;
    run("nothing but NUL".to_owned(), vec![0; 1000])?;
    run("deep arrays".to_owned(), b"[".repeat(HUGE_DEPTH))?;
    run("deep objects".to_owned(), br#"{"a":"#.repeat(HUGE_DEPTH))?;
    run("deep closed arrays".to_owned(), [b"[".repeat(HUGE_DEPTH), b"]".repeat(HUGE_DEPTH)].concat())
}

/// Every prefix of a short body, evenly spaced ones of a long one; always the empty and the nearly whole.
fn prefixes(bytes: &[u8], count: usize, run: Body<'_>) -> Result<(), String> {
    const MORE_PREFIXES: usize = 4;
    let count = count * MORE_PREFIXES;
    let step = bytes.len().div_ceil(count).max(1);
    for end in (0..bytes.len()).step_by(step).chain([bytes.len().saturating_sub(1)]) {
        run(format!("cut after {end} bytes"), bytes[..end].to_vec())?;
    }
    Ok(())
}
