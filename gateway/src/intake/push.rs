//! From raw input to a settled outcome over the push lane: for webhooks, ephemeral sessions and fetch results.
//!
//! `publisher` is Kafka's, or a spool around it: then `Ok` means confirmed by Kafka or fsynced in the spool. Nothing here or
//! in the drivers depends on which of the two it was; only the counters do.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Outcome, Parsed, RawEvent, Timestamp};
use tokio::time::Instant;

use super::settle::{Delivered, fate, refused, settle_delivered};
use super::shares::{Pool, Taken};
use crate::clock::Moment;
use crate::delivery::{Parcel, PublishError, Publisher, Safe};
use crate::pipeline::blobs::BlobFault;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, SharedLine, bare_letter, parse};
use crate::pipeline::record::{Record, TopicRole};
use crate::seen::{Claim, Joined, Seen, SeenId};
use crate::telemetry::counters::{Fate, Returned};

/// What a sender is told to wait when its input is not safe.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The push side of the line.
#[derive(Clone)]
pub struct PushLine {
    pub line: SharedLine,
    pub publisher: Arc<dyn Publisher>,
    /// What is published already.
    pub seen: Arc<Seen>,
}

/// Why an input is not safe now.
struct NotSafe {
    why: Returned,
    reason: String,
}

impl NotSafe {
    fn kafka(error: PublishError) -> Self {
        Self { why: Returned::Kafka, reason: error.to_string() }
    }
}

/// When an input was accepted, and when it has to be answered.
#[derive(Clone, Copy)]
struct Limit {
    began: Moment,
    deadline: Duration,
}

impl Limit {
    fn answer_by(&self) -> Instant {
        (self.began.instant + self.deadline).into()
    }

    /// Sets a timer only where something is really waited for.
    async fn of<T>(&self, doing: impl Future<Output = T> + Unpin) -> Result<T, NotSafe> {
        let late = |_| NotSafe { why: Returned::Deadline, reason: format!("not confirmed within {:?}", self.deadline) };
        tokio::time::timeout_at(self.answer_by(), doing).await.map_err(late)
    }

    fn parcel<'a>(&self, instance: &'a Instance, prepared: &mut Prepared) -> Parcel<'a> {
        parcel(instance, prepared, self.began.at, Some(self.answer_by()))
    }
}

impl PushLine {
    /// Runs one input through the line and waits until it is safe, at most `deadline`. What is not confirmed by then is
    /// given back, though it may be on Kafka: its next delivery has the same ids.
    pub async fn run(&self, instance: &Instance, raw: &RawEvent, deadline: Duration) -> Outcome {
        self.run_shared(instance, raw, deadline, None).await
    }

