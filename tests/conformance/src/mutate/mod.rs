//! Broken copies of an input: deterministic, from a seed, and capped in number and size.

mod bytes;
mod json;
mod lines;
mod request;
mod rng;

use connector_sdk::RawEvent;

pub(crate) use rng::Rng;

/// Mutants of each sort (prefixes, bit flips, swapped types, …) for one case; `INLET_MUTANTS=n` makes them n times as
/// many, for a long run. Small, so that the whole suite stays a matter of seconds in a debug build.
const MUTANTS_PER_SORT: usize = 16;
/// All mutants of one case hold at most this many bytes together: a large fixture has fewer of them.
const BYTES_PER_CASE: usize = 24 << 20;
/// Length of what is blown up.
const HUGE_BYTES: usize = 128 << 10;
/// Nesting that no parser may follow down to the end of its stack.
const HUGE_DEPTH: usize = 30_000;

/// A broken copy and what was done to it.
pub(crate) struct Mutant {
    pub what: String,
    pub raw: RawEvent,
}

/// How many mutants of each sort a run makes.
fn per_sort() -> usize {
    let times = std::env::var("INLET_MUTANTS").ok().and_then(|text| text.parse::<usize>().ok());
    MUTANTS_PER_SORT * times.unwrap_or(1).max(1)
}

/// Calls `test` with each mutant until one fails. Returns how many there were.
pub(crate) fn each(
    raw: &RawEvent,
    seed: &str,
    test: &mut dyn FnMut(&Mutant) -> Result<(), String>,
) -> Result<usize, String> {
    let mut rng = Rng::new(seed);
    let (count, mut made, mut left) = (per_sort(), 0, BYTES_PER_CASE);
    let mut run = |what: String, raw: RawEvent| {
        let size = raw.body.len();
        // The first ones run whatever their size.
        if size > left && made > count {
            return Ok(());
        }
        left = left.saturating_sub(size);
        made += 1;
        test(&Mutant { what, raw })
    };
    let mut body = |what: String, body: Vec<u8>| {
        let mut copy = raw.clone();
        copy.body = body.into();
        run(what, copy)
    };
    bytes::each(&raw.body, &mut rng, count, &mut body)?;
    json::each(&raw.body, &mut rng, count, &mut body)?;
    lines::each(&raw.body, &mut rng, count, &mut body)?;
    request::each(raw, &mut rng, count, &mut run)?;
    Ok(made)
}

/// Gets a mutant's name and body.
type Body<'a> = &'a mut dyn FnMut(String, Vec<u8>) -> Result<(), String>;
