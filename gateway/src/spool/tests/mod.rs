//! The spool between scripted inputs and a scripted Kafka.

mod damage;
mod draining;
mod lane;
mod limits;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use connector_sdk::Blob;
use tempfile::TempDir;
use tokio::time::Instant;

use self::lane::{FakeLane, Mode};
use super::service::SpoolService;
use super::{SpoolError, SpoolSettings};
use crate::config::model::Blobs;
use crate::delivery::{Parcel, PublishError, Publisher, Safe};
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::record::{Record, TopicRole};
use crate::seen::{Seen, SeenId, SeenMetrics};
use crate::telemetry::counters::{Fate, InFlight, InstanceCounters, Metrics, Returned, Tally};

const LIMIT: Duration = Duration::from_secs(20);
/// Kafka has three fifths of it.
const DEADLINE: Duration = Duration::from_millis(100);
const ROOM: u64 = 64 << 20;

/// A gateway's spool, its counters and its Kafka.
struct World {
    service: SpoolService,
    seen: Arc<Seen>,
    lane: Arc<FakeLane>,
    counters: InstanceCounters,
    dir: Arc<TempDir>,
}

impl World {
    fn new(mode: Mode) -> Self {
        Self::within(Arc::new(tempfile::tempdir().expect("a directory")), mode, ROOM)
    }

    fn within(dir: Arc<TempDir>, mode: Mode, max_bytes: u64) -> Self {
        Self::try_within(dir, mode, max_bytes).expect("opens")
    }

    fn try_within(dir: Arc<TempDir>, mode: Mode, max_bytes: u64) -> Result<Self, SpoolError> {
        Self::with_index(dir, mode, max_bytes, Arc::default())
    }

    fn with_index(dir: Arc<TempDir>, mode: Mode, max_bytes: u64, seen: Arc<Seen>) -> Result<Self, SpoolError> {
        let lane = Arc::new(FakeLane::new(mode));
        let metrics = Arc::new(Metrics::default());
        let counters = metrics.instance("i", "fake");
        let settings = SpoolSettings { dir: dir.path().join("spool"), max_bytes, max_age: Duration::from_secs(3600) };
        let mut service = SpoolService::open(settings, lane.clone(), seen.clone(), DEADLINE)?;
        service.drain(blobs(dir.path()), metrics);
        Ok(Self { service, seen, lane, counters, dir })
    }

    /// The process ends and another begins.
    async fn restart(self, mode: Mode) -> Self {
        let dir = self.dir.clone();
        self.service.stop().await;
        Self::within(dir, mode, ROOM)
    }

    /// One input, as the push line delivers it.
    async fn input(&self, key: &str, text: &str) -> Result<bool, PublishError> {
        let in_flight = self.counters.accept();
        self.settle(in_flight, self.parcel(key, text)).await
    }

    /// Says whether it went into the spool.
    async fn settle(&self, in_flight: InFlight, parcel: Parcel<'_>) -> Result<bool, PublishError> {
        let fate = parcel.fate;
        match self.service.publisher.deliver(vec![parcel]).await {
            Ok(safe) => {
                let spooled = matches!(safe, Safe::Spooled(_));
                in_flight.settle(if spooled { Fate::Spooled } else { fate });
                safe.claim();
                Ok(spooled)
            }
            Err(error) => {
                in_flight.settle(Fate::Returned(Returned::Kafka));
                Err(error)
            }
        }
    }

    fn parcel(&self, key: &str, text: &str) -> Parcel<'_> {
        Parcel {
            records: vec![record(key, text)],
            blobs: Vec::new(),
            accepted_at: crate::clock::now(),
            answer_by: None,
            fate: Fate::Published { events: 1 },
            counters: &self.counters,
        }
    }

    async fn inputs(&self, key: &str, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.input(key, &format!("{number}")).await.expect("taken");
        }
    }

    /// Values of all events on the pretended Kafka, in order.
    fn texts(&self) -> Vec<String> {
        let events = self.lane.taken().into_iter().filter(|record| record.topic == TopicRole::Events);
        events.map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        let letters = self.lane.taken().into_iter().filter(|record| record.topic == TopicRole::DeadLetter);
        letters.map(|record| serde_json::from_slice(&record.value).expect("a letter")).collect()
    }

    fn entries(&self) -> u64 {
        self.service.spool.figures().entries.load(Ordering::Relaxed)
    }

    async fn drained(&self) {
        until("the spool is empty", || self.entries() == 0).await;
    }

    fn tally(&self) -> Tally {
        let tally = self.counters.tally();
        let settled = tally.published + tally.skipped + tally.duplicate + tally.dead_lettered + tally.returned;
        assert_eq!(tally.accepted, settled + tally.in_flight(), "{tally:?}");
        tally
    }
}

fn blobs(dir: &Path) -> BlobStore {
    BlobStore::open(&Blobs::default(), dir).expect("a store")
}

fn record(key: &str, text: &str) -> Record {
    Record {
        topic: TopicRole::Events,
        key: key.to_owned(),
        value: Bytes::from(text.to_owned()),
        headers: vec![("ce_id", text.to_owned()), ("content-type", "application/json".to_owned())],
    }
}

fn blob(text: &str) -> Blob {
    let bytes = Bytes::from(text.to_owned());
    Blob { reference: connector_sdk::parse::blob_ref(&bytes), bytes }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Polls until it holds; a test that waits for longer than `LIMIT` fails.
async fn until(what: &str, probe: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !probe() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
