//! The push lane with a spool behind it: confirmed by Kafka or fsynced, whichever comes first.
//!
//! An input goes to Kafka when nothing is in the spool. What Kafka has not confirmed in time goes into the spool and is
//! answered; its records stay on their way, and when they arrive after all the entry is not sent again. While the spool
//! holds anything, input goes behind it, never past it: once all of it is on its way, input waits for that moment and goes
//! straight again. While Kafka is known to be away nobody waits for it. While the seen index does not know what other
//! replicas have published, everything goes into the spool: the drain asks the index again (D4).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::error::SpoolError;
use super::gate::Before;
use super::lane::{Lane, Sent};
use super::packed::Packed;
use super::patience::Patience;
use super::writer::Spool;
use crate::clock::now;
use crate::delivery::{Parcel, PublishError, Publisher, Safe};
use crate::pipeline::record::Record;
use crate::seen::Seen;

/// Of the time until an input must be answered, the part that Kafka has; the rest is for the disk.
const KAFKA_SHARE: (u32, u32) = (3, 5);

/// Kafka's lane and a spool, as one publisher.
pub struct SpoolPublisher {
    lane: Arc<dyn Lane>,
    spool: Spool,
    seen: Arc<Seen>,
    /// How long inputs wait for Kafka.
    patience: Duration,
    waiting: Patience,
}

/// What came of a send to Kafka.
enum Live {
    Confirmed,
    /// Kafka never takes this record.
    Refused(PublishError),
    /// Not confirmed yet; it may still be.
    Open(Vec<Sent>),
}

impl SpoolPublisher {
    /// `deadline`: when inputs must be answered. On the current runtime.
    pub fn new(lane: Arc<dyn Lane>, spool: Spool, seen: Arc<Seen>, deadline: Duration) -> Self {
        let patience = deadline * KAFKA_SHARE.0 / KAFKA_SHARE.1;
        let waiting = Patience::new(lane.clone());
        Self { lane, spool, seen, patience, waiting }
    }

    /// From now on nobody waits for Kafka: what it does not confirm at once goes into the spool.
    pub fn close(&self) {
        self.waiting.end();
        // Whoever waits for Kafka waits for this too.
        self.lane.went_away().notify_waiters();
    }

    /// Whether an input may go to Kafka now. Waits where that is about to become true.
    async fn may_pass(&self, began: Instant, until: Instant) -> bool {
        if self.seen.doubts_at(began.into_std()) {
            return false;
        }
        // Nearly always: no waiting, and no lock for being woken.
        if self.spool.gate().before() == Before::Nothing && self.is_worth_trying() {
            return true;
        }
        loop {
            let changed = self.spool.gate().changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let away = self.lane.went_away().notified();
            if !self.is_worth_trying() {
                return false;
            }
            match self.spool.gate().before() {
                Before::Nothing => return true,
                Before::Waiting => return false,
                Before::UnderWay => tokio::select! {
                    () = changed => {}
                    () = away => return false,
                    () = tokio::time::sleep_until(until) => {
                        self.lane.stalled();
                        return false;
                    }
                },
            }
        }
    }

    fn is_worth_trying(&self) -> bool {
        self.lane.is_usable() && !self.waiting.is_over()
    }

    async fn live(&self, inputs: &[&[Record]], until: Instant) -> Live {
        if !self.is_worth_trying() {
            return Live::Open(Vec::new());
        }
        let sent = match self.lane.send(inputs) {
            Ok(sent) => sent,
            Err(refused @ PublishError::Refused { .. }) => return Live::Refused(refused),
            Err(PublishError::Unavailable(_)) => return Live::Open(Vec::new()),
        };
        self.waiting.watch(until, &sent);
        // Whoever watches may have been told that it is away before these were there.
        if !self.is_worth_trying() {
            return Live::Open(sent);
        }
        let mut settled = Ok(());
        for one in &sent {
            match one.settled_in_time().await {
                None => return Live::Open(sent),
                Some(verdict) => settled = settled.and(verdict),
            }
        }
        match settled {
            Ok(()) => Live::Confirmed,
            Err(PublishError::Unavailable(_)) => Live::Open(sent),
            Err(PublishError::Refused { .. }) => self.find_refused(inputs, until).await,
        }
    }

    /// A request was refused, with all that was in it: alone each record shows whether it is to blame.
    async fn find_refused(&self, inputs: &[&[Record]], until: Instant) -> Live {
        let records = inputs.concat();
        match tokio::time::timeout_at(until, self.lane.send_alone(&records)).await {
            Ok(Ok(())) => Live::Confirmed,
            Ok(Err(refused @ PublishError::Refused { .. })) => Live::Refused(refused),
            Ok(Err(PublishError::Unavailable(_))) | Err(_) => Live::Open(Vec::new()),
        }
    }

    async fn append(
        &self,
        entries: Vec<Packed>,
        firsts: Vec<Sent>,
        answer_by: Option<Instant>,
    ) -> Result<Safe, PublishError> {
        let appending = self.spool.append(entries, firsts);
        let appended = match answer_by {
            None => appending.await,
            Some(answer_by) => tokio::time::timeout_at(answer_by, appending).await.map_err(|_| {
                PublishError::Unavailable("nor is it in the spool in time; is the disk of data_dir slow?".to_owned())
            })?,
        };
        match appended {
            Ok(receipt) => Ok(Safe::Spooled(receipt)),
            Err(error @ (SpoolError::Full { .. } | SpoolError::Closed)) => {
                Err(PublishError::Unavailable(error.to_string()))
            }
            Err(error) => Err(PublishError::Unavailable(format!("nor can it be spooled: {error}"))),
        }
    }
}

#[async_trait]
impl Publisher for SpoolPublisher {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        let began = Instant::now();
        let until = began + self.patience;
        let mut firsts = Vec::new();
        if self.may_pass(began, until).await {
            match self.live(&[&records], until).await {
                Live::Confirmed => return Ok(()),
                Live::Refused(refused) => return Err(refused),
                Live::Open(sent) => firsts = sent,
            }
        }
        self.append(vec![Packed::records(&records, now())], firsts, None).await.map(Safe::claim)
    }

    async fn deliver(&self, parcels: Vec<Parcel<'_>>) -> Result<Safe, PublishError> {
        let began = Instant::now();
        let until = began + self.patience;
        let mut firsts = Vec::new();
        // A record must not be there before the blobs to which it refers.
        let complete = parcels.iter().all(|parcel| parcel.blobs.is_empty());
        if complete && self.may_pass(began, until).await {
            let inputs: Vec<&[Record]> = parcels.iter().map(|parcel| parcel.records.as_slice()).collect();
            match self.live(&inputs, until).await {
                Live::Confirmed => return Ok(Safe::OnKafka),
                Live::Refused(refused) => return Err(refused),
                Live::Open(sent) => firsts = sent,
            }
        }
        let answer_by = parcels.iter().filter_map(|parcel| parcel.answer_by).min();
        self.append(parcels.into_iter().map(Packed::input).collect(), firsts, answer_by).await
    }

    fn takes_blobs(&self) -> bool {
        true
    }

    fn keeps_time(&self) -> bool {
        true
    }
}
