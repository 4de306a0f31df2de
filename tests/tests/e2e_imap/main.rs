//! Mailboxes of a real Dovecot → a real Kafka, exactly once: over kills, restarts, take-overs and every sort of mail.

mod kills;
mod kinds;
mod logins;
mod owners;
mod renumbered;

use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::corpus::CorpusMail;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{judge, wait};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const USER: &str = "support@example.test";

/// One instance for one mailbox; it only hears of new mail by IDLE.
fn mailbox(dovecot: &Dovecot, name: &str, user: &str) -> String {
    include_str!("mailbox.yaml")
        .replace("@NAME@", name)
        .replace("@PORT@", &dovecot.imaps_port.to_string())
        .replace("@CA@", &dovecot.certificates.authority.display().to_string())
        .replace("@USER@", user)
}

fn open(kafka: &Kafka, config: &Config) -> Result<Committed> {
    Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)
}

/// The events that are mails: not what Inlet says of its own health.
fn mails(records: &[Record]) -> Vec<Record> {
    records.iter().filter(|record| judge::identity(record).is_some()).cloned().collect()
}

fn fill(dovecot: &Dovecot, user: &str, mails: &[CorpusMail]) -> Result<()> {
    dovecot.fill(user, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice())).map(drop)
}

fn await_running(gateway: &Gateway, instance: &str) -> Result<()> {
    wait::until(LIMIT, &format!("{instance} to run"), || {
        Ok((gateway.status()?["instances"][instance]["state"] == "running").then_some(()))
    })
}
