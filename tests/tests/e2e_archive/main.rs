//! What is kept of inputs: dead letters and raw inputs are parsed again to the same ids, and erased for good.

mod erase;
mod replay;

use anyhow::{Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::{self, Record};
use inlet_tests::gateway::{Gateway, cli};
use inlet_tests::http_client::Request;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// A mapping that cannot read anything yet, and the one that can.
const BROKEN: &str = r#"error("not known yet")"#;
const MENDED: &str = r#"{ kind: "message.created", text: .text, sender: { id: .user, name: .user } }"#;

fn config(prefix: &str, map: &str) -> Config {
    Config::new(Kafka::shared(), prefix, include_str!("instances.yaml"))
        .map_instances(|instances| instances.replace("@MAP@", map))
}

/// Sends a message to the shop's webhook, well signed.
fn send(gateway: &Gateway, body: &str) -> Result<()> {
    let url = gateway.intake("shop");
    accepted(&webhooks::hmac_hex(&url, "shop-s3cret-1", body.to_owned(), "X-Acme-Signature", "sha256="))
}

/// Sends until it is accepted, as providers do: while topics are being made it may take a moment.
fn accepted(request: &Request) -> Result<()> {
    wait::until(LIMIT, "the input to be accepted", || {
        let answer = request.clone().send()?;
        ensure!(answer.status < 400, "{} {}", answer.status, answer.text());
        Ok(Some(()))
    })
}

fn message(number: usize) -> String {
    format!(r#"{{"id":"m{number}","text":"message {number}","user":"u{number}"}}"#)
}

/// Runs a command over a gateway's configuration; gives what it printed.
fn inlet(gateway: &Gateway, args: &[&str]) -> Result<String> {
    let file = gateway.dir().path().join("inlet.yaml").display().to_string();
    let mut all = vec![args[0], "-c", &file];
    all.extend(&args[1..]);
    let output = cli(&all, gateway.dir().path())?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "inlet {}: {text}", args.join(" "));
    Ok(text)
}

/// All records of a topic, once there are so many.
fn records(topic: &str, count: usize) -> Result<Vec<Record>> {
    consume::kcat_until(&Kafka::shared().bootstrap(), topic, count, LIMIT)
}

/// The keys that are left when everything is compacted.
fn left(topic: &str) -> Result<BTreeSet<String>> {
    let mut newest: BTreeMap<String, bool> = BTreeMap::new();
    for record in consume::kcat(&Kafka::shared().bootstrap(), topic)? {
        newest.insert(record.key.clone().unwrap_or_default(), !record.value.is_empty());
    }
    Ok(newest.into_iter().filter(|(_, stays)| *stays).map(|(key, _)| key).collect())
}

fn ids(records: &[Record]) -> BTreeSet<String> {
    records.iter().filter_map(|record| record.header("ce_id")).map(str::to_owned).collect()
}
