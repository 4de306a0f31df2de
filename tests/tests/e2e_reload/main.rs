//! D15: SIGHUP to the process. Only what changed starts again, and what is wrong changes nothing. Real Kafka and Dovecot.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::corpus::{self, Identity};
use inlet_tests::gateway::Gateway;
use inlet_tests::process::Workdir;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{judge, wait, webhooks};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const USER: &str = "support@example.test";

fn slack(name: &str, secret: &str) -> String {
    format!("  {name}:\n    connector: slack\n    options: {{ signing_secret: '{secret}' }}\n")
}

fn mailbox(dovecot: &Dovecot, name: &str, user: &str) -> String {
    include_str!("../e2e_imap/mailbox.yaml")
        .replace("@NAME@", name)
        .replace("@PORT@", &dovecot.imaps_port.to_string())
        .replace("@CA@", &dovecot.certificates.authority.display().to_string())
        .replace("@USER@", user)
}

fn send(gateway: &Gateway, instance: &str, secret: &str, number: usize) -> Result<u16> {
    let body = include_str!("../e2e_webhooks/slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{instance}{number:06}"))
        .replace("@CHANNEL@", "C01")
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", &format!("{instance} {number}"));
    Ok(webhooks::slack(&gateway.intake(instance), secret, body).send()?.status)
}

/// The outcome of a reload that began after `before`.
fn reloaded(gateway: &Gateway, before: &Value) -> Result<Value> {
    wait::until(LIMIT, "the outcome of a reload", || {
        let reload = gateway.status()?["reload"].clone();
        Ok((!reload.is_null() && reload["at"] != before["at"]).then_some(reload))
    })
}

fn mails(records: &[Record]) -> Vec<Record> {
    records.iter().filter(|record| judge::identity(record).is_some()).cloned().collect()
}

/// One is added, one removed, one has another secret in its file; the mailbox beside them does not notice.
#[test]
fn d15_only_changed_instances_start_again() -> Result<()> {
    let dovecot = Dovecot::start()?;
    let kafka = Kafka::shared();
    let mail = mailbox(&dovecot, "support", USER);
    let dir = Workdir::new("secrets")?;
    let secret = dir.write("secret", "old-s3cret")?;
    let from_file = slack("rotated", &format!("${{file:{}}}", secret.display()));
    let first =
        Config::new(kafka, "reload", &format!("{from_file}{}{}{mail}", slack("same", "s-1"), slack("gone", "s-2")));
    let mut gateway = Gateway::run(&first.text())?;
    wait::until(
        LIMIT,
        "webhooks are taken",
        || Ok((send(&gateway, "rotated", "old-s3cret", 1)? == 200).then_some(())),
    )?;
    wait::until(LIMIT, "the mailbox runs", || {
        Ok((gateway.status()?["instances"]["support"]["state"] == "running").then_some(()))
    })?;
    let since =
        |gateway: &Gateway, name: &str| -> Result<Value> { Ok(gateway.status()?["instances"][name]["since"].clone()) };
    let (mail_since, same_since) = (since(&gateway, "support")?, since(&gateway, "same")?);
    std::fs::write(&secret, "new-s3cret")?;
    let second =
        Config::new(kafka, "reload", &format!("{from_file}{}{}{mail}", slack("same", "s-1"), slack("fresh", "s-3")));
    gateway.reload(&second.text())?;
    let outcome = reloaded(&gateway, &Value::Null)?;
    assert_eq!(outcome["ok"], true, "{outcome}");
    assert_eq!(outcome["added"], serde_json::json!(["fresh"]));
    assert_eq!(outcome["changed"], serde_json::json!(["rotated"]));
    assert_eq!(outcome["removed"], serde_json::json!(["gone"]));
    assert_eq!(send(&gateway, "rotated", "old-s3cret", 2)?, 401);
    assert_eq!(send(&gateway, "rotated", "new-s3cret", 3)?, 200);
    assert_eq!(send(&gateway, "fresh", "s-3", 4)?, 200);
    assert_eq!(send(&gateway, "same", "s-1", 5)?, 200);
    assert_eq!(send(&gateway, "gone", "s-2", 6)?, 404);
    assert!(gateway.status()?["instances"]["gone"].is_null());
    assert_eq!((since(&gateway, "support")?, since(&gateway, "same")?), (mail_since, same_since));
    let shown = format!("{}{}{}", gateway.stdout(), gateway.stderr(), gateway.status()?);
    assert!(!shown.contains("s3cret"), "{shown}");
    Ok(())
}

