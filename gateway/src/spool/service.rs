//! A gateway's spool: opened, drained beside, and ended.

use std::sync::Arc;
use std::time::Duration;

use super::drain::{Drain, DrainParts};
use super::gate::Before;
use super::publisher::SpoolPublisher;
use super::{Lane, Spool, SpoolError, SpoolSettings};
use crate::pipeline::blobs::BlobStore;
use crate::seen::{Seen, SeenId};
use crate::telemetry::counters::Metrics;

/// At the end, how long entries that are on their way may take.
const LAST_CONFIRMATIONS: Duration = Duration::from_secs(2);

/// The spool of a running gateway.
pub struct SpoolService {
    pub spool: Spool,
    pub publisher: Arc<SpoolPublisher>,
    lane: Arc<dyn Lane>,
    seen: Arc<Seen>,
    drain: Option<Drain>,
}

impl SpoolService {
    /// Opens it, and tells the index what an earlier process has answered and has not seen on Kafka: a redelivery of it
    /// must not be published again (D4). Nothing is drained yet.
    pub fn open(
        settings: SpoolSettings,
        lane: Arc<dyn Lane>,
        seen: Arc<Seen>,
        deadline: Duration,
    ) -> Result<Self, SpoolError> {
        let spool = Spool::open(settings)?;
        let publisher = Arc::new(SpoolPublisher::new(lane.clone(), spool.clone(), seen.clone(), deadline));
        let service = Self { spool, publisher, lane, seen, drain: None };
        if let Err(error) = service.teach() {
            tracing::warn!(%error, "what the spool holds is not known to the index; its redeliveries may appear twice");
        }
        let spool = service.spool.clone();
        service.seen.follow_spool(move || spool.figures().oldest().map(|oldest| oldest.unix_millis()));
        Ok(service)
    }

    fn teach(&self) -> Result<(), SpoolError> {
        if self.spool.found().entries == 0 {
            return Ok(());
        }
        self.spool.reader()?.heads(|record| self.seen.spooled(SeenId::of(record)))
    }

    /// Counts what an earlier process left, and drains from now on. The instances' counters have to be there.
    pub fn drain(&mut self, blobs: BlobStore, metrics: Arc<Metrics>) {
        metrics.spool.show(self.spool.clone());
        let found = self.spool.found();
        if found.entries > 0 {
            tracing::info!(entries = found.entries, bytes = found.bytes, "the spool holds input of an earlier process");
        }
        for (instance, entries) in &found.instances {
            if let Some(counters) = metrics.find(instance) {
                counters.recovered(*entries);
            }
        }
        let (spool, lane, seen) = (self.spool.clone(), self.lane.clone(), self.seen.clone());
        let parts = DrainParts { spool, lane, seen, blobs, metrics };
        self.drain = Some(Drain::start(parts));
    }

    /// Nobody waits for Kafka any longer (D11).
    pub fn close(&self) {
        self.publisher.close();
    }

    /// Ends it: what Kafka does not confirm in a moment stays in the spool.
    pub async fn stop(self) {
        self.close();
        let confirmed = async {
            while self.lane.is_usable() && self.spool.gate().before() != Before::Nothing {
                let changed = self.spool.gate().changed.notified();
                let _ = tokio::time::timeout(Duration::from_millis(50), changed).await;
            }
        };
        let _ = tokio::time::timeout(LAST_CONFIRMATIONS, confirmed).await;
        if let Some(drain) = self.drain {
            drain.stop().await;
        }
        self.spool.close().await;
        let left = self.spool.figures().entries.load(std::sync::atomic::Ordering::Relaxed);
        if left > 0 {
            tracing::info!(entries = left, "input stays in the spool; the next process with this data_dir drains it");
        }
    }
}
