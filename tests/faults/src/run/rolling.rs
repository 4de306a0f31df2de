//! A rolling restart under load, and a gateway that goes for good while its spool is full: `inlet spool drain` brings what
//! it left.

use std::time::Duration;

use anyhow::{Result, ensure};
use inlet_tests::gateway::cli;
use inlet_tests::servers::proxy::Weather;
use inlet_tests::wait;
use serde_json::Value;

use super::book::Book;
use super::report::Report;
use super::scene;
use super::world::{GATEWAYS, World};

const ROUNDS: usize = 2;
/// Load between two restarts.
const PACE: Duration = Duration::from_secs(3);
/// What the spool holds before its gateway goes.
const SPOOLED: u64 = 50;
const LIMIT: Duration = Duration::from_secs(120);

/// Runs it and judges; the report's story says how much was brought.
pub fn run(seed: u64) -> Result<Report> {
    let mut story = String::new();
    let mut report = scene(seed, |world, book| {
        restart_all(world, book)?;
        story = scale_down(world, book)?;
        Ok(())
    })?;
    report.story = story;
    Ok(report)
}

/// Each in turn, in good order.
fn restart_all(world: &mut World, book: &Book) -> Result<()> {
    for _ in 0..ROUNDS {
        for gateway in 0..GATEWAYS {
            await_load(book, PACE)?;
            let status = world.gateways[gateway].stop()?;
            ensure!(status.success(), "gateway {gateway} ended with {status}");
            world.gateways[gateway].start()?;
        }
    }
    await_load(book, PACE)
}

/// The last gateway loses Kafka, fills its spool and goes; its spool is brought by hand.
fn scale_down(world: &mut World, book: &Book) -> Result<String> {
    let last = GATEWAYS - 1;
    // What the spool holds is known to the other one when it has been brought.
    let disturbed = book.disturb();
    world.kafka.side(last).iter().for_each(|proxy| proxy.set(Weather::Cut));
    let gateway = &mut world.gateways[last];
    let (config, data) = (gateway.dir().path().join("inlet.yaml"), gateway.dir().path().join("data"));
    let (config, data) = (config.display().to_string(), data.display().to_string());
    let entries = || -> Result<u64> {
        let output = cli(&["spool", "status", "--json", &data], std::path::Path::new("."))?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        status["entries"].as_u64().ok_or_else(|| anyhow::anyhow!("no entries in {status}"))
    };
    wait::until_true(LIMIT, "a spool that fills", || entries().is_ok_and(|entries| entries >= SPOOLED))?;
    let status = gateway.stop()?;
    ensure!(status.success(), "a gateway with a full spool ended with {status}");
    let left = entries()?;
    ensure!(left >= SPOOLED, "only {left} inputs are in the spool after the stop");
    world.kafka.side(last).iter().for_each(|proxy| proxy.set(Weather::Fair));
    await_load(book, PACE)?;
    let output = cli(&["spool", "drain", &data, "-c", &config], std::path::Path::new("."))?;
    ensure!(output.status.success(), "spool drain: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(entries()? == 0, "the spool is not empty");
    book.calm(disturbed, 0);
    Ok(format!(
        "{ROUNDS} rolling restarts of {GATEWAYS} gateways; one gone for good with {left} inputs in its spool, drained by hand"
    ))
}

/// Waits until so much time has passed and something was taken meanwhile.
fn await_load(book: &Book, span: Duration) -> Result<()> {
    let (before, begun) = (book.sums().safe, std::time::Instant::now());
    wait::until_true(LIMIT, "the load to go on", || begun.elapsed() >= span && book.sums().safe > before)
}
