//! D2 and D11: the process ends, in either way, while input waits in its spool.

use crate::{LIMIT, assert_arrived, assert_sums, config, entries, send, until_drained};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

/// kill -9 while input waits, and again while it is being drained.
#[test]
fn d2_spooled_input_survives_kill_9() -> Result<()> {
    const COUNT: usize = 400;
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "killed");
    let mut gateway = Gateway::run(&config.text())?;
    send(&gateway, "C01", 0..COUNT)?;
    gateway.kill();
    gateway.start()?;
    assert_eq!(entries(&gateway)? as usize, COUNT);
    assert_sums(&gateway)?;
    kafka.start_all()?;
    wait::until(LIMIT, "a first entry on Kafka", || {
        Ok((gateway.metric("inlet_spool_drained_total", &[])? > 0.0).then_some(()))
    })?;
    gateway.kill();
    gateway.start()?;
    until_drained(&gateway, LIMIT)?;
    assert_arrived(&kafka, &config, &[("C01", COUNT)])?;
    Ok(())
}

/// SIGTERM while Kafka is away: the end is clean and quick, and nothing is lost.
#[test]
fn d11_an_orderly_end_leaves_input_in_the_spool() -> Result<()> {
    let mut kafka = Kafka::prepared(1)?;
    let config = config(&kafka, "ended");
    let mut gateway = Gateway::run(&config.text())?;
    send(&gateway, "C01", 0..20)?;
    let status = gateway.stop()?;
    assert!(status.success(), "{status}");
    kafka.start_all()?;
    gateway.start()?;
    until_drained(&gateway, LIMIT)?;
    assert_arrived(&kafka, &config, &[("C01", 20)])?;
    Ok(())
}
