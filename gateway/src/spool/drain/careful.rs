//! After a failure: everything under way is waited for, then what failed is sent again one by one, in order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::{UnderWay, Worker};
use crate::delivery::PublishError;
use crate::pipeline::deadletter;
use crate::pipeline::line::REFUSED_BY_KAFKA;
use crate::pipeline::record::Record;
use crate::spool::Entry;
use crate::telemetry::counters::Fate;

impl Worker {
    /// Until everything that is under way now is on Kafka, as it is or as a dead letter; or until the drain is stopped.
    pub(super) async fn take_care(&mut self) {
        let stop = self.stop.clone();
        let mut left: VecDeque<UnderWay> = std::mem::take(&mut self.under_way);
        self.under_way_bytes = 0;
        tokio::select! {
            () = all_settled(&left) => {}
            () = stop.cancelled() => {}
        }
        while let Some(UnderWay { entry, sent, first }) = left.pop_front() {
            let done = match sent.verdict() {
                Some(Ok(())) => Some(entry.fate),
                Some(Err(_)) => tokio::select! {
                    fate = self.insist(&entry) => Some(fate),
                    () = stop.cancelled() => None,
                },
                // Stopped before it was settled.
                None => None,
            };
            let Some(fate) = done else { return };
            if first && sent.verdict() == Some(Ok(())) {
                self.parts.spool.figures().confirmed_late.fetch_add(1, Ordering::Relaxed);
            }
            self.landed(&entry);
            self.count(&entry, fate);
            self.parts.spool.remove_through(entry.id, u64::from(entry.bytes > 0), entry.bytes);
        }
    }

    /// Sends one entry until Kafka has it, or a dead letter in its place; says what it counts as.
    async fn insist(&mut self, entry: &Entry) -> Option<Fate> {
        self.backoff.reset();
        let mut refusals = 0;
        let mut records = entry.records.clone();
        loop {
            let failure = match self.parts.lane.send_alone(&records).await {
                Ok(()) if refusals == 0 => return entry.fate,
                Ok(()) => {
                    self.parts.spool.figures().dead_lettered.fetch_add(1, Ordering::Relaxed);
                    return entry.fate.map(|_| Fate::DeadLettered);
                }
                Err(failure) => failure,
            };
            if let PublishError::Refused { index, reason } = &failure {
                refusals += 1;
                tracing::warn!(
                    entry = entry.id,
                    instance = entry.instance,
                    reason,
                    "Kafka refuses spooled input for good"
                );
                if let Some(letter) = letter(entry, *index, reason, refusals) {
                    records = vec![letter];
                    continue;
                }
            }
            tracing::warn!(entry = entry.id, %failure, "spooled input is not taken; tried again");
            tokio::time::sleep(self.backoff.next(None)).await;
        }
    }
}

/// The dead letter in the place of an entry: with the refused record, and where that was refused too without. None: even
/// that one was; then something is wrong with the topic, and waiting for people loses nothing.
fn letter(entry: &Entry, index: usize, reason: &str, refusals: u32) -> Option<Record> {
    let refused = entry.records.get(index);
    let letter = |record| deadletter::refused(&entry.instance, entry.accepted_at, record, REFUSED_BY_KAFKA, reason);
    match refusals {
        1 => Some(letter(refused)),
        2 => Some(letter(None)),
        _ => None,
    }
}

async fn all_settled(entries: &VecDeque<UnderWay>) {
    for entry in entries {
        let _ = entry.sent.settled().await;
    }
}
