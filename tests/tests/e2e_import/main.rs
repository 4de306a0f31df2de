//! Old mail from files and from the mailbox itself, and the question whether anything is missing: a real Dovecot, a real
//! Kafka.

mod audit;
mod backfill;
mod files;
mod kills;
mod social;

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::corpus::CorpusMail;
use inlet_tests::gateway::{self, Gateway};
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
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

fn fill(dovecot: &Dovecot, mails: &[CorpusMail]) -> Result<()> {
    dovecot.fill(USER, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice())).map(drop)
}

/// An mbox as mail programs write it: lines that look like separators are quoted, mails end with an empty line.
fn mbox<'a>(mails: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for mail in mails {
        out.extend_from_slice(b"From sender@customers.test Thu Jan 15 10:20:30 2026\n");
        for line in mail.split_inclusive(|byte| *byte == b'\n') {
            let quotes = line.iter().take_while(|byte| **byte == b'>').count();
            if line[quotes..].starts_with(b"From ") {
                out.push(b'>');
            }
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            out.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
            out.push(b'\n');
        }
        out.push(b'\n');
    }
    out
}

/// An `inlet` command with the gateway's own configuration; its sums where it prints JSON.
fn inlet(gateway: &Gateway, args: &[&str]) -> Result<Output> {
    let mut all = args.to_vec();
    all.extend(["-c", "inlet.yaml"]);
    gateway::cli(&all, gateway.dir().path())
}

fn sums(output: &Output) -> Result<Value> {
    anyhow::ensure!(output.status.success(), "{}", told(output));
    serde_json::from_slice(&output.stdout).with_context(|| told(output))
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The ids under which each mail came.
fn ids(records: &[Record]) -> BTreeMap<usize, BTreeSet<String>> {
    let mut ids: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for record in records {
        if let (Some(identity), Some(id)) = (judge::identity(record), record.header("ce_id")) {
            ids.entry(identity.id).or_default().insert(id.to_owned());
        }
    }
    ids
}

fn is_backfill(record: &Record) -> bool {
    record.json().is_ok_and(|event| event.pointer("/provenance/backfill") == Some(&true.into()))
}

fn path(gateway: &Gateway, name: &str) -> PathBuf {
    gateway.dir().path().join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}
