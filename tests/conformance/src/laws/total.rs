//! Law 2, total: whatever comes in, nothing panics, nothing vanishes, and time and size stay bounded.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use connector_sdk::{Connector, RawEvent, Wire};

use crate::mutate::{self, Mutant};
use crate::subject::{self, Subject};
use crate::{Verdict, outcome};

/// Processor time that one input may take; far above what a debug build needs for the largest mutant, far below what a
/// loop that grows with the square of it would.
const CPU_MAX: Duration = Duration::from_secs(5);
/// Time for all mutants of one case, after which it hangs.
const HANG: Duration = Duration::from_secs(300);
/// Stack of the thread: that of a runtime's worker.
const STACK_BYTES: usize = 2 << 20;
/// The events of an input may be so many times as large as the input …
const GROWTH_MAX: usize = 64;
/// … and this on top, for small ones.
const GROWTH_FREE_BYTES: usize = 256 << 10;

/// Every mutant of the case goes through admit, parse, stamp and redact.
pub(super) fn total(subject: &Subject) -> Verdict {
    let at = Arc::new(Mutex::new(String::new()));
    let (done, result) = mpsc::channel();
    let (subject, place) = (subject.clone(), at.clone());
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // A receiver that has given up needs no answer.
            let _ = done.send(run(&subject, &place));
        })
        .map_err(|e| e.to_string())?;
    let at = || at.lock().map_or_else(|broken| broken.into_inner().clone(), |name| name.clone());
    match result.recv_timeout(HANG) {
        Ok(verdict) => verdict,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("hangs: {}", at())),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(format!("the thread ended: {}", at())),
    }
}

fn run(subject: &Subject, place: &Mutex<String>) -> Verdict {
    let connector = subject.build()?;
    let seed = format!("{}/{}", subject.folder.entry.name, subject.case.name);
    let made = mutate::each(&subject.case.raw, &seed, &mut |mutant| {
        if let Ok(mut place) = place.lock() {
            place.clone_from(&mutant.what);
        }
        one(subject, &connector, mutant).map_err(|e| format!("{e}\n  mutant: {}{}", mutant.what, brief(&mutant.raw)))
    })?;
    if made == 0 { Err("no mutant was made".to_owned()) } else { Ok(()) }
}

fn one(subject: &Subject, connector: &Connector, mutant: &Mutant) -> Verdict {
    let start = cpu_time();
    let seen = catch_unwind(AssertUnwindSafe(|| {
        if subject.is_request()
            && let Ok(webhook) = subject::webhook(connector)
        {
            let _ = webhook.admit(&mutant.raw, &connector_sdk::Keys::default(), subject.case.clock);
        }
        let parsed = connector.parse.parse(&mutant.raw);
        let empty = parsed.is_empty();
        let redacted = connector.parse.redact(&mutant.raw);
        (outcome::parsed(subject, parsed, &mutant.raw), empty, redacted.body.len())
    }));
    let taken = cpu_time().saturating_sub(start);
    let (seen, empty, redacted_bytes) = seen.map_err(|panic| format!("panics: {}", message(&*panic)))?;
    if taken > CPU_MAX {
        return Err(format!("takes {taken:?} of processor time"));
    }
    if empty && subject.is_input() {
        return Err("vanishes: neither event, skipped, rejected nor fetch".to_owned());
    }
    let size = seen.json.to_string().len();
    let limit = GROWTH_FREE_BYTES + GROWTH_MAX * (mutant.raw.body.len() + mutant.raw.uri.len());
    if size > limit || redacted_bytes > limit {
        return Err(format!("grows to {size} bytes of events, {redacted_bytes} of redacted input"));
    }
    // What comes back from a fetch carries our own order, whose account no stranger writes.
    let strange = mutant.raw.wire != Wire::Fetched;
    match seen.events.iter().find(|e| strange && (e.conversation.key.is_empty() || e.account.is_empty())) {
        Some(event) => Err(format!("an event ({}) without account or key", event.kind)),
        None => Ok(()),
    }
}

/// Processor time of this thread; the clock on the wall where the system does not tell.
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok())
        .map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "(no message)".to_owned())
}

/// The start of the mutant's body, to find it by.
fn brief(raw: &RawEvent) -> String {
    const SHOWN_BYTES: usize = 400;
    let shown = &raw.body[..raw.body.len().min(SHOWN_BYTES)];
    format!("\n  {} bytes: {}", raw.body.len(), String::from_utf8_lossy(shown).escape_debug())
}
