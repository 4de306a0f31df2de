//! The line from raw input to records, on one screen. Intake (drivers) stands before it, delivery (lanes) behind it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use connector_sdk::key::sha256_hex;
use connector_sdk::raw::BACKFILL_HEADER;
use connector_sdk::schemas::Event;
use connector_sdk::stamp::{StampContext, stamp};
use connector_sdk::{Blob, Draft, Parsed, RawEvent, Rejected};
use futures::FutureExt;

use super::enrich::{BlobFault, Enricher};
use super::instance::Instance;
use super::record::Record;
use super::{deadletter, encode, raw as kept};
use crate::delivery::replay::DeadLetterMaker;

/// On a raw input: it is read again after the source lost its position, so it may be a repeat (with the same id). Set by
/// drivers, and by sessions that find it out themselves.
pub const RESYNC_HEADER: &str = "inlet-resync";

/// Code of dead letters of which Kafka refused a record for good.
pub const REFUSED_BY_KAFKA: &str = "refused_by_kafka";

/// What one input became, ready for a lane.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    pub records: Vec<Record>,
    pub event_ids: Vec<String>,
    /// Skipped items, by the provider's names of their types.
    pub skipped: Vec<String>,
    /// Rejected items, by code.
    pub dead_lettered: Vec<&'static str>,
    /// What the blob store did not take; empty unless it was asked to keep that.
    pub blobs: Vec<Blob>,
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
        self.complete(instance, raw, parse(instance, raw)).await
    }

    /// What follows [`parse`].
    pub async fn complete(&self, instance: &Instance, raw: &RawEvent, parsed: Parsed) -> Result<Prepared, BlobFault> {
        self.complete_again(instance, raw, &sha256_hex(&raw.body), parsed).await
    }

    /// [`prepare`](Self::prepare) for an input that was redacted since it came; `raw_sha256` is that of its body before.
    pub async fn prepare_again(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        raw_sha256: &str,
    ) -> Result<Prepared, BlobFault> {
        self.complete_again(instance, raw, raw_sha256, parse(instance, raw)).await
    }

    async fn complete_again(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        raw_sha256: &str,
        parsed: Parsed,
    ) -> Result<Prepared, BlobFault> {
        // Nothing on the line is meant to panic; what does all the same must cost one input, not its driver.
        let running = std::pin::pin!(self.run(instance, raw, raw_sha256, parsed));
        match AssertUnwindSafe(running).catch_unwind().await {
            Ok(done) => done,
            Err(_) => {
                let rejected = Rejected::whole("line_panic", "the line panicked; this is a bug");
                let mut out = Prepared::default();
                Box::pin(self.reject(instance, raw, &rejected, &mut out)).await?;
                Ok(out)
            }
        }
    }

    /// [`complete`](Self::complete); where the blob store does not take a blob now it comes back with the records.
    pub async fn complete_keeping(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        parsed: Parsed,
    ) -> Result<Prepared, BlobFault> {
        let (blobs, kept) = self.enricher.blobs.keeping();
        let enricher = Enricher { blobs, detect_language: self.enricher.detect_language };
        let line = Self { enricher, inline_max_bytes: self.inline_max_bytes };
        let mut prepared = line.complete(instance, raw, parsed).await?;
        prepared.blobs = kept.take();
        Ok(prepared)
    }

    async fn run(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        raw_sha256: &str,
        parsed: Parsed,
    ) -> Result<Prepared, BlobFault> {
        // What is rejected as a whole is kept as a dead letter.
        let keeps = instance.keeps_raw()
            && !(parsed.events.is_empty() && parsed.skipped.is_empty() && parsed.fetches.is_empty());
        let raw_id = keeps.then(|| kept::id(&instance.name, raw, raw_sha256));
        let mut out = Prepared::default();
        out.skipped.extend(parsed.skipped.into_iter().map(|skipped| skipped.item));
        for order in &parsed.fetches {
            out.records.push(encode::fetch_order(instance, order, raw.received_at));
        }
        // What happens to few inputs stands in boxes: the room for all of it would move with every input.
        for mut draft in parsed.events {
            if !draft.blobs.is_empty() {
                Box::pin(self.enricher.store(std::mem::take(&mut draft.blobs))).await?;
            }
            let mut event = self.finish(instance, raw, raw_sha256, draft);
            event.provenance.raw_ref.clone_from(&raw_id);
            out.event_ids.push(event.id.clone());
            out.records.push(encode::event(event, self).await?);
        }
        for rejected in &parsed.rejected {
            Box::pin(self.reject(instance, raw, rejected, &mut out)).await?;
        }
        if let Some(id) = raw_id {
            let ids = out.event_ids.clone();
            out.records.push(Box::pin(kept::record(instance, raw, id, raw_sha256, ids, self)).await?);
        }
        Ok(out)
    }

    fn finish(&self, instance: &Instance, raw: &RawEvent, raw_sha256: &str, mut draft: Draft) -> Box<Event> {
        self.enricher.enrich(instance, &mut draft.event);
        let mut event = stamped(instance, raw, raw_sha256, draft);
        event.provenance.resync |= raw.headers.get(RESYNC_HEADER) == Some("true");
        event.provenance.backfill |= raw.headers.get(BACKFILL_HEADER) == Some("true");
        event.trace = crate::telemetry::traceparent();
        event
    }

    async fn reject(
        &self,
        instance: &Instance,
        raw: &RawEvent,
        rejected: &Rejected,
        out: &mut Prepared,
    ) -> Result<(), BlobFault> {
        out.records.push(deadletter::record(instance, raw, rejected, self).await?);
        out.dead_lettered.push(rejected.code);
        Ok(())
    }

    /// The dead letter of a whole input of which Kafka refuses a record. Where the store does not take the input's bytes
    /// the letter goes without them, and says where they still are.
    pub async fn refused_letter(&self, instance: &Instance, raw: &RawEvent, reason: &str) -> Record {
        let rejected = Rejected::whole(REFUSED_BY_KAFKA, reason);
        match deadletter::record(instance, raw, &rejected, self).await {
            Ok(record) => record,
            Err(fault) => bare_letter(instance, raw, &format!("{reason}; raw bytes left at the source ({fault})")),
        }
    }
}

