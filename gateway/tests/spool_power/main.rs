//! D2: unsynced writes are thrown away. One run of the spool over a disk that notes what it is told; then, for many seeds,
//! the power goes at some moment of it, unsynced sectors survive or not, and the spool is opened on what is left. Whatever
//! was answered before that moment is there, whole, or Kafka had it.

mod disk;
mod shim;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connector_sdk::async_trait;
use inlet::config::model::Blobs;
use inlet::delivery::push::Sending;
use inlet::delivery::{Parcel, PublishError, Publisher};
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::record::{Record, TopicRole};
use inlet::spool::service::SpoolService;
use inlet::spool::{Lane, Reader, Sent, Spool, SpoolSettings};
use inlet::telemetry::counters::{Fate, Metrics};
use tokio::sync::Notify;

use crate::disk::{Chance, Step, note, power_loss, steps};

const SEEDS: u64 = 120;
/// Large enough that the log is emptied into the database a few times.
const INPUT_BYTES: usize = 12_000;
const INPUTS: usize = 600;
/// Inputs on their way at once: they share commits.
const AT_ONCE: usize = 12;
const LIMIT: Duration = Duration::from_secs(60);

/// Takes everything, or nothing.
#[derive(Default)]
struct Kafka {
    up: AtomicBool,
    waiting: std::sync::Mutex<Vec<(Sent, usize)>>,
    /// Never told.
    went_away: Notify,
}

impl Kafka {
    fn set(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
        if up {
            for (sent, number) in std::mem::take(&mut *self.waiting.lock().expect("no panic")) {
                note(Step::Taken(number));
                sent.settle(1, None);
            }
        }
    }
}

#[async_trait]
impl Lane for Kafka {
    fn send(&self, inputs: &[&[Record]]) -> Result<Vec<Sent>, PublishError> {
        let send = |records: &&[Record]| {
            let (sent, number) = (Sending::of(1), number(&records[0].value));
            if self.up.load(Ordering::Relaxed) {
                note(Step::Taken(number));
                sent.settle(1, None);
            } else {
                self.waiting.lock().expect("no panic").push((sent.clone(), number));
            }
            sent
        };
        Ok(inputs.iter().map(send).collect())
    }

    async fn send_alone(&self, _: &[Record]) -> Result<(), PublishError> {
        Err(PublishError::Unavailable("not needed here".to_owned()))
    }

    fn is_usable(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn stalled(&self) {}

    fn went_away(&self) -> &Notify {
        &self.went_away
    }
}

fn value(number: usize) -> Bytes {
    let text = format!("{number}:");
    let rest = (text.len()..INPUT_BYTES).map(|at| b'a' + ((at * 7 + number) % 26) as u8);
    text.bytes().chain(rest).collect()
}

fn number(value: &[u8]) -> usize {
    let text = String::from_utf8_lossy(value);
    text.split(':').next().and_then(|number| number.parse().ok()).expect("a value of this test")
}

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings { dir: dir.to_owned(), max_bytes: 1 << 30, max_age: Duration::from_secs(3600) }
}

/// Inputs while Kafka comes and goes, and the process is restarted.
async fn live_through(dir: &Path, blobs: &Path) {
    let kafka = Arc::new(Kafka::default());
    let mut numbers = 0..INPUTS;
    for round in 0..6 {
        kafka.set(round % 3 == 2);
        let metrics = Arc::new(Metrics::default());
        let counters = metrics.instance("i", "fake");
        let deadline = Duration::from_secs(10);
        let mut service = SpoolService::open(settings(dir), kafka.clone(), Arc::default(), deadline).expect("opens");
        service.drain(BlobStore::open(&Blobs::default(), blobs).expect("a store"), metrics.clone());
        for group in 0..INPUTS / 6 / AT_ONCE + 1 {
            // In the middle of a round Kafka goes or comes.
            if group == 4 {
                kafka.set(round % 3 == 1);
            }
            let deliveries = numbers.by_ref().take(AT_ONCE).map(|number| {
                let record =
                    Record { topic: TopicRole::Events, key: "k".to_owned(), value: value(number), headers: Vec::new() };
                let parcel = Parcel {
                    records: vec![record],
                    blobs: Vec::new(),
                    accepted_at: inlet::clock::now(),
                    answer_by: None,
                    fate: Fate::Published { events: 1 },
                    counters: &counters,
                };
                let publisher = service.publisher.clone();
                async move {
                    publisher.deliver(vec![parcel]).await.expect("taken").claim();
                    note(Step::Answered(number));
                }
            });
            futures::future::join_all(deliveries.collect::<Vec<_>>()).await;
        }
        tokio::time::timeout(LIMIT, service.stop()).await.expect("ends");
        kafka.waiting.lock().expect("no panic").clear();
    }
}

/// Opens the spool on what is left, and gives the numbers of all inputs in it.
async fn recovered(dir: &Path) -> BTreeSet<usize> {
    let spool = Spool::open(settings(dir)).expect("opens");
    let figures = spool.figures();
    let state = figures.state(inlet::clock::now());
    assert_eq!(state.quarantined, 0, "a power cut is no damage: {:?}", state.reason);
    let reader = Reader::open(dir).expect("reads");
    let entries = reader.read((0, i64::MAX), usize::MAX, usize::MAX).expect("reads");
    let mut found = BTreeSet::new();
    for entry in entries {
        let entry = entry.expect("whole");
        let number = number(&entry.records[0].value);
        assert_eq!(entry.records[0].value, value(number), "something else came back");
        found.insert(number);
    }
    drop(reader);
    spool.close().await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
    let home = tempfile::tempdir().expect("a directory");
    let (watched, blobs) = (home.path().join("watched"), home.path().join("blobs"));
    std::fs::create_dir(&watched).expect("made");
    shim::install(&watched.canonicalize().expect("is there"));
    live_through(&watched.canonicalize().expect("is there"), &blobs).await;
    let steps = steps();
    let answered = steps.iter().filter(|step| matches!(step, Step::Answered(_))).count();
    let syncs = steps.iter().filter(|step| matches!(step, Step::Sync { .. })).count();
    assert_eq!(answered, INPUTS);
    assert!(syncs > 20, "{syncs} syncs in {} steps", steps.len());
    let mut obligations = 0;
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed + 1);
        let before = &steps[..chance.below(steps.len())];
        let survive_percent = [0, 50, 90, 100][chance.below(4)];
        let left = home.path().join(format!("left-{seed}"));
        std::fs::create_dir(&left).expect("made");
        power_loss(before, &left, &mut chance, survive_percent);
        let found = recovered(&left).await;
        let taken: BTreeSet<_> = before
            .iter()
            .filter_map(|step| match step {
                Step::Taken(number) => Some(*number),
                _ => None,
            })
            .collect();
        for step in before {
            if let Step::Answered(number) = step
                && !taken.contains(number)
            {
                obligations += 1;
                assert!(found.contains(number), "seed {seed}: {number} is lost, cut after {} steps", before.len());
            }
        }
        std::fs::remove_dir_all(&left).expect("was there");
    }
    assert!(obligations > 1000, "only {obligations} obligations were looked at");
    println!("{SEEDS} power cuts, {obligations} obligations, none lost");
}
