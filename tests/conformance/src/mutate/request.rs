//! What can happen around the body: header lines, the target, the method.

use connector_sdk::{RawEvent, Wire};

use super::Rng;

/// Length of a header value that is blown up.
const LONG_VALUE_BYTES: usize = 64 << 10;

/// Targets that no client should send.
const TARGETS: &[&str] = &["", "?", "/", "/%", "/%ff%00/..", "/in/x?=&&=&a", "http://", "/in/x?a=%ud83d&a=1&a=2#f"];

pub(super) fn each(
    raw: &RawEvent,
    rng: &mut Rng,
    count: usize,
    run: &mut dyn FnMut(String, RawEvent) -> Result<(), String>,
) -> Result<(), String> {
    let names: Vec<String> = raw.headers.names().map(str::to_owned).collect();
    for name in names.iter().take(count) {
        let mut without = raw.clone();
        without.headers.remove(name);
        run(format!("without header {name}"), without)?;
        let mut doubled = raw.clone();
        doubled.headers.push(name, "x".to_owned());
        run(format!("header {name} doubled"), doubled)?;
        let odd: Vec<u8> = match rng.below(4) {
            0 => Vec::new(),
            1 => b"\xff\xfe\x00".to_vec(),
            2 => vec![b'9'; LONG_VALUE_BYTES],
            _ => b";=,\"\r\n: \xe2\x80\xae".to_vec(),
        };
        let mut changed = raw.clone();
        changed.headers.set(name, odd);
        run(format!("header {name} with odd bytes"), changed)?;
    }
    if raw.wire == Wire::Http {
        for target in TARGETS {
            let mut copy = raw.clone();
            (*target).clone_into(&mut copy.uri);
            run(format!("target '{target}'"), copy)?;
        }
        let mut copy = raw.clone();
        "BREW".clone_into(&mut copy.method);
        run("another method".to_owned(), copy)?;
    }
    Ok(())
}
