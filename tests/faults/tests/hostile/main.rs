//! 10,000 malformed, truncated and hostile inputs for every connector, through the gateway's own drivers: nothing panics,
//! each one is counted as what it became, and the source goes on.
//!
//! They are seeded mutations of the connector's fixtures; webhooks are signed anew, so that they get past admission.
//! `INLET_HOSTILE=N` makes it N inputs a connector, `INLET_HOSTILE_SEED=S` other ones.

mod drive;
mod mutate;

use std::sync::atomic::{AtomicUsize, Ordering};

use connector_sdk::Entry;
use connector_sdk::fixture::{Case, Expect, cases};
use inlet_faults::dice::Dice;

use crate::drive::{Figures, World};

const INPUTS: usize = 10_000;
const SEED: u64 = 1;

static PANICS: AtomicUsize = AtomicUsize::new(0);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Cases whose input reaches the parser.
fn inputs_of(entry: &Entry) -> Vec<Case> {
    let all = cases(entry.assets.fixtures).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    all.into_iter().filter(|case| case.file.admit == Expect::Accept).collect()
}

fn one(entry: &Entry, count: usize, seed: u64) -> Figures {
    let cases = inputs_of(entry);
    assert!(!cases.is_empty(), "{} has no cases", entry.name);
    let mut dice = Dice::for_part(seed, entry.name);
    let bodies: Vec<_> = cases.iter().map(|case| case.raw.body.clone()).collect();
    let world = World::new(entry);
    for (number, case) in cases.iter().enumerate() {
        let share = count / cases.len() + usize::from(number < count % cases.len());
        let hostile = (0..share).map(|_| mutate::one(&case.raw, &bodies, &mut dice)).collect();
        world.run(case, hostile);
    }
    *world.figures()
}

#[test]
fn d8_d9_hostile_inputs_panic_nothing_are_counted_and_the_source_goes_on() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
    let count = number("INLET_HOSTILE").map_or(INPUTS, |count| count as usize);
    let seed = number("INLET_HOSTILE_SEED").unwrap_or(SEED);
    let figures: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> =
            connectors::all().iter().map(|entry| (entry, scope.spawn(move || one(entry, count, seed)))).collect();
        all.into_iter().map(|(entry, run)| (entry.name, run.join().expect("see above"))).collect()
    });
    for (name, figures) in &figures {
        println!("{name:<14} {figures}");
        assert_eq!(figures.sent, count, "{name}");
        assert_eq!(figures.sent, figures.accepted + figures.refused + figures.answered, "{name}: {figures}");
        let fates = figures.published + figures.skipped + figures.duplicate + figures.dead_lettered;
        assert_eq!(figures.accepted, fates, "{name}: {figures}");
        // Mutations that change nothing essential are taken, others are not: a run with one sort only tests nothing.
        assert!(figures.published > 0 && figures.dead_lettered + figures.skipped + figures.refused > 0, "{name}");
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "panics; they are printed above");
}
