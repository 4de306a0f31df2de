//! From raw input to a settled outcome over the push lane: for webhooks, ephemeral sessions and fetch results.
//!
//! `publisher` is Kafka's, or a spool around it: then `Ok` means confirmed by Kafka or fsynced in the spool. Nothing here or
//! in the drivers depends on which of the two it was; only the counters do.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Outcome, RawEvent};

use super::settle::{fate, refused, settle};
use crate::delivery::{Parcel, PublishError, Publisher, Safe};
use crate::pipeline::blobs::BlobFault;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, SharedLine, bare_letter};
use crate::telemetry::counters::{Fate, Returned};

/// What a sender is told to wait when its input is not safe.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The push side of the line.
#[derive(Clone)]
pub struct PushLine {
    pub line: SharedLine,
    pub publisher: Arc<dyn Publisher>,
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

impl PushLine {
    /// Runs one input through the line and waits until it is safe, at most `deadline`. What is not confirmed by then is
    /// given back, though it may be on Kafka: its next delivery has the same ids.
    pub async fn run(&self, instance: &Instance, raw: &RawEvent, deadline: Duration) -> Outcome {
        let in_flight = instance.counters.accept();
        let late = NotSafe { why: Returned::Deadline, reason: format!("not confirmed within {deadline:?}") };
        match tokio::time::timeout(deadline, self.deliver(instance, raw)).await.unwrap_or(Err(late)) {
            Ok((prepared, safe)) => {
                let outcome = settle(instance, in_flight, prepared, &safe);
                safe.claim();
                outcome
            }
            Err(NotSafe { why, reason }) => {
                tracing::warn!(instance = %instance.name, %reason, "input is not safe, given back");
                in_flight.settle(Fate::Returned(why));
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
        }
    }

    async fn deliver(&self, instance: &Instance, raw: &RawEvent) -> Result<(Prepared, Safe), NotSafe> {
        let blobs = |fault: BlobFault| NotSafe { why: Returned::Blobs, reason: fault.to_string() };
        let mut prepared = self.prepare(instance, raw).await.map_err(blobs)?;
        if prepared.records.is_empty() {
            return Ok((prepared, Safe::OnKafka));
        }
        let parcel = parcel(instance, &mut prepared);
        match self.publisher.deliver(vec![parcel]).await {
            Ok(safe) => Ok((prepared, safe)),
            Err(PublishError::Refused { reason, .. }) => self.refused(instance, raw, &reason).await,
            Err(error) => Err(NotSafe::kafka(error)),
        }
    }

    /// The line. What the blob store does not take travels along where the publisher takes it.
    pub async fn prepare(&self, instance: &Instance, raw: &RawEvent) -> Result<Prepared, BlobFault> {
        if self.publisher.takes_blobs() {
            self.line.prepare_keeping(instance, raw).await
        } else {
            self.line.prepare(instance, raw).await
        }
    }

    /// Kafka will never take one of the records: the whole input becomes a dead letter. Records of it that were taken
    /// before stay; a replay of the letter gives the same ids.
    async fn refused(&self, instance: &Instance, raw: &RawEvent, reason: &str) -> Result<(Prepared, Safe), NotSafe> {
        let letter = |record| {
            let mut prepared = Prepared { records: vec![record], ..refused() };
            let parcel = parcel(instance, &mut prepared);
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

/// Hands an input's records over to a publisher.
pub(super) fn parcel(instance: &Instance, prepared: &mut Prepared) -> Parcel {
    Parcel {
        fate: fate(prepared),
        records: std::mem::take(&mut prepared.records),
        blobs: std::mem::take(&mut prepared.blobs),
        accepted_at: crate::clock::now(),
        counters: (*instance.counters).clone(),
    }
}
