//! Two gateways on one Kafka: each mailbox has one reader, and another takes over.

use crate::{LIMIT, fill, mailbox, mails, open};
use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Record;
use inlet_tests::corpus::{self, CorpusMail, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{judge, wait};
use std::collections::BTreeSet;

const MAILBOXES: usize = 8;
const MAILS: usize = 20;
const THREADS: usize = 4;

fn user(mailbox: usize) -> String {
    format!("box{mailbox}@example.test")
}

/// Ids of different mailboxes never meet.
fn mails_of(mailbox: usize, from: usize) -> Vec<CorpusMail> {
    let base = (mailbox + 1) * 1000;
    let identity = |n: usize| Identity { id: base + n, thread: base + n % THREADS, sequence: n / THREADS };
    (from..from + MAILS).map(|n| corpus::mail(identity(n), THREADS)).collect()
}

/// Which instances a gateway runs.
fn running(gateway: &Gateway) -> Result<BTreeSet<String>> {
    let status = gateway.status()?;
    let instances = status["instances"].as_object().cloned().unwrap_or_default();
    Ok(instances.into_iter().filter(|(_, i)| i["state"] == "running").map(|(name, _)| name).collect())
}

/// Both gateways together read every mailbox, none of them twice, and neither has them all.
fn shared_out(first: &Gateway, second: &Gateway) -> Result<()> {
    wait::until(LIMIT, "mailboxes shared out between two gateways", || {
        let (one, two) = (running(first)?, running(second)?);
        ensure!(one.is_disjoint(&two), "both read {:?}", one.intersection(&two).collect::<Vec<_>>());
        ensure!(one.len() + two.len() == MAILBOXES, "{one:?} and {two:?}");
        ensure!(!one.is_empty() && !two.is_empty(), "one has them all");
        Ok(Some(()))
    })
}

fn all_from(records: &[Record], count: usize) -> bool {
    mails(records).len() >= count
}

#[test]
fn d3_two_gateways_share_and_take_over() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let instances: String = (0..MAILBOXES).map(|n| mailbox(&dovecot, &format!("box{n}"), &user(n))).collect();
    let kafka = Kafka::one()?;
    let config = Config::new(&kafka, "owners", &instances);
    let mut expected = Vec::new();
    let mut deliver = |from: usize| -> Result<usize> {
        for n in 0..MAILBOXES {
            let mails = mails_of(n, from);
            fill(&dovecot, &user(n), &mails)?;
            expected.extend(mails.iter().map(|mail| mail.identity));
        }
        Ok(expected.len())
    };
    let count = deliver(0)?;
    let mut first = Gateway::run(&config.text())?;
    let mut committed = open(&kafka, &config)?;
    committed.read_until(LIMIT, "the first mails", |records| all_from(records, count))?;

    // A second one joins: it gets its part, and new mail is read once.
    let mut second = Gateway::run(&config.text())?;
    shared_out(&first, &second)?;
    let count = deliver(MAILS)?;
    committed.read_until(LIMIT, "mail for two", |records| all_from(records, count))?;

    // The first is killed: the second reads everything.
    first.kill();
    let count = deliver(2 * MAILS)?;
    committed.read_until(LIMIT, "mail after the kill", |records| all_from(records, count))?;
    wait::until(LIMIT, "one gateway with all", || Ok((running(&second)?.len() == MAILBOXES).then_some(())))?;

    // It comes back, and the other one is stopped in order.
    first.start()?;
    shared_out(&first, &second)?;
    assert!(second.stop()?.success());
    let count = deliver(3 * MAILS)?;
    committed.read_until(LIMIT, "mail after the stop", |records| all_from(records, count))?;
    judge::exactly_once(&mails(&committed.records), expected)
}

/// An owner that is frozen beyond its session and wakes up again doubles nothing.
#[test]
fn d3_a_frozen_owner_doubles_nothing() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let instances: String = (0..MAILBOXES).map(|n| mailbox(&dovecot, &format!("box{n}"), &user(n))).collect();
    let kafka = Kafka::one()?;
    let config = Config::new(&kafka, "frozen", &instances);
    let mut first = Gateway::run(&config.text())?;
    let second = Gateway::run(&config.text())?;
    shared_out(&first, &second)?;
    let mut expected = Vec::new();
    for n in 0..MAILBOXES {
        let mails = mails_of(n, 0);
        fill(&dovecot, &user(n), &mails)?;
        expected.extend(mails.iter().map(|mail| mail.identity));
    }
    first.process()?.pause();
    wait::until(LIMIT, "a take-over", || Ok((running(&second)?.len() == MAILBOXES).then_some(())))?;
    let mut committed = open(&kafka, &config)?;
    committed.read_until(LIMIT, "all mails", |records| all_from(records, expected.len()))?;
    first.process()?.resume();
    shared_out(&first, &second)?;
    // Behind the last of these nothing of before can come.
    for n in 0..MAILBOXES {
        let mails = mails_of(n, MAILS);
        fill(&dovecot, &user(n), &mails)?;
        expected.extend(mails.iter().map(|mail| mail.identity));
    }
    committed.read_until(LIMIT, "the last mails", |records| all_from(records, expected.len()))?;
    judge::exactly_once(&mails(&committed.records), expected)
}
