//! Kafka behind TLS with a certificate of its own authority, and a password: all of the gateway's clients get in with the
//! right ones; with wrong ones it stays up, says why and what to do, and loses nothing.

use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::{self, Gateway};
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::{Kafka, Secured};
use inlet_tests::{corpus, wait, webhooks};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &str = "slack-s3cret-1";
const USER: &str = "support@example.test";
const WRONG: &str = "not-the-s3cret";

/// A channel that calls, and one that is read with a cursor: the push lane and the transactional one.
fn instances(dovecot: &Dovecot) -> String {
    let mailbox = include_str!("../e2e_imap/mailbox.yaml")
        .replace("@NAME@", "mail-a")
        .replace("@PORT@", &dovecot.imaps_port.to_string())
        .replace("@CA@", &dovecot.certificates.authority.display().to_string())
        .replace("@USER@", USER);
    format!("  slack-a:\n    connector: slack\n    options: {{ signing_secret: {SECRET} }}\n{mailbox}")
}

fn config(kafka: &Kafka, secured: &Secured, dovecot: &Dovecot, password: &str) -> Config {
    let Secured { address, authority, user, .. } = secured;
    let properties = format!(
        "properties: {{ security.protocol: sasl_ssl, sasl.mechanism: PLAIN, sasl.username: {user}, \
         sasl.password: {password}, ssl.ca.location: '{}' }}",
        authority.display()
    );
    Config::new(kafka, "secure", &instances(dovecot)).by_way_of(address).with_kafka(&properties)
}

fn send(gateway: &Gateway, number: usize) -> Result<()> {
    let body = include_str!("../e2e_webhooks/slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{number:06}"))
        .replace("@CHANNEL@", "C01")
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", &format!("message {number}"));
    let answer = webhooks::slack(&gateway.intake("slack-a"), SECRET, body).send()?;
    ensure!(answer.status == 200, "{number}: {} {}", answer.status, answer.text());
    Ok(())
}

#[test]
fn tls_and_a_password_let_every_client_in_and_wrong_ones_lose_nothing() -> Result<()> {
    let (kafka, secured) = Kafka::one_secured()?;
    let dovecot = Dovecot::start()?;
    let mails: Vec<_> = corpus::mails(5, 1).collect();
    dovecot.fill(USER, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice()))?;

    let wrong = config(&kafka, &secured, &dovecot, WRONG);
    let mut gateway = Gateway::run(&wrong.text())?;
    let status = wait::until(LIMIT, "the reason why Kafka is away", || {
        let status = gateway.status()?;
        let reason = status["kafka"]["reason"].as_str().unwrap_or_default().to_lowercase();
        Ok(reason.contains("authenticat").then_some(status))
    })?;
    assert_eq!(status["kafka"]["up"], false);
    send(&gateway, 1)?;
    let file = gateway.dir().path().join("inlet.yaml").display().to_string();
    let check = gateway::cli(&["check", "-c", &file, "--connect"], gateway.dir().path())?;
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(!check.status.success() && said.to_lowercase().contains("authenticat"), "{said}");
    for (what, text) in [("check", &said), ("status", &status.to_string()), ("log", &gateway.stderr())] {
        assert!(!text.contains(WRONG), "the password is in the {what}: {text}");
    }
    assert!(gateway.stop()?.success());

    gateway.rewrite(&config(&kafka, &secured, &dovecot, secured.password).text())?;
    gateway.start()?;
    send(&gateway, 2)?;
    let mut committed = Committed::open(&kafka.bootstrap(), &wrong.events(), LIMIT)?;
    let wanted = BTreeSet::from(["message 1".to_owned(), "message 2".to_owned()]);
    let records = committed.read_until(LIMIT, "both messages and all mails", |records| {
        let texts: BTreeSet<_> = records.iter().filter_map(|record| record.text("/text")).collect();
        wanted.is_subset(&texts) && records.iter().filter(|record| of(record, "email")).count() >= mails.len()
    })?;
    let ids: BTreeSet<_> = records.iter().filter_map(|record| record.header("ce_id")).collect();
    assert_eq!(ids.len(), records.len(), "an id is there twice");
    // The readers of the other replicas' ids and of the owners' group got in as well.
    wait::until(LIMIT, "a filled index and owned shards", || {
        let status = gateway.status()?;
        let owned = status["lanes"]["replay"]["shards"].as_array().is_some_and(|shards| !shards.is_empty());
        Ok((owned && status["lanes"]["seen"]["state"] == "filled").then_some(()))
    })?;
    let check = gateway::cli(&["check", "-c", &file, "--connect"], gateway.dir().path())?;
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    Ok(())
}

fn of(record: &inlet_tests::consume::Record, channel: &str) -> bool {
    record.text("/channel").as_deref() == Some(channel) && record.text("/kind").as_deref() == Some("message.created")
}
