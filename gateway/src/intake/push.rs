//! From raw input to a settled outcome over the push lane: for webhooks, ephemeral sessions and fetch results.
//!
//! `publisher` is where a spool will stand: a [`Publisher`] around Kafka's, whose `Ok` means confirmed by Kafka or
//! fsynced in the spool. Nothing here or in the drivers has to know which of the two it was.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Outcome, RawEvent};

use super::settle::{refused, settle};
use crate::delivery::{PublishError, Publisher};
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
            Ok(prepared) => settle(instance, in_flight, prepared),
            Err(NotSafe { why, reason }) => {
                tracing::warn!(instance = %instance.name, %reason, "input is not safe, given back");
                in_flight.settle(Fate::Returned(why));
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
        }
    }

    async fn deliver(&self, instance: &Instance, raw: &RawEvent) -> Result<Prepared, NotSafe> {
        let blobs =
            |fault: crate::pipeline::enrich::BlobFault| NotSafe { why: Returned::Blobs, reason: fault.to_string() };
        let mut prepared = self.line.prepare(instance, raw).await.map_err(blobs)?;
        let records = std::mem::take(&mut prepared.records);
        if records.is_empty() {
            return Ok(prepared);
        }
        match self.publisher.publish(records).await {
            Ok(()) => Ok(prepared),
            Err(PublishError::Refused { reason, .. }) => self.refused(instance, raw, &reason).await,
            Err(error) => Err(NotSafe::kafka(error)),
        }
    }

    /// Kafka will never take one of the records: the whole input becomes a dead letter. Records of it that were taken
    /// before stay; a replay of the letter gives the same ids.
    async fn refused(&self, instance: &Instance, raw: &RawEvent, reason: &str) -> Result<Prepared, NotSafe> {
        let letter = self.line.refused_letter(instance, raw, reason).await;
        match self.publisher.publish(vec![letter]).await {
            Ok(()) => Ok(refused()),
            Err(PublishError::Refused { reason: again, .. }) => {
                let reason = format!("{reason}; the letter with its bytes was refused too ({again})");
                let bare = bare_letter(instance, raw, &reason);
                self.publisher.publish(vec![bare]).await.map_err(NotSafe::kafka)?;
                Ok(refused())
            }
            Err(error) => Err(NotSafe::kafka(error)),
        }
    }
}
