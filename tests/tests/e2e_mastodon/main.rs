//! Mastodon notifications, polled from a scripted server → Kafka: every page, edits, deletions, crashes and outages.

use anyhow::Result;
use inlet_tests::config::Config;
use inlet_tests::consume::{Committed, Record};
use inlet_tests::gateway::Gateway;
use inlet_tests::judge;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_http::Reply;
use inlet_tests::servers::scripted_mastodon::{ScriptedMastodon, TOKEN};
use inlet_tests::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);
const INSTANCES: &str = include_str!("instances.yaml");

fn mention(id: usize) -> Value {
    serde_json::from_str(&include_str!("mention.json").replace("@ID@", &id.to_string())).expect("a JSON file")
}

fn config(prefix: &str, server: &ScriptedMastodon) -> Config {
    Config::new(Kafka::shared(), prefix, &INSTANCES.replace("@BASE@", &server.base_url()))
}

fn open(config: &Config) -> Result<Committed> {
    Committed::open(&Kafka::shared().bootstrap(), &config.events(), LIMIT)
}

fn of_kind<'a>(records: &'a [Record], kind: &str) -> Vec<&'a Record> {
    records.iter().filter(|record| record.text("/kind").as_deref() == Some(kind)).collect()
}

/// Several pages of history, then live ones, with kills between: each mention is one event.
#[test]
fn every_mention_arrives_once() -> Result<()> {
    const HISTORY: usize = 205;
    const LIVE: usize = 30;
    let server = ScriptedMastodon::start()?;
    server.notify((1..=HISTORY).map(|n| mention(1000 + n)));
    let config = config("mentions", &server);
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(&config)?;
    committed.read_until(LIMIT, "some of the history", |records| !records.is_empty())?;
    gateway.kill();
    server.notify((1..=LIVE).map(|n| mention(2000 + n)));
    gateway.start()?;
    committed.read_until(LIMIT, "all mentions", |records| records.len() >= HISTORY + LIVE)?;
    // One more, so that a repeat of those before would have come by now.
    server.notify([mention(3000)]);
    let last =
        |records: &[Record]| records.iter().any(|r| r.text("/text").is_some_and(|t| t.contains("question 3000")));
    let records = committed.read_until(LIMIT, "the last mention", last)?;
    judge::distinct_ids(records)?;
    assert_eq!(records.len(), HISTORY + LIVE + 1);
    assert_eq!(of_kind(records, "message.created").len(), records.len());
    let texts: BTreeSet<_> = records.iter().filter_map(|record| record.text("/text")).collect();
    assert_eq!(texts.len(), records.len());
    Ok(())
}

/// An edit and a deletion become events that name the message which they change.
#[test]
fn edits_and_deletions_are_noticed() -> Result<()> {
    let server = ScriptedMastodon::start()?;
    server.notify([mention(1), mention(2)]);
    let config = config("edits", &server);
    let _gateway = Gateway::run(&config.text())?;
    let mut committed = open(&config)?;
    committed.read_until(LIMIT, "both mentions", |records| of_kind(records, "message.created").len() == 2)?;
    server.edit("91", "<p>changed my mind</p>", "2026-05-01T11:00:00.000Z");
    let records = committed.read_until(LIMIT, "the edit", |records| !of_kind(records, "message.edited").is_empty())?;
    let edit = of_kind(records, "message.edited")[0];
    assert!(edit.text("/text").is_some_and(|text| text.contains("changed my mind")));
    let created = of_kind(records, "message.created");
    assert!(created.iter().any(|record| record.key == edit.key), "an edit stays in its conversation");
    server.delete("92");
    let records =
        committed.read_until(LIMIT, "the deletion", |records| !of_kind(records, "message.deleted").is_empty())?;
    assert_eq!(of_kind(records, "message.deleted").len(), 1);
    assert!(of_kind(records, "message.deleted")[0].text("/target/message_id").is_some());
    Ok(())
}

/// A rate limit and server errors are waited out; a revoked token is said, and the instance goes on when it is good again.
#[test]
fn trouble_is_waited_out_and_told() -> Result<()> {
    let server = ScriptedMastodon::start()?;
    server.fail_with([
        Reply::status(429).header("retry-after", "1"),
        Reply::status(502),
        Reply::html("<h1>maintenance</h1>"),
    ]);
    server.notify([mention(1)]);
    let config = config("trouble", &server);
    let mut gateway = Gateway::run(&config.text())?;
    let mut committed = open(&config)?;
    committed.read_until(LIMIT, "the first mention", |records| of_kind(records, "message.created").len() == 1)?;
    server.set_token("another-token");
    wait::until(LIMIT, "a status that tells of the token", || {
        let text = gateway.status()?["instances"]["social"].to_string().to_lowercase();
        let told = ["unauthor", "token", "401"].iter().any(|word| text.contains(word)) && !text.contains("\"running\"");
        Ok(told.then_some(()))
    })?;
    server.set_token(TOKEN);
    server.notify([mention(2)]);
    if gateway.status()?["instances"]["social"]["state"] == json!("stopped") {
        // A stopped instance waits for the operator: a restart is what the status asks for.
        gateway.stop()?;
        gateway.start()?;
    }
    committed.read_until(LIMIT, "the second mention", |records| of_kind(records, "message.created").len() == 2)?;
    let shown = format!("{}{}{}", gateway.stdout(), gateway.stderr(), gateway.status()?);
    assert!(!shown.contains(TOKEN), "the token is shown");
    Ok(())
}
