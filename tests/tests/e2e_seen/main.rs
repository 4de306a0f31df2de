//! D4 on a real Kafka: what is safe is not published again when it is delivered again, at whichever replica, over a stop
//! and over a kill.

mod copies;
mod replicas;

use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For anything that is not expected to take long.
const LIMIT: Duration = Duration::from_secs(60);
/// D4 speaks of redeliveries that begin so long after the answer.
const PROMISED_AFTER: Duration = Duration::from_secs(5);
const SECRET: &str = "slack-s3cret-1";

fn config(kafka: &Kafka, prefix: &str) -> Config {
    Config::new(kafka, prefix, include_str!("instances.yaml"))
}

fn message(gateway: &Gateway, instance: &str, number: usize) -> Request {
    let body = include_str!("slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{number:06}"))
        .replace("@CHANNEL@", &format!("C{:02}", number % 7))
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", &format!("message {number}"));
    webhooks::slack(&gateway.intake(instance), SECRET, body)
}

/// Sends messages, one after the other; each is answered 200.
fn send(gateway: &Gateway, numbers: impl IntoIterator<Item = usize>) -> Result<Instant> {
    for number in numbers {
        let answer = message(gateway, "slack-a", number).header("x-slack-retry-num", "0").send()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    Ok(Instant::now())
}

/// As long as the contract gives; what is waited for is the clock itself.
fn promised_time_after(answered: Instant) -> Result<()> {
    wait::until_true(2 * PROMISED_AFTER, "five seconds after the answer", || answered.elapsed() >= PROMISED_AFTER)
}

/// Everything on the events' topic, up to a last message that is sent now.
fn everything(gateway: &Gateway, kafka: &Kafka, config: &Config) -> Result<Vec<Record>> {
    const LAST: usize = 999_999;
    send(gateway, [LAST])?;
    // What came right after a start, before the index was filled, may have gone by the spool.
    wait::until_true(LIMIT, "an empty spool", || {
        gateway.metric("inlet_spool_entries", &[]).is_ok_and(|entries| entries == 0.0)
    })?;
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let text = format!("message {LAST}");
    committed.read_until(LIMIT, "the last message", |records| {
        records.iter().any(|record| record.text("/text").as_deref() == Some(text.as_str()))
    })?;
    let records = committed.drain()?;
    Ok(records.iter().filter(|record| record.text("/text").as_deref() != Some(text.as_str())).cloned().collect())
}

/// Each message is there exactly once, under an id of its own.
fn assert_once(records: &[Record], count: usize) {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for record in records {
        *copies.entry(record.header("ce_id").expect("an id").to_owned()).or_default() += 1;
    }
    let doubled: Vec<_> = copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert!(doubled.is_empty(), "{} of {count} are there more than once: {doubled:?}", doubled.len());
    assert_eq!(copies.len(), count);
}
