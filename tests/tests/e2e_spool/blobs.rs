//! D1: the blob store is away. The bytes are safe in the spool, and in the store before Kafka hears of them.

use crate::{LIMIT, config, entries, slack_saying, until_drained};
use anyhow::{Context, Result};
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

#[test]
fn d1_blobs_wait_in_the_spool_for_their_store() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "blobs").with("inline_max: 4KiB");
    let gateway = Gateway::run(&config.text())?;
    wait::until(LIMIT, "Kafka", || Ok((gateway.status()?["kafka"]["up"] == true).then_some(())))?;
    let store = gateway.dir().path().join("data/blobs");
    std::fs::remove_dir_all(&store)?;
    std::fs::write(&store, b"")?;
    // Larger than `inline_max`: the event travels as a claim check.
    let long = format!("claim {}", "y".repeat(8000));
    let answer = slack_saying(&gateway, "C01", 0, &long).send()?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(entries(&gateway)?, 1.0);
    std::fs::remove_file(&store)?;
    std::fs::create_dir(&store)?;
    until_drained(&gateway, LIMIT)?;
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let records = committed.read_until(LIMIT, "the event", |records| !records.is_empty())?;
    let path = records[0].text("/claim_check/path").context("a claim check")?;
    let whole: serde_json::Value = serde_json::from_slice(&std::fs::read(store.join(path))?)?;
    assert_eq!(whole["text"], long);
    Ok(())
}
