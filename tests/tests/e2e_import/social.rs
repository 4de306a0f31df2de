//! The same for a source that is polled: notifications of a scripted server.

use crate::{LIMIT, inlet, is_backfill, open, sums, told};
use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Record;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::servers::scripted_mastodon::ScriptedMastodon;
use inlet_tests::wait;
use serde_json::Value;
use std::collections::BTreeSet;

const OLD: usize = 100;
const NEW: usize = 5;

fn mention(id: usize) -> Value {
    serde_json::from_str(&include_str!("mention.json").replace("@ID@", &id.to_string())).expect("a JSON file")
}

fn ids(records: &[Record]) -> BTreeSet<String> {
    let created = records.iter().filter(|record| record.text("/kind").as_deref() == Some("message.created"));
    created.filter_map(|record| record.header("ce_id").map(str::to_owned)).collect()
}

#[test]
fn d3_a_polled_source_is_backfilled_and_audited() -> Result<()> {
    let server = ScriptedMastodon::start()?;
    server.notify((1..=OLD).map(|n| mention(1000 + n)));
    let kafka = Kafka::shared();
    let instances = include_str!("social.yaml").replace("@BASE@", &server.base_url());
    let config = Config::new(kafka, "social", &instances);
    let gateway = Gateway::run(&config.text())?;
    wait::until(LIMIT, "the live intake", || {
        Ok((gateway.status()?["instances"]["social"]["state"] == "running").then_some(()))
    })?;
    let listed = |what: &str| -> Result<Value> {
        serde_json::from_slice(&inlet(&gateway, &["cursors", "list", "--json"])?.stdout).context(what.to_owned())
    };
    wait::until(LIMIT, "the first position", || {
        Ok(listed("positions")?.as_array().is_some_and(|all| !all.is_empty()).then_some(()))
    })?;
    server.notify((1..=NEW).map(|n| mention(2000 + n)));
    let mut committed = open(kafka, &config)?;
    committed.read_until(LIMIT, "the new mentions", |records| ids(records).len() >= NEW)?;
    let live = ids(&committed.records);
    ensure!(live.len() == NEW, "history was read without being asked for: {}", live.len());
    // Up to where the live intake has read, all is there; what lies before its start is not asked for.
    let audit = || -> Result<(Option<i32>, Value)> {
        let output = inlet(&gateway, &["audit", "--json"])?;
        Ok((output.status.code(), serde_json::from_slice(&output.stdout).with_context(|| told(&output))?))
    };
    let (code, report) = audit()?;
    ensure!(code == Some(0) && report["instances"][0]["streams"][0]["items"] == NEW, "{report:#}");

    let done = sums(&inlet(&gateway, &["backfill", "social", "--since", "2026-01-01", "--json"])?)?;
    ensure!(done["inputs"] == OLD + NEW, "{done}");
    let records = committed
        .read_until(LIMIT, "all mentions", |records| records.iter().filter(|r| is_backfill(r)).count() >= OLD + NEW)?;
    let all = ids(records);
    ensure!(all.len() == OLD + NEW && live.is_subset(&all), "{} ids, {} of them live", all.len(), live.len());
    let none =
        sums(&inlet(&gateway, &["backfill", "social", "--since", "2026-01-01", "--until", "2026-02-01", "--json"])?)?;
    ensure!(none["inputs"] == 0, "{none}");
    Ok(())
}
