//! Kafka goes and comes back under load.
//!
//! `INLET_OUTAGE_SECONDS` and `INLET_OUTAGE_RATE` make it as long and as hard as is wished (the bar: 600 and 500).

use crate::{LIMIT, assert_arrived, assert_sums, config, entries, send, slack, until_drained};
use anyhow::{Context, Result, ensure};
use inlet_tests::gateway::Gateway;
use inlet_tests::runtime::block_on;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const OUTAGE_SECONDS: u64 = 8;
const RATE: u64 = 100;
const CHANNELS: usize = 16;
/// After Kafka is back everything has to be there within this.
const CATCH_UP: Duration = Duration::from_secs(300);
/// How much the gateway may grow.
const GROWTH_KIB: u64 = 64 << 10;
/// How long it is well before and after.
const WELL: Duration = Duration::from_secs(3);

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    sent: AtomicUsize,
    refused: AtomicUsize,
    /// Of each channel, how many were answered 200.
    taken: [AtomicUsize; CHANNELS],
}

impl Load {
    /// One channel: the next message goes out after the answer to the one before, at its share of the rate.
    async fn channel(&self, gateway: &Gateway, index: usize, rate: u64) {
        let name = name(index);
        let mut pace = tokio::time::interval(Duration::from_secs_f64(CHANNELS as f64 / rate as f64));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        while !self.stop.load(Ordering::Relaxed) {
            pace.tick().await;
            let number = self.taken[index].load(Ordering::Relaxed);
            self.sent.fetch_add(1, Ordering::Relaxed);
            match slack(gateway, &name, number).send_async().await {
                Ok(answer) if answer.status == 200 => {
                    self.taken[index].fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn name(index: usize) -> String {
    format!("C{index:02}")
}

/// The bar: ≥ 99.9 % of the input is answered 2xx, all of it is on Kafka within five minutes of its return, in order,
/// and the gateway's memory stays within 64 MiB of what it was.
#[test]
fn d5_d6_an_outage_under_load_loses_nothing() -> Result<()> {
    let outage = Duration::from_secs(from_env("INLET_OUTAGE_SECONDS", OUTAGE_SECONDS));
    let rate = from_env("INLET_OUTAGE_RATE", RATE);
    let mut kafka = Kafka::one()?;
    let config = config(&kafka, "outage");
    let mut gateway = Gateway::run(&config.text())?;
    wait::until(LIMIT, "Kafka", || Ok((gateway.status()?["kafka"]["up"] == true).then_some(())))?;
    let pid = gateway.process()?.id();
    let load = Load::default();
    let (before, peak, caught_up) = std::thread::scope(|scope| {
        let gateway = &gateway;
        let sending = scope.spawn(|| {
            let channels = (0..CHANNELS).map(|index| load.channel(gateway, index, rate));
            block_on(futures(channels.collect()));
        });
        let mut steps = || -> Result<_> {
            under_load(&load, WELL)?;
            let before = resident_kib(pid)?;
            kafka.kill(0);
            let peak = watch_memory(pid, &load, outage)?;
            kafka.start(0)?;
            let back = Instant::now();
            under_load(&load, WELL)?;
            load.stop.store(true, Ordering::Relaxed);
            until_drained(gateway, CATCH_UP)?;
            Ok((before, peak.max(resident_kib(pid)?), back.elapsed()))
        };
        let done = steps();
        load.stop.store(true, Ordering::Relaxed);
        sending.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
        done
    })?;
    let (sent, refused) = (load.sent.load(Ordering::Relaxed), load.refused.load(Ordering::Relaxed));
    println!(
        "outage {outage:?}, {sent} sent, {refused} refused, caught up {caught_up:?} after Kafka's return, \
         resident {before} KiB before, {peak} KiB at most"
    );
    ensure!(refused * 1000 <= sent, "{refused} of {sent} were refused");
    ensure!(peak <= before + GROWTH_KIB, "{before} KiB became {peak} KiB");
    let counts: Vec<_> = load.taken.iter().map(|taken| taken.load(Ordering::Relaxed)).collect();
    let names: Vec<_> = (0..CHANNELS).map(name).collect();
    let channels: Vec<_> = names.iter().map(String::as_str).zip(counts).collect();
    assert_arrived(&kafka, &config, &channels)?;
    assert_sums(&gateway)?;
    ensure!(gateway.metric("inlet_inputs_spooled", &[])? == 0.0);
    assert!(gateway.is_running());
    Ok(())
}

async fn futures(all: Vec<impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Lets the load go on for so long.
fn under_load(load: &Load, span: Duration) -> Result<()> {
    let (begun, sent) = (Instant::now(), load.sent.load(Ordering::Relaxed));
    wait::until_true(span * 20, "the load", || begun.elapsed() >= span && load.sent.load(Ordering::Relaxed) > sent)
}

fn watch_memory(pid: u32, load: &Load, span: Duration) -> Result<u64> {
    let mut peak = 0;
    let begun = Instant::now();
    while begun.elapsed() < span {
        under_load(load, Duration::from_millis(500))?;
        peak = peak.max(resident_kib(pid)?);
    }
    Ok(peak)
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// Kafka is not there yet: input is taken all the same, readiness does not depend on Kafka, and the spool drains by itself.
#[test]
fn d6_d14_kafka_may_come_later() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "later");
    let gateway = Gateway::run(&config.text())?;
    send(&gateway, "C01", 0..20)?;
    assert!(entries(&gateway)? > 0.0);
    for path in ["/readyz", "/healthz"] {
        assert_eq!(gateway.get_admin(path)?.status, 200, "{path}");
    }
    let status = gateway.status()?;
    assert_eq!((&status["kafka"]["up"], &status["spool"]["writable"]), (&false.into(), &true.into()), "{status}");
    assert_sums(&gateway)?;
    kafka.start_all()?;
    until_drained(&gateway, LIMIT)?;
    send(&gateway, "C01", 20..30)?;
    assert_arrived(&kafka, &config, &[("C01", 30)])?;
    assert_sums(&gateway)
}

/// A broker that is silent and then goes on: what was sent to it before is confirmed after all, and is there once.
#[test]
fn d6_what_is_confirmed_late_is_not_sent_again() -> Result<()> {
    let kafka = Kafka::one()?;
    let config = config(&kafka, "silent");
    let gateway = Gateway::run(&config.text())?;
    wait::until(LIMIT, "Kafka", || Ok((gateway.status()?["kafka"]["up"] == true).then_some(())))?;
    send(&gateway, "C01", 0..3)?;
    until_drained(&gateway, LIMIT)?;
    kafka.pause(0);
    let answered = send(&gateway, "C01", 3..8);
    kafka.resume(0);
    answered?;
    until_drained(&gateway, LIMIT)?;
    let records = assert_arrived(&kafka, &config, &[("C01", 8)])?;
    assert_eq!(records.len(), 8, "something was sent twice");
    assert!(gateway.metric("inlet_spool_confirmed_late_total", &[])? >= 1.0);
    Ok(())
}
