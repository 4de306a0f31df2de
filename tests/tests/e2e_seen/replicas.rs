//! Redeliveries at another replica and over the end of a process.

use crate::{LIMIT, assert_once, config, everything, promised_time_after, send};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

/// Messages of one test; killed or not, none may be published twice.
const COUNT: usize = 60;

/// Taken by one replica, sent again to the other; and the other way round.
#[test]
fn d4_a_redelivery_at_another_replica_is_not_published_again() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "other");
    let (one, two) = (Gateway::run(&config.text())?, Gateway::run(&config.text())?);
    send(&one, 0..COUNT / 2)?;
    let answered = send(&two, COUNT / 2..COUNT)?;
    promised_time_after(answered)?;
    send(&two, 0..COUNT / 2)?;
    send(&one, COUNT / 2..COUNT)?;
    assert_once(&everything(&one, kafka, &config)?, COUNT);
    assert_eq!(two.status()?["lanes"]["seen"]["state"], "filled");
    Ok(())
}

/// Stopped in order, started again: the index is what it was.
#[test]
fn d4_a_redelivery_after_a_restart_is_not_published_again() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "restart");
    let mut gateway = Gateway::run(&config.text())?;
    let answered = send(&gateway, 0..COUNT)?;
    assert!(gateway.stop()?.success());
    promised_time_after(answered)?;
    gateway.start()?;
    // At once: whoever asks while the index is being filled waits for it.
    send(&gateway, 0..COUNT)?;
    assert_once(&everything(&gateway, kafka, &config)?, COUNT);
    Ok(())
}

/// Killed right after the last answer, with ids that nobody was told: half of it comes again at the other replica, half
/// at the one that was started again.
#[test]
fn d4_a_redelivery_after_a_kill_is_not_published_again() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "kill");
    let (mut one, two) = (Gateway::run(&config.text())?, Gateway::run(&config.text())?);
    // Before that input goes into the spool, and there is no gap to mend.
    for gateway in [&one, &two] {
        wait::until_true(LIMIT, "a filled index", || gateway.metric("inlet_seen_filled", &[]).is_ok_and(|n| n == 1.0))?;
    }
    let answered = send(&one, 0..COUNT)?;
    one.kill();
    promised_time_after(answered)?;
    send(&two, 0..COUNT / 2)?;
    one.start()?;
    send(&one, COUNT / 2..COUNT)?;
    assert_once(&everything(&two, kafka, &config)?, COUNT);
    // By whoever of them noticed first.
    wait::until_true(LIMIT, "the gap to be mended", || {
        [&one, &two].iter().any(|gateway| gateway.metric("inlet_seen_repairs_total", &[]).is_ok_and(|n| n >= 1.0))
    })
}

/// The only replica is killed: what it had not told is found among the events before anything is taken.
#[test]
fn d4_a_redelivery_after_a_kill_of_the_only_replica_is_not_published_again() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "alone");
    let mut gateway = Gateway::run(&config.text())?;
    send(&gateway, 0..COUNT / 2)?;
    let answered = send(&gateway, COUNT / 2..COUNT)?;
    gateway.kill();
    gateway.start()?;
    promised_time_after(answered)?;
    send(&gateway, 0..COUNT)?;
    assert_once(&everything(&gateway, kafka, &config)?, COUNT);
    Ok(())
}
