//! The gateway's own supervisor, drivers and lanes, in memory, between scripted sources and a scripted Kafka, on a clock
//! that jumps: a process is ended between any two steps, and only what is durable (Kafka, the sources) meets the next one.
//!
//! A seed decides the inputs, what Kafka answers and how late, when shards change hands, and at which step each process
//! ends. The same judge as in the runs against real servers holds what arrived against the ledger.
//!
//! `INLET_SIM_SEED=N` runs one seed (fifty times over: which of two ready tasks goes first is the runtime's choice),
//! `INLET_SIM_SEEDS=N` as many from the first on.

mod kafka;
mod life;
mod outside;
mod parse;
mod sources;

use std::sync::atomic::{AtomicU64, Ordering};

use inlet_faults::judge::Verdict;

use crate::kafka::Honesty;

/// Seeds of an ordinary run.
const SEEDS: u64 = 2_000;
/// Seeds within which a planted fault must show.
const PLANTED: u64 = 60;
const REPEATS_OF_ONE: u64 = 50;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Runs seeds on all cores and gives those with a fault.
fn run(seeds: &[u64]) -> Vec<(u64, Verdict)> {
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let work = || {
            let mut bad = Vec::new();
            while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                let verdict = life::all_of(*seed, Honesty::Honest);
                if !verdict.is_clean() {
                    bad.push((*seed, verdict));
                }
            }
            bad
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn d1_d2_d3_d5_nothing_is_lost_doubled_or_reordered_by_a_crash_between_any_two_steps() {
    let seeds: Vec<u64> = match number("INLET_SIM_SEED") {
        Some(seed) => std::iter::repeat_n(seed, REPEATS_OF_ONE as usize).collect(),
        None => (0..number("INLET_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let bad = run(&seeds);
    for (seed, verdict) in &bad {
        eprintln!("INLET_SIM_SEED={seed}\n{verdict}\n");
    }
    assert!(bad.is_empty(), "{} seeds failed", bad.len());
}

/// A simulation that finds nothing proves nothing: each planted fault must show, as what it is.
#[test]
fn planted_faults_are_found() {
    let found = |honesty, of: fn(&Verdict) -> usize| (0..PLANTED).any(|seed| of(&life::all_of(seed, honesty)) > 0);
    assert!(found(Honesty::ConfirmsBeforeItStores, |v| v.lost.len()), "a loss is not found");
    assert!(found(Honesty::SwapsNeighbours, |v| v.reordered.len()), "a change of order is not found");
    assert!(found(Honesty::Garbles, |v| v.corrupted.len()), "a corruption is not found");
    assert!(found(Honesty::ForgetsCursors, |v| v.doubled.len()), "a doubled input is not found");
}
