//! Kafka away, and no spool: at the start, and later.

use crate::{LIMIT, config, slack};
use anyhow::Result;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

/// Kafka absent at start: the gateway stays up and says so, input gets 503 with Retry-After, and it recovers by itself.
#[test]
fn kafka_may_come_later() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "late").with("spool: off");
    let mut gateway = Gateway::run(&config.text())?;
    let answer = slack(&gateway, "C01", 1, "too early").send()?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert_eq!(gateway.status()?["kafka"]["up"], false);
    assert_eq!(gateway.get_admin("/healthz")?.status, 200);
    gateway.wait_line(LIMIT, "about Kafka", |line| line.to_lowercase().contains("kafka"))?;

    kafka.start_all()?;
    wait::until(LIMIT, "200 for a webhook", || {
        Ok((slack(&gateway, "C01", 2, "in time").send()?.status == 200).then_some(()))
    })?;
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    committed.read_until(LIMIT, "the message", |records| {
        records.iter().any(|record| record.text("/text").as_deref() == Some("in time"))
    })?;
    wait::until(LIMIT, "a status that says so", || Ok((gateway.status()?["kafka"]["up"] == true).then_some(())))?;
    assert!(gateway.is_running());
    Ok(())
}

/// The broker goes and comes back: refused input is refused, accepted input is there, nothing restarts.
#[test]
fn kafka_may_go_and_come_back() -> Result<()> {
    let mut kafka = Kafka::one()?;
    let config = config(&kafka, "bounce").with("spool: off");
    let mut gateway = Gateway::run(&config.text())?;
    let mut accepted = Vec::new();
    let mut send = |gateway: &Gateway, number: usize| -> Result<u16> {
        let text = format!("number {number}");
        let status = slack(gateway, "C01", number, &text).send()?.status;
        if status == 200 {
            accepted.push(text);
        }
        Ok(status)
    };
    wait::until(LIMIT, "a first 200", || Ok((send(&gateway, 1)? == 200).then_some(())))?;
    kafka.kill(0);
    assert_eq!(send(&gateway, 2)?, 503);
    assert_eq!(gateway.get_admin("/readyz")?.status, 200, "Kafka is not in readiness");
    kafka.start(0)?;
    let mut number = 3;
    wait::until(LIMIT, "200 again", || {
        number += 1;
        Ok((send(&gateway, number)? == 200).then_some(()))
    })?;
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    committed.read_until(LIMIT, "everything accepted", |records| {
        let seen: Vec<_> = records.iter().filter_map(|record| record.text("/text")).collect();
        accepted.iter().all(|text| seen.contains(text))
    })?;
    assert!(gateway.is_running());
    Ok(())
}
