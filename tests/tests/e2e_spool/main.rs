//! The spool against a real Kafka that goes and comes back, and against kill -9, a full disk's stand-in and damage.

mod blobs;
mod crash;
mod limits;
mod orphan;
mod outage;

use anyhow::{Context, Result, ensure};
use inlet_tests::consume::{Committed, Record};
use inlet_tests::http_client::Request;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{config::Config, gateway::Gateway, wait, webhooks};
use std::collections::BTreeSet;
use std::time::Duration;

/// For anything that is not expected to take long.
const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &str = "slack-s3cret-1";
const INSTANCES: &str = "  slack-a:\n    connector: slack\n    options: { signing_secret: slack-s3cret-1 }\n";

/// One message of a channel, signed.
fn slack(gateway: &Gateway, channel: &str, number: usize) -> Request {
    slack_saying(gateway, channel, number, &text(channel, number))
}

fn slack_saying(gateway: &Gateway, channel: &str, number: usize, text: &str) -> Request {
    let body = include_str!("../e2e_webhooks/slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{channel}{number:06}"))
        .replace("@CHANNEL@", channel)
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", text);
    webhooks::slack(&gateway.intake("slack-a"), SECRET, body)
}

fn text(channel: &str, number: usize) -> String {
    format!("{channel} {number}")
}

fn config(kafka: &Kafka, prefix: &str) -> Config {
    Config::new(kafka, prefix, INSTANCES)
}

/// Sends so many of a channel, each after the 200 of the one before.
fn send(gateway: &Gateway, channel: &str, numbers: std::ops::Range<usize>) -> Result<()> {
    for number in numbers {
        let answer = slack(gateway, channel, number).send()?;
        ensure!(answer.status == 200, "{channel} {number}: {} {}", answer.status, answer.text());
    }
    Ok(())
}

/// All messages are on Kafka, and those of each channel in their order (repeats apart).
fn assert_arrived(kafka: &Kafka, config: &Config, channels: &[(&str, usize)]) -> Result<Vec<Record>> {
    let wanted: BTreeSet<_> =
        channels.iter().flat_map(|(channel, count)| (0..*count).map(|number| text(channel, number))).collect();
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let records = committed.read_until(LIMIT, "every message", |records| {
        if records.len() < wanted.len() {
            return false;
        }
        let seen: BTreeSet<_> = records.iter().filter_map(|record| record.text("/text")).collect();
        wanted.is_subset(&seen)
    })?;
    let mut sorted = records.to_vec();
    sorted.sort_by_key(|record| (record.partition, record.offset));
    for (channel, count) in channels {
        let prefix = format!("{channel} ");
        let mut seen = BTreeSet::new();
        let first_copies: Vec<usize> = sorted
            .iter()
            .filter_map(|record| record.text("/text")?.strip_prefix(&prefix)?.parse().ok())
            .filter(|number| seen.insert(*number))
            .collect();
        ensure!(first_copies == (0..*count).collect::<Vec<_>>(), "{channel}: {first_copies:?}");
    }
    Ok(sorted)
}

fn entries(gateway: &Gateway) -> Result<f64> {
    gateway.metric("inlet_spool_entries", &[])
}

fn until_drained(gateway: &Gateway, limit: Duration) -> Result<()> {
    wait::until(limit, "an empty spool", || Ok((entries(gateway)? == 0.0).then_some(())))
}

/// D9: of every instance's inputs nothing is unaccounted for.
fn assert_sums(gateway: &Gateway) -> Result<()> {
    let accepted = gateway.metric("inlet_inputs_accepted_total", &[])?;
    let settled = gateway.metric("inlet_inputs_total", &[])?;
    let in_flight = gateway.metric("inlet_inputs_in_flight", &[])?;
    ensure!(accepted == settled + in_flight, "{accepted} accepted, {settled} settled, {in_flight} in flight");
    Ok(())
}

/// The spool's directory of a gateway.
fn spool_dir(gateway: &Gateway) -> Result<std::path::PathBuf> {
    let dir = gateway.dir().path().join("data/spool");
    dir.exists().then_some(dir).context("there is a spool")
}
