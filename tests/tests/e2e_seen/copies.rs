//! Copies at one replica.

use crate::{LIMIT, assert_once, config, everything, message, send};
use anyhow::Result;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::wait;

/// Sent again right after the answer, and under another instance's name: answered alike, published once.
#[test]
fn d4_a_redelivery_at_the_same_replica_is_not_published_again() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "again");
    let gateway = Gateway::run(&config.text())?;
    // Before that input goes into the spool, by which it is recognised too.
    wait::until_true(LIMIT, "a filled index", || gateway.metric("inlet_seen_filled", &[]).is_ok_and(|n| n == 1.0))?;
    for instance in ["slack-a", "slack-a", "slack-b", "slack-a"] {
        assert_eq!(message(&gateway, instance, 1).send()?.status, 200);
    }
    assert_once(&everything(&gateway, kafka, &config)?, 1);
    let duplicates = |instance: &str| {
        gateway.metric("inlet_inputs_total", &[&format!("instance=\"{instance}\""), "outcome=\"duplicate\""])
    };
    assert_eq!((duplicates("slack-a")?, duplicates("slack-b")?), (2.0, 1.0));
    assert_eq!(gateway.metric("inlet_seen_verdicts_total", &["verdict=\"duplicate\""])?, 3.0);
    wait::until_true(LIMIT, "the figures", || gateway.metric("inlet_seen_ids", &[]).is_ok_and(|n| n > 0.0))
}

/// Fifty copies at the same moment: one is published, all are answered 200.
#[test]
fn d4_copies_at_the_same_time_join() -> Result<()> {
    const COPIES: usize = 50;
    let kafka = Kafka::shared();
    let config = config(kafka, "join");
    let gateway = Gateway::run(&config.text())?;
    send(&gateway, [0])?;
    let start = std::sync::Barrier::new(COPIES);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let copies: Vec<_> = (0..COPIES)
            .map(|_| {
                scope.spawn(|| {
                    let request = message(&gateway, "slack-a", 1);
                    start.wait();
                    request.send().map(|answer| answer.status)
                })
            })
            .collect();
        copies.into_iter().map(|copy| copy.join().expect("no panic")).collect::<Result<_>>()
    })?;
    assert_eq!(statuses, [200; COPIES]);
    assert_once(&everything(&gateway, kafka, &config)?, 2);
    let verdicts = |verdict: &str| gateway.metric("inlet_seen_verdicts_total", &[&format!("verdict=\"{verdict}\"")]);
    assert_eq!(verdicts("duplicate")? + verdicts("joined")?, (COPIES - 1) as f64);
    wait::until_true(LIMIT, "all inputs counted", || {
        gateway.metric("inlet_inputs_total", &["outcome=\"duplicate\""]).is_ok_and(|n| n == (COPIES - 1) as f64)
    })
}
