//! The line from raw input to records, on one screen. Intake (drivers) stands before it, delivery (lanes) behind it.

use std::sync::Arc;

use connector_sdk::key::sha256_hex;
use connector_sdk::stamp::{StampContext, stamp};
use connector_sdk::{Bytes, Draft, Parsed, RawEvent};

use super::enrich::{BlobFault, Enricher};
use super::instance::Instance;
use super::record::Record;
use super::{deadletter, encode};
use crate::delivery::replay::DeadLetterMaker;

/// What one input became, ready for a lane.
#[derive(Debug, Default)]
pub struct Prepared {
    pub records: Vec<Record>,
    pub event_ids: Vec<String>,
    pub skipped: usize,
    pub dead_lettered: usize,
}

/// Shared by all drivers.
pub struct Line {
    pub enricher: Enricher,
    /// Records above this size travel as claim checks.
    pub inline_max_bytes: usize,
}

impl Line {
    /// parse → enrich → stamp → records. Fails only when the blob store does not take a blob now.
    pub async fn prepare(&self, instance: &Instance, raw: &RawEvent) -> Result<Prepared, BlobFault> {
        let parsed = self.parse(instance, raw);
        let raw_sha256 = sha256_hex(&raw.body);
        let mut out = Prepared { skipped: parsed.skipped.len(), ..Prepared::default() };
        for skipped in &parsed.skipped {
            instance.counters.skipped(&skipped.item);
        }
        for order in &parsed.fetches {
            out.records.push(encode::fetch_order(instance, order, raw.received_at));
        }
        for draft in parsed.events {
            let event = self.finish(instance, raw, &raw_sha256, draft).await?;
            out.event_ids.push(event.id.clone());
            out.records.push(encode::event(event, self).await?);
        }
        for rejected in &parsed.rejected {
            out.dead_lettered += 1;
            out.records.push(deadletter::record(instance, raw, rejected, self).await?);
        }
        Ok(out)
    }

    fn parse(&self, instance: &Instance, raw: &RawEvent) -> Parsed {
        // `parse` is total by law and by test; if it panics or is silent all the same, the input still must not be lost.
        let guarded = std::panic::AssertUnwindSafe(|| instance.parse.parse(raw));
        match std::panic::catch_unwind(guarded) {
            Ok(parsed) if parsed.is_empty() => Parsed::reject("parser_silent", "the parser gave no outcome at all"),
            Ok(parsed) => parsed,
            Err(_) => Parsed::reject("parser_panic", "the parser panicked; this is a bug of the connector"),
        }
    }

    async fn finish(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        raw_sha256: &str,
        mut draft: Draft,
    ) -> Result<connector_sdk::schemas::Event, BlobFault> {
        self.enricher.enrich(instance, &mut draft).await?;
        let tenant = instance.tenant(&draft.event.account).to_owned();
        let cx = StampContext { tenant: &tenant, connector: &instance.name, received_at: raw.received_at, raw_sha256 };
        let mut event = stamp(draft, &cx);
        event.trace = crate::telemetry::traceparent();
        Ok(event)
    }

    /// The dead letter of a whole input that a lane could not deliver.
    pub async fn dead_letter(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        code: &'static str,
        detail: &str,
    ) -> Result<Record, BlobFault> {
        deadletter::record(instance, raw, &connector_sdk::Rejected::whole(code, detail), self).await
    }
}

/// Makes a dead letter when a lane turns out to need one; called on the lane's own thread, where waiting is allowed.
pub fn dead_letter_later(
    line: &SharedLine,
    instance: &Arc<Instance>,
    raw: RawEvent,
    code: &'static str,
) -> DeadLetterMaker {
    let (line, instance, runtime) = (line.clone(), instance.clone(), tokio::runtime::Handle::current());
    Arc::new(move |reason| {
        let letter = runtime.block_on(line.dead_letter(&instance, &raw, code, reason));
        let letter = letter.or_else(|fault| {
            // The store does not take the input's bytes: the letter goes without them, and says where they still are.
            let bare = RawEvent { body: Bytes::new(), ..raw.clone() };
            let detail = format!("{reason}; raw bytes left at the source ({fault})");
            runtime.block_on(line.dead_letter(&instance, &bare, code, &detail))
        });
        letter.into_iter().collect()
    })
}

/// The line, shared.
pub type SharedLine = Arc<Line>;
