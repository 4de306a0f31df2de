//! `inlet audit` over a mailbox: nothing is missing after an ordinary run, and a mail that was passed over is named.

use crate::{LIMIT, USER, fill, inlet, mailbox, mails, open, sums, told};
use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::corpus;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use serde_json::Value;

const MAILS: usize = 40;

fn audit(gateway: &Gateway) -> Result<(Option<i32>, Value)> {
    let output = inlet(gateway, &["audit", "--instance", "support", "--json"])?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| told(&output))?;
    Ok((output.status.code(), report))
}

#[test]
fn d3_the_audit_names_exactly_the_mail_that_is_missing() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(MAILS + 3, 5).collect();
    // What lies before the start of a live intake is not asked for; what is no mail is a dead letter, not missing.
    fill(&dovecot, &corpus[..MAILS])?;
    dovecot.fill(USER, "INBOX", [&b"no header in this one"[..]])?;
    let kafka = Kafka::shared();
    let config = Config::new(kafka, "audit", &mailbox(&dovecot, "support", USER));
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "all mails", |records| mails(records).len() >= MAILS)?;
    let mut dead = Committed::open(&kafka.bootstrap(), &config.dead_letters(), LIMIT)?;
    dead.read_until(LIMIT, "the dead letter", |records| !records.is_empty())?;
    let (code, report) = audit(&gateway)?;
    let stream = &report["instances"][0]["streams"][0];
    ensure!(code == Some(0) && report["missing"] == 0, "{report:#}");
    ensure!(stream["items"] == MAILS + 1 && stream["published"] == MAILS && stream["dead_lettered"] == 1, "{report:#}");

    // Three mails come while nobody reads, and somebody sets the position past the first of them.
    ensure!(gateway.stop()?.success());
    fill(&dovecot, &corpus[MAILS..])?;
    let shown = inlet(&gateway, &["cursors", "show", "support", "INBOX"])?;
    let mut position = serde_json::from_slice::<Value>(&shown.stdout)?[0]["cursor"].clone();
    let uid = position["uid"].as_u64().context("a UID")? + 1;
    position["uid"] = uid.into();
    let set = inlet(&gateway, &["cursors", "set", "support", "INBOX", &position.to_string()])?;
    ensure!(set.status.success(), "{}", told(&set));
    gateway.start()?;
    committed.read_until(LIMIT, "the other two", |records| mails(records).len() >= MAILS + 2)?;
    let (code, report) = audit(&gateway)?;
    let missing = report["instances"][0]["streams"][0]["missing"].as_array().context("a list")?.clone();
    ensure!(code == Some(1) && missing.len() == 1 && report["missing"] == 1, "{report:#}");
    ensure!(missing[0]["uri"].as_str().is_some_and(|uri| uri.ends_with(&format!(";UID={uid}"))), "{report:#}");
    ensure!(missing[0]["message_ids"][0].as_str() == Some(&corpus[MAILS].identity.message_id()), "{report:#}");
    let text = inlet(&gateway, &["audit"])?;
    ensure!(text.status.code() == Some(1) && told(&text).contains("MISSING imap://localhost"), "{}", told(&text));

    // The source still has it: a backfill mends it.
    sums(&inlet(&gateway, &["backfill", "support", "--since", "beginning", "--json"])?)?;
    let (code, report) = audit(&gateway)?;
    ensure!(code == Some(0) && report["missing"] == 0, "{report:#}");
    Ok(())
}

/// A live intake that began with what is new is not asked for what was there before.
#[test]
fn d3_the_audit_begins_where_the_live_intake_began() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let corpus: Vec<_> = corpus::mails(8, 2).collect();
    fill(&dovecot, &corpus[..5])?;
    let kafka = Kafka::shared();
    let instances = mailbox(&dovecot, "support", USER).replace("start: beginning", "start: now");
    let config = Config::new(kafka, "auditnow", &instances);
    let gateway = Gateway::run(&config.text())?;
    inlet_tests::wait::until(LIMIT, "the live intake", || {
        Ok((gateway.status()?["instances"]["support"]["state"] == "running").then_some(()))
    })?;
    fill(&dovecot, &corpus[5..])?;
    open(kafka, &config)?.read_until(LIMIT, "the new mails", |records| mails(records).len() >= 3)?;
    let (code, report) = audit(&gateway)?;
    ensure!(code == Some(0), "{report:#}");
    ensure!(report["instances"][0]["streams"][0]["items"] == 3, "{report:#}");
    Ok(())
}
