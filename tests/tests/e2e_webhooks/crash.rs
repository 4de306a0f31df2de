//! D1 and D2 of the push lane: whatever was answered 2xx is on Kafka, also when the gateway is killed.

use crate::{LIMIT, config, slack};
use anyhow::Result;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::servers::kafka::Kafka;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SENDERS: usize = 8;
const MESSAGES: usize = 400;

/// Eight senders, a SIGKILL in the middle of their work, a restart: every 2xx is an obligation.
#[test]
fn d1_d2_what_was_answered_is_on_kafka() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "crash");
    let mut gateway = Gateway::run(&config.text())?;
    let obligations = send_all(&mut gateway, MESSAGES / 4)?;
    assert!(!obligations.is_empty(), "nothing was accepted before the kill");
    gateway.kill();
    gateway.start()?;
    let more = send_all(&mut gateway, MESSAGES)?;
    assert_eq!(more.len(), MESSAGES, "a gateway that is up accepts everything");
    let all: BTreeSet<_> = obligations.into_iter().chain(more).collect();
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    committed.read_until(LIMIT, "every obligation", |records| {
        let seen: BTreeSet<_> = records.iter().filter_map(|record| record.text("/text")).collect();
        all.is_subset(&seen)
    })?;
    Ok(())
}

/// Sends until `MESSAGES` were tried; kills the gateway once `kill_after` were accepted, when that is fewer.
fn send_all(gateway: &mut Gateway, kill_after: usize) -> Result<Vec<String>> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let end = NEXT.load(Ordering::Relaxed) + MESSAGES;
    let accepted = Mutex::new(Vec::new());
    let urls = &*gateway;
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                loop {
                    let number = NEXT.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    let text = format!("obligation {number}");
                    // After the kill connections are refused: no answer, no obligation.
                    let answer = slack(urls, &format!("C{}", number % 16), number, &text).send();
                    if answer.is_ok_and(|answer| answer.status == 200) {
                        let mut accepted = accepted.lock().expect("no panic while held");
                        accepted.push(text);
                        if accepted.len() == kill_after && kill_after < MESSAGES {
                            urls.kill_now();
                        }
                    }
                }
            });
        }
    });
    NEXT.store(end, Ordering::Relaxed);
    Ok(accepted.into_inner().expect("no panic while held"))
}
