//! What can happen to lines (a mail, a session's frames) and to the pairs of a form.

use super::{Body, HUGE_BYTES, Rng};

/// A body with fewer lines or pairs than this is not made of them.
const PIECES_MIN: usize = 3;

pub(super) fn each(bytes: &[u8], rng: &mut Rng, count: usize, run: Body<'_>) -> Result<(), String> {
    for (what, separator) in [("line", b'\n'), ("pair", b'&')] {
        let pieces: Vec<&[u8]> = bytes.split(|byte| *byte == separator).collect();
        if pieces.len() >= PIECES_MIN {
            mutate(what, &pieces, separator, rng, count, run)?;
        }
    }
    Ok(())
}

fn mutate(
    what: &str,
    pieces: &[&[u8]],
    separator: u8,
    rng: &mut Rng,
    count: usize,
    run: Body<'_>,
) -> Result<(), String> {
    let huge = vec![b'x'; HUGE_BYTES];
    for round in 0..count * 2 {
        let (at, other) = (rng.below(pieces.len()), rng.below(pieces.len()));
        let name_end = pieces[at].iter().position(|b| matches!(b, b':' | b'=')).map_or(0, |end| end + 1);
        let name = &pieces[at][..name_end];
        let empty = name.to_vec();
        let odd = [name, b"%00%ff\x00\xff=?utf-8?B?////?="].concat();
        let long = [name, huge.as_slice()].concat();
        let mut list = pieces.to_vec();
        let done = match rng.below(if round < count { 5 } else { 6 }) {
            0 => {
                list.remove(at);
                "left out"
            }
            1 => {
                list.insert(at, pieces[at]);
                "doubled"
            }
            2 => {
                list.swap(at, other);
                "swapped"
            }
            3 => {
                list[at] = &empty;
                "emptied"
            }
            4 => {
                list[at] = &odd;
                "with odd bytes"
            }
            _ => {
                list[at] = &long;
                "blown up"
            }
        };
        run(format!("{what} {at} {done}"), list.join(&separator))?;
    }
    Ok(())
}
