//! Positions as operators see and change them (`inlet cursors`): a real Dovecot, a real Kafka.

mod commands;

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use serde_json::Value;
use std::process::Output;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const USER: &str = "support@example.test";

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

fn mails(records: &[Record]) -> Vec<Record> {
    records.iter().filter(|record| judge::identity(record).is_some()).cloned().collect()
}

/// `inlet cursors …` with the gateway's own configuration.
fn cursors(gateway: &Gateway, args: &[&str]) -> Result<Output> {
    let mut all = vec!["cursors"];
    all.extend(args);
    all.extend(["-c", "inlet.yaml"]);
    inlet_tests::gateway::cli(&all, gateway.dir().path())
}

fn json(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
