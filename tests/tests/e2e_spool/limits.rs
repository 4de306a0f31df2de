//! D7 and D14: a full spool, a damaged one, a spool that is somebody else's.

use crate::{LIMIT, assert_arrived, config, send, slack, slack_saying, spool_dir, until_drained};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

#[test]
fn d7_a_full_spool_answers_503_and_recovers() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "full").with("spool: { max_bytes: 128KiB }");
    let gateway = Gateway::run(&config.text())?;
    let mut number = 0;
    let refused = loop {
        let answer = slack(&gateway, "C01", number).send()?;
        if answer.status != 200 {
            break answer;
        }
        number += 1;
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert!(number > 10, "only {number} fitted");
    assert_eq!(gateway.metric("inlet_spool_full", &[])?, 1.0);
    assert!(gateway.metric("inlet_spool_refused_full_total", &[])? >= 1.0);
    assert_eq!(gateway.get_admin("/readyz")?.status, 503);
    assert_eq!(gateway.get_admin("/healthz")?.status, 200);
    kafka.start_all()?;
    until_drained(&gateway, LIMIT)?;
    assert_eq!(gateway.get_admin("/readyz")?.status, 200);
    send(&gateway, "C01", number..number + 5)?;
    assert_arrived(&kafka, &config, &[("C01", number + 5)])?;
    Ok(())
}

#[test]
fn d7_a_damaged_spool_is_kept_aside_and_a_new_one_begins() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "damaged");
    let mut gateway = Gateway::run(&config.text())?;
    let long = "x".repeat(2000);
    for number in 0..50 {
        let answer = slack_saying(&gateway, "C01", number, &format!("C01 {number} {long}")).send()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(gateway.stop()?.success());
    let database = spool_dir(&gateway)?.join("spool.db");
    let mut bytes = std::fs::read(&database)?;
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(&database, bytes)?;
    gateway.start()?;
    let reported =
        gateway.metric("inlet_spool_quarantined_total", &[])? + gateway.metric("inlet_spool_damaged_entries", &[])?;
    assert!(reported >= 1.0, "the damage was not reported");
    gateway.wait_line(LIMIT, "about the damage", |line| line.contains("the spool was damaged"))?;
    let names = std::fs::read_dir(spool_dir(&gateway)?)?.flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("quarantine-")));
    send(&gateway, "C02", 0..5)?;
    kafka.start_all()?;
    until_drained(&gateway, LIMIT)?;
    let records = assert_arrived(&kafka, &config, &[("C02", 5)])?;
    let salvaged = records.iter().filter(|record| record.text("/text").is_some_and(|t| t.starts_with("C01"))).count();
    assert!(salvaged > 25, "{salvaged} of 50 were salvaged");
    Ok(())
}

#[test]
fn without_a_spool_an_outage_answers_503() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "off").with("spool: off");
    let gateway = Gateway::run(&config.text())?;
    let answer = slack(&gateway, "C01", 0).send()?;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert!(spool_dir(&gateway).is_err());
    kafka.start_all()?;
    wait::until(LIMIT, "200", || Ok((slack(&gateway, "C01", 0).send()?.status == 200).then_some(())))
}
