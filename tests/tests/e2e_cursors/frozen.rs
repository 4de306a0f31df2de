//! An owner that is frozen in the middle of a transaction, beyond its session.

use crate::{LIMIT, mailbox, mails, open};
use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::corpus::{self, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MAILBOXES: usize = 4;
const MAILS: usize = 400;
const THREADS: usize = 50;
const SECRET: &str = "slack-s3cret-1";
/// A transaction that is open for so long is the frozen owner's: others take milliseconds.
const STANDS_STILL: Duration = Duration::from_millis(1500);
const QUESTION: Duration = Duration::from_secs(5);
/// How late others may become visible: the contract's bar.
const LAG_LIMIT: Duration = Duration::from_secs(25);

fn user(mailbox: usize) -> String {
    format!("box{mailbox}@example.test")
}

/// The ends of a topic's partitions for readers of one kind.
struct Ends(BaseConsumer, String);

impl Ends {
    fn new(kafka: &Kafka, topic: &str, isolation: &str) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap()).set("isolation.level", isolation).set("log_level", "0");
        Ok(Self(config.create()?, topic.to_owned()))
    }

    fn read(&self) -> Result<Vec<i64>> {
        let metadata = self.0.fetch_metadata(Some(&self.1), QUESTION)?;
        let partitions = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id());
        partitions.map(|p| Ok(self.0.fetch_watermarks(&self.1, p, QUESTION)?.1)).collect()
    }
}

/// Freezes the gateway with a transaction open on the events: what it had in hand holds readers back.
fn freeze_in_a_transaction(gateway: &mut Gateway, kafka: &Kafka, topic: &str) -> Result<()> {
    let (committed, all) = (Ends::new(kafka, topic, "read_committed")?, Ends::new(kafka, topic, "read_uncommitted")?);
    for _ in 0..50 {
        gateway.process()?.pause();
        let (frozen, before) = (Instant::now(), committed.read()?);
        loop {
            let (stable, end) = (committed.read()?, all.read()?);
            let held: Vec<_> = (0..end.len()).filter(|&p| stable[p] < end[p] && stable[p] == before[p]).collect();
            if held.is_empty() {
                break;
            }
            if frozen.elapsed() > STANDS_STILL {
                return Ok(());
            }
        }
        gateway.process()?.resume();
    }
    anyhow::bail!("the gateway was never caught in a transaction")
}

fn of_webhooks(records: &[Record]) -> impl Iterator<Item = String> + '_ {
    records.iter().filter_map(|record| record.text("/text")).filter(|text| text.starts_with("live "))
}

/// The owner's commit is fenced, nothing doubles, and what others do becomes visible within the limit meanwhile.
#[test]
fn d3_an_owner_frozen_in_a_transaction_is_fenced_and_holds_others_back_for_seconds_only() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let mut expected = Vec::new();
    for n in 0..MAILBOXES {
        let base = (n + 1) * 10_000;
        let identity = |m: usize| Identity { id: base + m, thread: base + m % THREADS, sequence: m / THREADS };
        let mails: Vec<_> = (0..MAILS).map(|m| corpus::mail(identity(m), THREADS)).collect();
        dovecot.fill(&user(n), "INBOX", mails.iter().map(|mail| mail.bytes.as_slice()))?;
        expected.extend(mails.iter().map(|mail| mail.identity));
    }
    let boxes: String = (0..MAILBOXES).map(|n| mailbox(&dovecot, &format!("box{n}"), &user(n))).collect();
    let kafka = Kafka::one()?;
    let slack = format!("  slack-a:\n    connector: slack\n    options: {{ signing_secret: {SECRET} }}\n");
    let config = Config::new(&kafka, "held", &(boxes + &slack));
    let mut first = Gateway::run(&config.text())?;
    // New topics have leaders that not every client knows yet.
    open(&kafka, &config)?.read_until(LIMIT, "the first mails", |records| mails(records).len() >= MAILBOXES)?;
    freeze_in_a_transaction(&mut first, &kafka, &config.events())?;
    let frozen = Instant::now();
    let second = Gateway::run(&config.text())?;
    let done = AtomicBool::new(false);
    let lags = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_until(&second, &done));
        let watched = watch(&kafka, &config, expected.len());
        done.store(true, Ordering::SeqCst);
        let sent = sending.join().expect("the sender does not panic");
        let (mut committed, mut seen) = watched?;
        committed.read_until(LIMIT, "the last live message", |records| of_webhooks(records).count() >= sent.len())?;
        for text in of_webhooks(&committed.records) {
            seen.entry(text).or_insert_with(Instant::now);
        }
        Ok::<_, anyhow::Error>(
            sent.iter().map(|(text, at)| seen[text].saturating_duration_since(*at)).collect::<Vec<_>>(),
        )
    })?;
    let worst = lags.iter().max().copied().unwrap_or_default();
    println!("{} live messages, the latest visible after {worst:?}; frozen for {:?}", lags.len(), frozen.elapsed());
    ensure!(worst <= LAG_LIMIT, "a message of another instance was visible only after {worst:?}");

    // It wakes up with a transaction in hand: that must come to nothing.
    first.process()?.resume();
    first.wait_line(LIMIT, "the loss of its shards", |line| line.contains("shards are given up"))?;
    let last = Identity { id: 99_999, thread: 99_999, sequence: 0 };
    dovecot.fill(&user(0), "INBOX", [&corpus::mail(last, 1).bytes[..]])?;
    let mut committed = open(&kafka, &config)?;
    let has_last = |records: &[Record]| records.iter().any(|record| judge::identity(record) == Some(last));
    committed.read_until(LIMIT, "the last mail", has_last)?;
    committed.read_until(LIMIT, "all mails", |records| mails(records).len() > expected.len())?;
    expected.push(last);
    judge::exactly_once(&mails(&committed.records), expected)
}

/// A message after the other, and when each was answered.
fn send_until(gateway: &Gateway, done: &AtomicBool) -> Vec<(String, Instant)> {
    let mut sent = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let number = sent.len();
        let text = format!("live {number}");
        let body = include_str!("slack_message.json")
            .replace("@NUMBER@", &format!("{number:06}"))
            .replace("@CHANNEL@", &format!("C{}", number % 8))
            .replace("@TEXT@", &text);
        let answer = webhooks::slack(&gateway.intake("slack-a"), SECRET, body).send();
        if answer.is_ok_and(|answer| answer.status == 200) {
            sent.push((text, Instant::now()));
        }
    }
    sent
}

/// Reads until every mail is there; when each live message was seen first.
fn watch(kafka: &Kafka, config: &Config, count: usize) -> Result<(Committed, HashMap<String, Instant>)> {
    let mut committed = open(kafka, config)?;
    let mut seen = HashMap::new();
    let (mut looked_at, mut found) = (0, 0);
    wait::until(LIMIT, "all mails", || {
        committed.drain()?;
        let fresh = &committed.records[looked_at..];
        for text in of_webhooks(fresh) {
            seen.entry(text).or_insert_with(Instant::now);
        }
        found += mails(fresh).len();
        looked_at += fresh.len();
        Ok((found >= count).then_some(()))
    })?;
    Ok((committed, seen))
}
