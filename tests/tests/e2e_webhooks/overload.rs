//! More than can be on its way at once, while Kafka stands still: the rest is told to come again, and memory stays.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{INSTANCES, LIMIT, SLACK_SECRET, slack_body};
use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};

/// Senders at once, each with so many inputs one after the other.
const SENDERS: usize = 150;
const EACH: usize = 8;
const PLACES: usize = 32;
/// Text of an input.
const TEXT_BYTES: usize = 48 << 10;
/// Far below what all inputs together take, and well above what the places do.
const GROWTH_MAX_KIB: u64 = 48 << 10;

#[test]
fn d12_an_overload_is_told_to_come_again_and_takes_no_memory() -> Result<()> {
    let kafka = Kafka::one()?;
    let limits = format!("limits: {{ body: 64KiB, in_flight: {PLACES} }}");
    let config = Config::new(&kafka, "overload", INSTANCES).with_ingress(&limits).with("spool: off");
    let mut gateway = Gateway::run(&config.text())?;
    let pid = gateway.process()?.id();
    let send = |sender: usize, number: usize| {
        let text = format!("{sender}/{number} {}", "x".repeat(TEXT_BYTES));
        let body = slack_body(&format!("C{sender:03}"), number, &text);
        webhooks::slack(&gateway.intake("slack-a"), SLACK_SECRET, body).send()
    };
    let key = |sender: usize, number: usize| format!("EvC{sender:03}{number:06}");
    wait::until(LIMIT, "a first 200", || Ok((send(999, 0)?.status == 200).then_some(())))?;
    // As much as is ever on its way, so that its memory is there before.
    std::thread::scope(|scope| (0..PLACES).for_each(|sender| drop(scope.spawn(move || send(900 + sender, 1)))));

    let before = rss_kib(pid)?;
    let (most, done) = (AtomicU64::new(before), AtomicBool::new(false));
    kafka.pause(0);
    let answers: Vec<(String, u16, bool)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(rss_kib(pid).unwrap_or(u64::MAX), Ordering::Relaxed);
                std::thread::yield_now();
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        });
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                scope.spawn(move || -> Result<Vec<(String, u16, bool)>> {
                    (0..EACH)
                        .map(|number| {
                            let answer = send(sender, number)?;
                            Ok((key(sender, number), answer.status, answer.header("retry-after").is_some()))
                        })
                        .collect()
                })
            })
            .collect();
        let answers = senders.into_iter().map(|sender| sender.join().expect("no panic")).collect::<Result<Vec<_>>>();
        done.store(true, Ordering::Relaxed);
        answers.map(|lists| lists.concat())
    })?;
    kafka.resume(0);

    let refused = answers.iter().filter(|(_, status, _)| *status == 503).count();
    ensure!(answers.iter().all(|(_, status, _)| [200, 503].contains(status)), "neither 200 nor 503");
    ensure!(answers.iter().all(|(_, status, again)| *status == 200 || *again), "a 503 without Retry-After");
    ensure!(refused > SENDERS * EACH / 2, "only {refused} of {} were refused: no overload", SENDERS * EACH);
    let growth = most.load(Ordering::Relaxed).saturating_sub(before);
    println!("refused {refused} of {}, memory +{growth} KiB", SENDERS * EACH);
    ensure!(growth <= GROWTH_MAX_KIB, "memory grew by {growth} KiB");

    // The other instances go on, and so does this one: whoever comes again is taken.
    wait::until(LIMIT, "200 again", || Ok((send(999, 1)?.status == 200).then_some(())))?;
    let mut owed: BTreeSet<String> =
        answers.into_iter().filter(|(_, status, _)| *status == 200).map(|(key, ..)| key).collect();
    owed.insert(key(999, 1));
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    committed.read_until(LIMIT, "everything that was answered 200", |records| {
        let there: BTreeSet<_> =
            records.iter().filter_map(|record| record.text("/provenance/provider_event_id")).collect();
        owed.is_subset(&there)
    })?;
    ensure!(gateway.is_running());
    Ok(())
}

/// Resident memory of a process.
fn rss_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway runs")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.split_whitespace().next().context("a number")?.parse().context("a number")
}
