//! From raw input to a settled outcome over the push lane: for webhooks, ephemeral sessions and fetch results.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{Outcome, RawEvent};

use crate::delivery::{PublishError, Publisher};
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, SharedLine};
use crate::telemetry::counters::{Fate, InFlight};

/// What a sender is told to wait when its input is not safe.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The push side of the line.
#[derive(Clone)]
pub struct PushLine {
    pub line: SharedLine,
    pub publisher: Arc<dyn Publisher>,
}

impl PushLine {
    /// Runs one input through the line and waits until it is safe, at most `deadline`.
    pub async fn run(&self, instance: &Instance, raw: &RawEvent, deadline: Duration) -> Outcome {
        let in_flight = instance.counters.accept();
        match tokio::time::timeout(deadline, self.deliver(instance, raw)).await {
            Ok(Ok(prepared)) => settle(in_flight, prepared),
            Ok(Err(reason)) => {
                tracing::warn!(instance = %instance.name, %reason, "input is not safe, given back");
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
            Err(_) => {
                let seconds = deadline.as_secs_f64();
                tracing::warn!(instance = %instance.name, seconds, "input is not safe within the deadline, given back");
                Outcome::NotSafeNow { retry_after: RETRY_AFTER }
            }
        }
    }

    async fn deliver(&self, instance: &Instance, raw: &RawEvent) -> Result<Prepared, String> {
        let mut prepared = self.line.prepare(instance, raw).await.map_err(|fault| fault.to_string())?;
        let records = std::mem::take(&mut prepared.records);
        if records.is_empty() {
            return Ok(prepared);
        }
        match self.publisher.publish(records).await {
            Ok(()) => Ok(prepared),
            Err(PublishError::Unavailable(reason)) => Err(reason),
            Err(PublishError::Refused { reason, .. }) => self.refused(instance, raw, &reason).await,
        }
    }

    /// Kafka will never take one of the records: the whole input becomes a dead letter. Records of it that were taken
    /// before stay; a replay of the letter gives the same ids.
    async fn refused(&self, instance: &Instance, raw: &RawEvent, reason: &str) -> Result<Prepared, String> {
        let letter = self
            .line
            .dead_letter(instance, raw, "refused_by_kafka", reason)
            .await
            .map_err(|fault| fault.to_string())?;
        self.publisher.publish(vec![letter]).await.map_err(|error| error.to_string())?;
        Ok(Prepared { dead_lettered: 1, ..Prepared::default() })
    }
}

/// Counts a safe input and says so.
pub fn settle(in_flight: InFlight<'_>, prepared: Prepared) -> Outcome {
    let fate = fate(&prepared);
    in_flight.settle(fate);
    match fate {
        Fate::DeadLettered => Outcome::DeadLettered,
        _ => Outcome::Safe { event_ids: prepared.event_ids },
    }
}

/// What became of an input as a whole.
pub fn fate(prepared: &Prepared) -> Fate {
    match (prepared.event_ids.len(), prepared.dead_lettered, prepared.skipped) {
        (0, 0, skipped) if skipped > 0 => Fate::Skipped,
        (0, dead, _) if dead > 0 => Fate::DeadLettered,
        (events, _, _) => Fate::Published { events },
    }
}