    /// As [`run`](Self::run), with a limit to what one account may have on its way: an input beyond its share is given
    /// back before it costs a blob or a record.
    pub async fn run_shared(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        deadline: Duration,
        accounts: Option<&Pool>,
    ) -> Outcome {
        let limit = Limit { began: Moment::now(), deadline };
        let in_flight = instance.counters.accept_at(limit.began.instant);
        // In its place before it is handed on: it is large, and would be copied.
        let delivering = std::pin::pin!(self.deliver(instance, raw, limit, accounts));
        match delivering.await {
            Ok(delivered) => settle_delivered(instance, in_flight, delivered),
            Err(NotSafe { why, reason }) => {
                if let Some(more) = instance.counters.given_back().due() {
                    tracing::warn!(instance = %instance.name, %reason, more, "input is not safe, given back");
                }
                in_flight.settle(Fate::Returned(why));
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
        }
    }

    /// parse → … → records; those that nobody has published or is publishing → safe; then the wait for the others'.
    async fn deliver(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        limit: Limit,
        accounts: Option<&Pool>,
    ) -> Result<Delivered, NotSafe> {
        let blobs = |fault: BlobFault| NotSafe { why: Returned::Blobs, reason: fault.to_string() };
        let parsed = parse(instance, raw);
        let _share = share(accounts, &parsed)?;
        let mut prepared = {
            let completing = std::pin::pin!(self.complete(instance, raw, parsed));
            limit.of(completing).await?.map_err(blobs)?
        };
        let mut records = std::mem::take(&mut prepared.records);
        let mut left: Vec<SeenId> = records.iter().filter_map(SeenId::of).collect();
        if left.is_empty() {
            // Nothing to recognise it by: orders, which may be meant anew, or nothing at all.
            return match records.is_empty() {
                true => Ok(Delivered::new(prepared, Safe::OnKafka, 0)),
                false => self.send(instance, raw, limit, &mut prepared, records).await.map(|sent| sent.of(prepared, 0)),
            };
        }
        limit.of(std::pin::pin!(self.seen.ready())).await?;
        let (mut first, mut events) = (None, 0);
        while !left.is_empty() {
            let claim = self.seen.claim_at(&left, limit.began);
            let mut spooled = false;
            if !claim.own().is_empty() {
                let own = take_own(&mut records, &claim);
                let own_events = own.iter().filter(|record| record.topic == TopicRole::Events).count();
                let sent = self.send(instance, raw, limit, &mut prepared, own).await?;
                spooled = matches!(sent.safe(), Safe::Spooled(_));
                match sent {
                    // What is spooled beside it later is counted as an input of its own.
                    Sent::Taken(safe) => {
                        first.get_or_insert(safe);
                    }
                    letter => {
                        // It is safe as a dead letter; a redelivery would become the same.
                        drop(land(claim, spooled));
                        return Ok(letter.of(prepared, 0));
                    }
                }
                events += own_events;
            }
            left = limit.of(std::pin::pin!(land(claim, spooled).failed())).await?;
        }
        Ok(match first {
            Some(safe) => Delivered::new(prepared, safe, events),
            None => Delivered::duplicate(prepared),
        })
    }

    /// Sends some of an input's records (with all its blobs), or a dead letter where Kafka refuses one for good.
    async fn send(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        limit: Limit,
        prepared: &mut Prepared,
        records: Vec<Record>,
    ) -> Result<Sent, NotSafe> {
        let events = records.iter().filter(|record| record.topic == TopicRole::Events).count();
        prepared.records = records;
        let mut parcel = limit.parcel(instance, prepared);
        if let Fate::Published { events: counted } = &mut parcel.fate {
            *counted = events;
        }
        let delivering = self.publisher.deliver(vec![parcel]);
        let delivered = if self.publisher.keeps_time() { delivering.await } else { limit.of(delivering).await? };
        match delivered {
            Ok(safe) => Ok(Sent::Taken(safe)),
            Err(PublishError::Refused { reason, .. }) => {
                let letter = limit.of(Box::pin(self.refused(instance, raw, limit, &reason))).await?;
                letter.map(|(prepared, safe)| Sent::Letter(prepared, safe))
            }
            Err(error) => Err(NotSafe::kafka(error)),
        }
    }

    /// The line. What the blob store does not take travels along where the publisher takes it.
    pub async fn prepare(&self, instance: &Instance, raw: &RawEvent) -> Result<Prepared, BlobFault> {
        self.complete(instance, raw, parse(instance, raw)).await
    }

    async fn complete(&self, instance: &Instance, raw: &RawEvent, parsed: Parsed) -> Result<Prepared, BlobFault> {
        if self.publisher.takes_blobs() {
            self.line.complete_keeping(instance, raw, parsed).await
        } else {
            self.line.complete(instance, raw, parsed).await
        }
    }

    /// Kafka will never take one of the records: the whole input becomes a dead letter. Records of it that were taken
    /// before stay; a replay of the letter gives the same ids.
    async fn refused(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        limit: Limit,
        reason: &str,
    ) -> Result<(Prepared, Safe), NotSafe> {
        let letter = |record| {
            let mut prepared = Prepared { records: vec![record], ..refused() };
            let parcel = limit.parcel(instance, &mut prepared);
            async move { self.publisher.deliver(vec![parcel]).await.map(|safe| (prepared, safe)) }
        };
        match letter(self.line.refused_letter(instance, raw, reason).await).await {
            Err(PublishError::Refused { reason: again, .. }) => {
                let reason = format!("{reason}; the letter with its bytes was refused too ({again})");
                letter(bare_letter(instance, raw, &reason)).await.map_err(NotSafe::kafka)
            }
            told => told.map_err(NotSafe::kafka),
        }
    }
}

fn land(claim: Claim<'_>, spooled: bool) -> Joined {
    if spooled { claim.land_spooled() } else { claim.land() }
}

/// Hands an input's records over to a publisher.
pub(super) fn parcel<'a>(
    instance: &'a Instance,
    prepared: &mut Prepared,
    accepted_at: Timestamp,
    answer_by: Option<Instant>,
) -> Parcel<'a> {
    Parcel {
        fate: fate(prepared),
        records: std::mem::take(&mut prepared.records),
        blobs: std::mem::take(&mut prepared.blobs),
        accepted_at,
        answer_by,
        counters: &instance.counters,
    }
}

/// What became of records that were sent.
enum Sent {
    Taken(Safe),
    /// A dead letter stands for the whole input.
    Letter(Prepared, Safe),
}

impl Sent {
    fn safe(&self) -> &Safe {
        match self {
            Self::Taken(safe) | Self::Letter(_, safe) => safe,
        }
    }

    fn of(self, prepared: Prepared, events: usize) -> Delivered {
        match self {
            Self::Taken(safe) => Delivered::new(prepared, safe, events),
            Self::Letter(prepared, safe) => Delivered::new(prepared, safe, 0),
        }
    }
}

/// The records whose ids the caller has, and those without an id, which go with the first of them.
fn take_own(records: &mut Vec<Record>, claim: &Claim<'_>) -> Vec<Record> {
    if claim.has_all() {
        return std::mem::take(records);
    }
    let is_own = |record: &Record| SeenId::of(record).is_none_or(|id| claim.own().contains(&id));
    let (own, rest) = std::mem::take(records).into_iter().partition(is_own);
    *records = rest;
    own
}

/// A place for the input's account, where it says one.
fn share<'a>(accounts: Option<&'a Pool>, parsed: &Parsed) -> Result<Option<Taken<'a>>, NotSafe> {
    let (Some(accounts), Some(first)) = (accounts, parsed.events.first()) else { return Ok(None) };
    let account = &first.event.account;
    let full = || NotSafe { why: Returned::Share, reason: format!("account {account} has its share on the way") };
    accounts.take(account, 1).map(Some).ok_or_else(full)
}