/// Broken YAML, an unknown connector, another Kafka: each is refused with its reason, and everything goes on as it was.
#[test]
fn d15_what_is_wrong_leaves_the_running_one_in_place() -> Result<()> {
    let kafka = Kafka::shared();
    let good = Config::new(kafka, "reloadbad", &slack("chat", "s-1"));
    let mut gateway = Gateway::run(&good.text())?;
    wait::until(LIMIT, "webhooks are taken", || Ok((send(&gateway, "chat", "s-1", 1)? == 200).then_some(())))?;
    let text = good.text();
    let unknown = Config::new(kafka, "reloadbad", &slack("chat", "s-1").replace("connector: slack", "connector: slak"));
    let elsewhere = text.replacen("brokers: [", "brokers: [\"127.0.0.1:1\", ", 1);
    let moved = text.replacen("@INGRESS@", "127.0.0.1:1", 1);
    let wrong = [
        (format!("{text}  chat: ["), "inlet.yaml:"),
        (unknown.text(), "did you mean 'slack'"),
        (elsewhere, "kafka.brokers"),
        (moved, "ingress.listen"),
    ];
    let mut last = Value::Null;
    for (number, (text, says)) in wrong.into_iter().enumerate() {
        gateway.reload(&text)?;
        last = reloaded(&gateway, &last)?;
        let error = last["error"].as_str().context("an error")?.to_owned();
        assert!(last["ok"] == false && error.contains(says), "{last}");
        assert_eq!(gateway.metric("inlet_config_reload_refused", &[])?, 1.0);
        gateway.wait_line(LIMIT, says, |line| line.contains("not taken") && line.contains(says))?;
        assert_eq!(send(&gateway, "chat", "s-1", 10 + number)?, 200);
        assert_eq!(gateway.get_admin("/readyz")?.status, 200);
    }
    gateway.reload(&good.text())?;
    let outcome = reloaded(&gateway, &last)?;
    assert!(outcome["ok"] == true && outcome["changed"].is_null(), "{outcome}");
    assert_eq!(gateway.metric("inlet_config_reload_refused", &[])?, 0.0);
    Ok(())
}

/// A mailbox is changed, removed and added again while mail comes in: each mail is there once.
#[test]
fn d15_a_changed_source_settles_first_and_doubles_nothing() -> Result<()> {
    const MAILS: usize = 30;
    let dovecot = Dovecot::start()?;
    let kafka = Kafka::shared();
    let mail = mailbox(&dovecot, "support", USER);
    let config = |instances: &str| Config::new(kafka, "reloadmail", instances);
    let other = slack("chat", "s-1");
    let mut gateway = Gateway::run(&config(&format!("{other}{mail}")).text())?;
    let mut expected = Vec::new();
    let mut deliver = || -> Result<usize> {
        let from = expected.len();
        let identity = |n: usize| Identity { id: n, thread: n % 4, sequence: n / 4 };
        let mails: Vec<_> = (from..from + MAILS).map(|n| corpus::mail(identity(n), 4)).collect();
        dovecot.fill(USER, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice()))?;
        expected.extend(mails.iter().map(|mail| mail.identity));
        Ok(expected.len())
    };
    let mut committed = Committed::open(&kafka.bootstrap(), &config("").events(), LIMIT)?;
    let mut last = Value::Null;
    let routed = mail.replacen("    connector: imap\n", "    connector: imap\n    routing: { queue: mail }\n", 1);
    assert_ne!(routed, mail);
    let steps = [format!("{other}{routed}"), other.clone(), format!("{other}{mail}"), format!("{other}{routed}")];
    for step in &steps {
        deliver()?;
        gateway.reload(&config(step).text())?;
        last = reloaded(&gateway, &last)?;
        assert_eq!(last["ok"], true, "{last}");
    }
    let count = deliver()?;
    let all = committed.read_until(LIMIT, "all mails", |records| mails(records).len() >= count)?;
    judge::exactly_once(&mails(all), expected)?;
    assert!(all.iter().any(|record| record.text("/routing/queue").as_deref() == Some("mail")));
    Ok(())
}
