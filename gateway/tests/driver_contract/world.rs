//! One instance between a scripted source and a scripted Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connector_sdk::{
    Http, HttpFault, HttpRequest, HttpResponse, Intake, IntakeError, Io, SourceClass, Start, StateStore, async_trait,
};
use inlet::config::model::{Blobs, Instance as InstanceConfig, RoutingOption, StartOption};
use inlet::delivery::memory::{Answer, MemoryLane, MemoryPublisher, Script};
use inlet::delivery::replay::Ownership;
use inlet::intake::health::Health;
use inlet::intake::push::PushLine;
use inlet::intake::sources::{Source, SourceIntake, Stop, keep_running};
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::enrich::Enricher;
use inlet::pipeline::instance::Instance;
use inlet::pipeline::line::Line;
use inlet::telemetry::counters::Metrics;

use crate::inputs::FakeParse;

/// Virtual time that anything may take.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked: first, and at most.
const TICK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(10));

pub struct World {
    pub instance: Arc<Instance>,
    pub metrics: Arc<Metrics>,
    pub lane: MemoryLane,
    pub publisher: Arc<MemoryPublisher>,
    pub push: PushLine,
    pub health: Health,
    dir: tempfile::TempDir,
}

impl World {
    pub fn new(class: SourceClass, script: Script) -> Self {
        Self::starting(class, Start::Beginning, script)
    }

    pub fn starting(class: SourceClass, start: Start, script: Script) -> Self {
        let metrics = Arc::new(Metrics::default());
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = BlobStore::open(&Blobs::default(), dir.path()).expect("a store");
        let publisher = Arc::new(MemoryPublisher::new(script.clone()));
        let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 512 << 10 };
        let push = PushLine { line: Arc::new(line), publisher: publisher.clone(), seen: Arc::default() };
        // Health has a Kafka of its own here, so that its events do not use up the script's answers.
        let healthy = PushLine { publisher: Arc::new(MemoryPublisher::default()), ..push.clone() };
        Self {
            instance: Arc::new(instance("i", class, start, &metrics)),
            metrics,
            lane: MemoryLane::new(script),
            publisher,
            health: Health::new(healthy),
            push,
            dir,
        }
    }

    pub fn source(&self, intake: Intake) -> Source {
        Source::new(self.instance.clone(), io(), SourceIntake::Intake(intake))
    }

    /// Kafka is well from now on.
    pub fn mend(&self) {
        self.lane.set_script(Script::always(Answer::Taken));
        self.publisher.set_script(Script::always(Answer::Taken));
    }

    /// Makes the blob store fail: a file stands where its directory was.
    pub fn break_blobs(&self) {
        let store = self.dir.path().join("blobs");
        std::fs::remove_dir_all(&store).expect("was there");
        std::fs::write(&store, b"").expect("writes");
    }

    pub fn mend_blobs(&self) {
        let store = self.dir.path().join("blobs");
        std::fs::remove_file(&store).expect("was there");
        std::fs::create_dir(&store).expect("makes it");
    }

    pub fn tally(&self) -> inlet::telemetry::counters::Tally {
        self.instance.counters.tally()
    }
}

pub fn instance(name: &str, class: SourceClass, start: Start, metrics: &Metrics) -> Instance {
    Instance {
        name: name.to_owned(),
        connector: "fake",
        parse: Arc::new(FakeParse),
        source: class,
        config: InstanceConfig {
            connector: "fake".to_owned(),
            tenant: "tenant".to_owned(),
            accounts: None,
            start: StartOption(start),
            raw: None,
            routing: RoutingOption::default(),
            rate: None,
            fetch: Default::default(),
            lag: Default::default(),
            options: serde_json::Map::new(),
        },
        counters: metrics.instance(name, "fake").into(),
    }
}

/// A source that runs until it is stopped.
pub struct Running {
    pub stop: Stop,
    pub ownership: Ownership,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    pub fn run(&self, source: &Source) -> Running {
        let (stop, ownership) = (Stop::default(), self.lane.own(0));
        let keep =
            keep_running(source.clone(), ownership.clone(), self.push.clone(), self.health.clone(), stop.clone());
        Running { stop, ownership, task: tokio::spawn(keep) }
    }
}

impl Running {
    /// Stops it in good order; true: it ended by itself within the limit.
    pub async fn stop(self, limit: Duration) -> bool {
        self.stop.please.cancel();
        let ended = tokio::time::timeout(limit, self.task).await;
        self.stop.now.cancel();
        self.ownership.revoked.cancel();
        match ended {
            Ok(done) => done.map(|()| true).expect("no panic reaches the driver"),
            Err(_) => false,
        }
    }
}

/// Waits for a condition, in virtual time.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    let mut tick = TICK.0;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "never came to be: {what}");
        tokio::time::sleep(tick).await;
        tick = (tick * 2).min(TICK.1);
    }
}

pub fn io() -> Io {
    Io { http: Arc::new(NoHttp), state: Arc::new(NoState) }
}

struct NoHttp;

#[async_trait]
impl Http for NoHttp {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Transport { host: "nowhere".into(), reason: "there is no network here".into() })
    }
}

struct NoState;

#[async_trait]
impl StateStore for NoState {
    async fn load(&self, _: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: &[u8]) -> Result<(), IntakeError> {
        Ok(())
    }
}

/// Numbers that follow from a seed (Vigna's splitmix64).
pub struct Dice(AtomicU64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)))
    }

    /// Below `sides`.
    pub fn roll(&self, sides: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    pub fn one_in(&self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}
