//! list, show, set, reset, reshard.

use crate::{LIMIT, USER, cursors, json, mailbox, mails, open, told};
use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Record;
use inlet_tests::corpus::{self, CorpusMail};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use std::collections::{BTreeMap, BTreeSet};

const MAILS: usize = 12;

fn fill(dovecot: &Dovecot, mails: &[CorpusMail]) -> Result<()> {
    dovecot.fill(USER, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice())).map(drop)
}

/// How often each mail came, and under which ids.
fn seen(records: &[Record]) -> BTreeMap<usize, (usize, BTreeSet<String>)> {
    let mut seen: BTreeMap<usize, (usize, BTreeSet<String>)> = BTreeMap::new();
    for record in records {
        if let (Some(identity), Some(id)) = (judge::identity(record), record.text("/id")) {
            let (count, ids) = seen.entry(identity.id).or_default();
            *count += 1;
            ids.insert(id);
        }
    }
    seen
}

/// A position is shown, refused while a gateway runs, checked by its connector, set and reset; what is read again by that
/// comes with the same ids.
#[test]
fn d3_positions_are_set_and_reset_by_operators() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(MAILS, 3).collect();
    fill(&dovecot, &corpus)?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "set", &mailbox(&dovecot, "support", USER));
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "all mails", |records| mails(records).len() >= MAILS)?;

    let listed = json(&cursors(&gateway, &["list", "--json"])?)?;
    ensure!(listed.as_array().is_some_and(|all| all.len() == 1), "{listed}");
    ensure!(listed[0]["instance"] == "support" && listed[0]["stream"] == "INBOX", "{listed}");
    let shown = json(&cursors(&gateway, &["show", "support", "INBOX"])?)?;
    let position = &shown[0]["cursor"];
    ensure!(position["uid"] == MAILS, "{shown}");
    let mut earlier = position.clone();
    earlier["uid"] = (MAILS - 4).into();
    let earlier = earlier.to_string();

    // While a gateway runs nothing is changed, and it says which.
    for args in [&["set", "support", "INBOX", &earlier][..], &["reset", "support"], &["reshard", "--partitions", "8"]] {
        let refused = cursors(&gateway, args)?;
        ensure!(refused.status.code() == Some(1), "{args:?}: {}", told(&refused));
        ensure!(told(&refused).contains("gateways are running: inlet at 127.0.0.1"), "{args:?}: {}", told(&refused));
    }
    ensure!(json(&cursors(&gateway, &["list", "--json"])?)?[0]["cursor"] == *position, "a refusal changed it");
    ensure!(gateway.stop()?.success());

    // The connector does not read this one; and there is no such stream.
    let wrong = cursors(&gateway, &["set", "support", "INBOX", r#"{"v":1,"offset":7}"#])?;
    ensure!(wrong.status.code() == Some(2) && told(&wrong).contains("does not read it"), "{}", told(&wrong));
    let missing = cursors(&gateway, &["set", "support", "Inbox", &earlier])?;
    ensure!(missing.status.code() == Some(1) && told(&missing).contains("it has in INBOX"), "{}", told(&missing));

    let set = cursors(&gateway, &["set", "support", "INBOX", &earlier])?;
    ensure!(set.status.success(), "{}", told(&set));
    gateway.start()?;
    committed.read_until(LIMIT, "four mails again", |records| mails(records).len() >= MAILS + 4)?;
    ensure!(gateway.stop()?.success());
    let seen_again = seen(&committed.records);
    let again = |id: &usize| seen_again.get(id).is_some_and(|(count, ids)| *count == 2 && ids.len() == 1);
    ensure!((MAILS - 4..MAILS).all(|id| again(&id)), "{seen_again:?}");
    ensure!(mails(committed.drain()?).len() == MAILS + 4);

    let reset = cursors(&gateway, &["reset", "support"])?;
    ensure!(reset.status.success() && told(&reset).contains("repeats have the same ids"), "{}", told(&reset));
    ensure!(json(&cursors(&gateway, &["list", "--json"])?)? == serde_json::json!([]));
    gateway.start()?;
    committed.read_until(LIMIT, "everything again", |records| mails(records).len() >= 2 * MAILS + 4)?;
    ensure!(seen(&committed.records).values().all(|(count, ids)| *count >= 2 && ids.len() == 1));
    Ok(())
}

/// More partitions: the gateway says what to do, the command does it, and the mailbox goes on where it was.
#[test]
fn d3_a_gateway_goes_on_after_a_reshard() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(MAILS, 3).collect();
    fill(&dovecot, &corpus[..MAILS - 2])?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "reshard", &mailbox(&dovecot, "support", USER));
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the first mails", |records| mails(records).len() >= MAILS - 2)?;
    ensure!(gateway.stop()?.success());

    let done = cursors(&gateway, &["reshard", "--partitions", "7", "--json"])?;
    ensure!(done.status.success(), "{}", told(&done));
    let done = json(&done)?;
    ensure!(done["partitions"] == 7 && done["moved"].as_u64().zip(done["kept"].as_u64()) <= Some((1, 1)), "{done}");
    // With the old number it owns nothing, and says why.
    gateway.start()?;
    gateway.wait_line(LIMIT, "the two numbers", |line| line.contains("has 7 partitions") && line.contains("says 4"))?;
    ensure!(gateway.stop()?.success());
    let file = gateway.dir().path().join("inlet.yaml");
    let text = std::fs::read_to_string(&file)?;
    let line = text.lines().find(|line| line.contains("reshard.cursors")).context("the topic is configured")?;
    std::fs::write(&file, text.replace(line, &line.replace("partitions: 4", "partitions: 7")))?;
    gateway.start()?;
    fill(&dovecot, &corpus[MAILS - 2..])?;
    committed.read_until(LIMIT, "the last mails", |records| mails(records).len() >= MAILS)?;
    judge::exactly_once(&mails(&committed.records), corpus.iter().map(|mail| mail.identity))
}
