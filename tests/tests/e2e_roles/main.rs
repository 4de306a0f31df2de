//! Roles as processes of their own on one Kafka: each does its part and no other.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::corpus;
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::Request;
use inlet_tests::process::Workdir;
use inlet_tests::servers::dovecot::Dovecot;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_http::{Reply, ScriptedHttp};
use inlet_tests::{blobs, judge, tls, wait, webhooks};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &str = "shop-s3cret-1";
const USER: &str = "support@example.test";

fn send(gateway: &Gateway, id: &str, url: &str) -> Result<()> {
    let body = serde_json::json!({
        "id": id, "text": "see the file", "sender": {"id": "u-1"}, "attachments": [{"url": url, "name": "file.bin"}],
    });
    wait::until(LIMIT, "a 2xx", || {
        let request = webhooks::standard(&gateway.intake("shop"), SECRET.as_bytes(), id, body.to_string());
        Ok((request.send()?.status < 300).then_some(()))
    })
}

fn kinds(records: &[Record], kind: &str) -> usize {
    records.iter().filter(|record| record.text("/kind").as_deref() == Some(kind)).count()
}

/// Webhooks by one process, mail by another, files by a third; what waits for one that is away is done when it is back.
#[test]
fn each_role_does_only_its_own() -> Result<()> {
    let dir = Workdir::new("roles")?;
    let files = ScriptedHttp::start_tls(&tls::make(&dir)?, |_| Reply::status(200).body("the file's bytes"))?;
    let dovecot = Dovecot::start()?;
    let mails: Vec<_> = corpus::mails(5, 1).collect();
    dovecot.fill(USER, "INBOX", mails.iter().map(|mail| mail.bytes.as_slice()))?;
    let kafka = Kafka::shared();
    let shop = include_str!("../e2e_fetch/instances.yaml")
        .replace("@PORT@", &files.port().to_string())
        .replace("@FETCH@", "{ private_hosts: [localhost] }")
        .replace("@SECRET@", SECRET)
        .replace("@TOKEN@", "t-1");
    let mailbox = include_str!("../e2e_imap/mailbox.yaml")
        .replace("@NAME@", "support")
        .replace("@PORT@", &dovecot.imaps_port.to_string())
        .replace("@CA@", &dovecot.certificates.authority.display().to_string())
        .replace("@USER@", USER);
    let config = Config::new(kafka, "roles", &format!("{shop}{mailbox}"))
        .with(&format!("blobs: {{ url: 'file://{}' }}", dir.path().join("blobs").display()));
    let authority = dir.path().join("ca.pem").display().to_string();
    let run = |role: &str| -> Result<Gateway> {
        let config = config.clone().with(&format!("roles: [{role}]"));
        let mut gateway = Gateway::prepared(&config.text())?.env("SSL_CERT_FILE", &authority);
        gateway.start()?;
        Ok(gateway)
    };
    let ingress = run("ingress")?;
    send(&ingress, "m-1", &files.url("/a"))?;
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    committed.read_until(LIMIT, "the message", |records| kinds(records, "message.created") >= 1)?;
    let identified = |records: &[Record]| records.iter().filter(|record| judge::identity(record).is_some()).count();
    assert_eq!(identified(&committed.records), 0, "a process of role ingress reads mail");
    assert!(files.requests().is_empty(), "a process of role ingress fetches");
    assert!(ingress.status()?["instances"]["support"].is_null());

    let sources = run("sources")?;
    committed.read_until(LIMIT, "the mails", |records| identified(records) == mails.len())?;
    assert!(Request::get(format!("{}/in/shop", sources.ingress)).send().is_err(), "it listens for webhooks");
    assert!(sources.status()?["instances"]["shop"].is_null(), "{}", sources.status()?);
    assert_eq!(sources.status()?["instances"]["support"]["state"], "running");
    assert!(files.requests().is_empty(), "a process of role sources fetches");

    let mut fetches = run("fetches")?;
    committed.read_until(LIMIT, "the file", |records| kinds(records, "attachment.stored") == 1)?;
    assert!(Request::get(format!("{}/in/shop", fetches.ingress)).send().is_err(), "it listens for webhooks");
    let stored = committed.records.iter().find(|r| r.text("/kind").as_deref() == Some("attachment.stored"));
    let stored = stored.context("was there")?;
    let blob = stored.json()?.pointer("/attachments/0/blob").cloned().context("a blob")?;
    assert_eq!(blobs::read(stored, &blob)?, b"the file's bytes");

    assert!(fetches.stop()?.success());
    send(&ingress, "m-2", &files.url("/b"))?;
    committed.read_until(LIMIT, "the second message", |records| kinds(records, "message.created") >= 2)?;
    assert_eq!(kinds(&committed.records, "attachment.stored"), 1);
    fetches.start()?;
    committed.read_until(LIMIT, "the second file", |records| kinds(records, "attachment.stored") == 2)?;
    for gateway in [&ingress, &sources, &fetches] {
        assert_eq!(gateway.get_admin("/readyz")?.status, 200);
    }
    Ok(())
}
