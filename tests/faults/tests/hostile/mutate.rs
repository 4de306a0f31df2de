//! What strangers, broken proxies and broken providers do to an input.

use connector_sdk::{Bytes, RawEvent, Wire};
use inlet_faults::dice::Dice;

/// Bytes that parsers stumble over.
const HOSTILE: &[&[u8]] = &[
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\r\n\r\n",
    b"--",
    b"=?utf-8?B?????=",
    b"=?utf-7?Q?+AGEAYg-?=",
    b"%00%ff%",
    b"&#x110000;",
    b"1e999999",
    b"-0",
    b"99999999999999999999999999",
    b"\xe2\x80\xae\xe2\x80\x8d\xef\xbb\xbf",
    b"{\"a\":",
    b"[[[[[[[[[[[[[[[[",
    b"<!--<script>]]>",
    b"Content-Type: multipart/mixed; boundary=\"\"\r\n",
];
/// Depth of nesting, and length of what is repeated: at most.
const DEPTH_MAX: u64 = 2_000;
const REPEAT_MAX: u64 = 4_096;
/// Changes made to one input: at most.
const CHANGES_MAX: u64 = 4;
/// An input grows to this at most.
const BODY_MAX_BYTES: usize = 256 << 10;

/// A broken copy; `others` are bodies of the same connector, to be mixed in.
pub fn one(raw: &RawEvent, others: &[Bytes], dice: &mut Dice) -> RawEvent {
    let mut raw = raw.clone();
    let mut body = raw.body.to_vec();
    for _ in 0..dice.between(1, CHANGES_MAX) {
        if dice.one_in(8) {
            head(&mut raw, dice);
        } else {
            change(&mut body, others, dice);
        }
        body.truncate(BODY_MAX_BYTES);
    }
    raw.body = body.into();
    raw
}

fn place(body: &[u8], dice: &mut Dice) -> usize {
    dice.roll(body.len() as u64 + 1) as usize
}

fn span(body: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let (a, b) = (place(body, dice), place(body, dice));
    a.min(b)..a.max(b)
}

fn change(body: &mut Vec<u8>, others: &[Bytes], dice: &mut Dice) {
    match dice.roll(11) {
        0 => body.truncate(place(body, dice)),
        1 => {
            let begin = place(body, dice);
            body.drain(..begin);
        }
        2 => {
            body.drain(span(body, dice));
        }
        3 => {
            let again = body[span(body, dice)].to_vec();
            let at = place(body, dice);
            body.splice(at..at, again);
        }
        4 => {
            for _ in 0..dice.between(1, 8) {
                let bits = body.len() as u64 * 8;
                if bits > 0 {
                    let bit = dice.roll(bits) as usize;
                    body[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
        5 => {
            let at = place(body, dice);
            body.splice(at..at, dice.pick(HOSTILE).iter().copied());
        }
        6 => {
            let other = dice.pick(others).clone();
            let (from, at) = (span(&other, dice), place(body, dice));
            body.splice(at..at, other[from].iter().copied());
        }
        7 => {
            let at = place(body, dice);
            let one = *dice.pick(&[b'[', b'{', b'"', b'<', b'a', 0, b'\n', b';', b'&', b'=']);
            body.splice(at..at, std::iter::repeat_n(one, dice.roll(REPEAT_MAX) as usize));
        }
        8 => {
            let depth = dice.roll(DEPTH_MAX) as usize;
            let (open, close): (&[u8], &[u8]) = if dice.one_in(2) { (b"[", b"]") } else { (b"{\"a\":", b"}") };
            let at = place(body, dice);
            body.splice(at..at, [open.repeat(depth), b"1".to_vec(), close.repeat(depth)].concat());
        }
        9 => swap_value(body, dice),
        _ => body.clear(),
    }
}

/// A JSON value or a header's value becomes something of another type.
fn swap_value(body: &mut Vec<u8>, dice: &mut Dice) {
    const VALUES: &[&[u8]] = &[b"null", b"[]", b"{}", b"-1", b"\"\"", b"true", b"1e400", b"\"\\u0000\""];
    let colons: Vec<_> = body.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at + 1).collect();
    if colons.is_empty() {
        return;
    }
    let from = *dice.pick(&colons);
    let length = body[from..].iter().position(|byte| b",}\n".contains(byte)).unwrap_or(body.len() - from);
    body.splice(from..from + length, dice.pick(VALUES).iter().copied());
}

/// Header lines and the target.
fn head(raw: &mut RawEvent, dice: &mut Dice) {
    let names: Vec<String> = raw.headers.names().map(str::to_owned).collect();
    let odd = dice.pick(HOSTILE).to_vec();
    match (dice.roll(4), names.is_empty()) {
        (0, false) => {
            let name = dice.pick(&names).clone();
            raw.headers.set(&name, odd);
        }
        (1, false) => {
            let name = dice.pick(&names).clone();
            raw.headers.remove(&name);
        }
        (2, _) => raw.headers.push("x-hostile", odd),
        _ if raw.wire == Wire::Http => raw.uri.push_str(&String::from_utf8_lossy(&odd)),
        _ => {}
    }
}