/// The events of a kept input and what is rejected of it, with nothing stored or published. `raw_sha256` is that of its
/// body before redaction.
pub fn events_of(instance: &Instance, raw: &RawEvent, raw_sha256: &str) -> (Vec<Box<Event>>, Vec<Rejected>) {
    let parsed = parse(instance, raw);
    let events = parsed.events.into_iter().map(|draft| stamped(instance, raw, raw_sha256, draft));
    (events.collect(), parsed.rejected)
}

/// What an input leads to, without making it.
pub struct Expected {
    /// Stamped, not enriched.
    pub events: Vec<Box<Event>>,
    /// SHA-256 of what is rejected of it, lower-case hex, as dead letters name it.
    pub rejected: Vec<String>,
}

/// Pure: what [`Line::prepare`] would make of an input, for whoever looks for it.
pub fn expected(instance: &Instance, raw: &RawEvent) -> Expected {
    let parsed = parse(instance, raw);
    let raw_sha256 = sha256_hex(&raw.body);
    let events = parsed.events.into_iter().map(|draft| stamped(instance, raw, &raw_sha256, draft)).collect();
    let whole = |rejected: &Rejected| rejected.raw.as_ref().map_or_else(|| raw_sha256.clone(), |part| sha256_hex(part));
    Expected { events, rejected: parsed.rejected.iter().map(whole).collect() }
}

fn stamped(instance: &Instance, raw: &RawEvent, raw_sha256: &str, draft: Draft) -> Box<Event> {
    let tenant = instance.tenant(&draft.event.account).to_owned();
    let cx = StampContext { tenant: &tenant, connector: &instance.name, received_at: raw.received_at, raw_sha256 };
    stamp(draft, &cx)
}

/// The first step alone, for drivers that look at what it gave before they go on.
pub fn parse(instance: &Instance, raw: &RawEvent) -> Parsed {
    // `parse` is total by law and by test; if it panics or is silent all the same, the input still must not be lost.
    let guarded = AssertUnwindSafe(|| instance.parse.parse(raw));
    match std::panic::catch_unwind(guarded) {
        Ok(parsed) if parsed.is_empty() => Parsed::reject("parser_silent", "the parser gave no outcome at all"),
        Ok(parsed) => parsed,
        Err(_) => Parsed::reject("parser_panic", "the parser panicked; this is a bug of the connector"),
    }
}

/// The smallest letter that there is, for when not even the dead letter with the input's bytes is taken.
pub fn bare_letter(instance: &Instance, raw: &RawEvent, reason: &str) -> Record {
    deadletter::bare(instance, raw, &Rejected::whole(REFUSED_BY_KAFKA, reason))
}

/// Makes the dead letters of inputs that are committed together, when the lane turns out to need them. Blocks its caller
/// for as long as the blob store takes; may be called from any thread, inside a runtime or not.
pub fn dead_letters_later(line: &SharedLine, instance: &Arc<Instance>, raws: Vec<RawEvent>) -> DeadLetterMaker {
    let (line, instance, runtime) = (line.clone(), instance.clone(), tokio::runtime::Handle::current());
    Arc::new(move |reason| {
        let letter = |raw| line.refused_letter(&instance, raw, reason);
        let made = std::thread::scope(|scope| {
            // A thread of its own: inside a runtime nothing may be waited for.
            scope.spawn(|| raws.iter().map(|raw| runtime.block_on(letter(raw))).collect()).join()
        });
        made.unwrap_or_else(|_| raws.iter().map(|raw| bare_letter(&instance, raw, reason)).collect())
    })
}

/// The line, shared.
pub type SharedLine = Arc<Line>;
