//! The counters' sums hold in every read, whoever counts meanwhile.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use inlet::telemetry::counters::{Fate, Metrics, Returned};

const THREADS: u64 = 4;
const INPUTS: u64 = 5_000;
/// While inputs come in it is read so often at least: on a busy machine more of them come, up to so many times as many.
const READS: u64 = 4;
const LONGEST: u64 = 100;

/// The numbers of one metric by its labels.
fn values(text: &str, metric: &str) -> HashMap<String, i64> {
    let numbers = text.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(metric)?.strip_prefix('{')?.split_once("} ")?;
        Some((labels.to_owned(), value.parse().ok()?))
    });
    numbers.collect()
}

fn sums_hold(text: &str) -> i64 {
    let accepted = values(text, "inlet_inputs_accepted_total");
    let in_flight = values(text, "inlet_inputs_in_flight");
    let outcomes = values(text, "inlet_inputs_total");
    assert_eq!((accepted.len(), in_flight.len(), outcomes.len()), (2, 2, 10), "{text}");
    for (labels, accepted) in &accepted {
        let settled: i64 =
            outcomes.iter().filter(|(of, _)| of.starts_with(labels.as_str())).map(|(_, value)| value).sum();
        let in_flight = in_flight[labels];
        assert!(in_flight >= 0);
        assert_eq!(*accepted, settled + in_flight, "{labels}");
    }
    accepted.values().sum()
}

#[test]
fn d9_the_sums_hold_at_every_moment() {
    let metrics = Arc::new(Metrics::default());
    let instances = [metrics.instance("a", "fake"), metrics.instance("b", "fake")];
    let (done, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reader = std::thread::spawn({
        let (metrics, done, reads) = (metrics.clone(), done.clone(), reads.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                sums_hold(&metrics.render());
                reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let writers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (instances, reads) = (instances.clone(), reads.clone());
            std::thread::spawn(move || {
                let mut n = 0;
                while n < INPUTS || (reads.load(Ordering::Relaxed) < READS && n < LONGEST * INPUTS) {
                    let in_flight = instances[(n % 2) as usize].accept();
                    match (n + thread) % 6 {
                        0 => drop(in_flight),
                        1 => in_flight.settle(Fate::Skipped),
                        2 => in_flight.settle(Fate::DeadLettered),
                        3 => in_flight.settle(Fate::Duplicate),
                        4 => in_flight.settle(Fate::Returned(Returned::Kafka)),
                        _ => in_flight.settle(Fate::Published { events: 2 }),
                    }
                    n += 1;
                }
                n
            })
        })
        .collect();
    let accepted: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert!(reads.load(Ordering::Relaxed) >= READS && accepted >= THREADS * INPUTS);
    let text = metrics.render();
    assert_eq!(sums_hold(&text), accepted as i64);
    assert_eq!(instances[0].tally().in_flight() + instances[1].tally().in_flight(), 0);
}

#[test]
fn a_provider_cannot_name_metrics_without_end() {
    let metrics = Metrics::default();
    let counters = metrics.instance("a", "fake");
    for n in 0..10_000 {
        counters.skipped(&format!("type {n}"));
    }
    counters.skipped(&"x".repeat(10_000));
    counters.refused("signature");
    let text = metrics.render();
    let skipped = values(&text, "inlet_items_skipped_total");
    assert!(skipped.len() < 100, "{}", skipped.len());
    assert_eq!(skipped.values().sum::<i64>(), 10_001);
    // Names of our own are not crowded out.
    assert_eq!(values(&text, "inlet_requests_refused_total").len(), 1);
    assert!(text.contains("signature") && text.len() < 100_000);
}

/// The same instance asked for twice is counted once.
#[test]
fn an_instance_has_one_tally() {
    let metrics = Metrics::default();
    let first = metrics.instance("a", "fake");
    let in_flight = first.accept();
    assert_eq!(metrics.instance("a", "fake").tally().in_flight(), 1);
    drop(in_flight);
    assert_eq!(metrics.instance("a", "fake").tally().returned, 1);
}
