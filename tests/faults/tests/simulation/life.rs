//! Processes of the gateway, one after the other, each ended at a step or a moment of the seed's choice; the last one
//! runs until everything is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{
    Http, HttpFault, HttpRequest, HttpResponse, Intake, IntakeError, Io, Start, StateStore, async_trait,
};
use inlet::config::model::{Blobs, Instance as InstanceConfig, RoutingOption, StartOption};
use inlet::delivery::memory::MemoryPublisher;
use inlet::delivery::replay::Ownership;
use inlet::intake::health::Health;
use inlet::intake::push::PushLine;
use inlet::intake::sources::{Source, SourceIntake, supervise};
use inlet::intake::webhook::Hook;
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::enrich::Enricher;
use inlet::pipeline::instance::Instance;
use inlet::pipeline::line::Line;
use inlet::telemetry::counters::Metrics;
use inlet_faults::dice::Dice;
use inlet_faults::judge::Verdict;
use inlet_faults::ledger::Millis;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::kafka::{Honesty, Link};
use crate::outside::{HOOK, LIVE, Outside, POLLED, REPLAYED, SHARDS, class_of};
use crate::parse::SimParse;
use crate::sources::{Here, Mailbox, Open, Stream, Switchboard, talk};

/// Processes that are ended before the last one: at most.
const LIVES_MAX: u64 = 6;
/// At which step a process ends: at most.
const STEPS_MAX: u64 = 120;
/// Between a process's end and the next one's begin: at most.
const RESTART_MAX_MS: u64 = 3_000;
/// Virtual time in which everything must be done once the faults have stopped.
const LIVENESS: Duration = Duration::from_secs(3600);
/// The same where a planted fault may keep it from ever being done.
const PATIENCE: Duration = Duration::from_secs(20);
/// Changes of hands that wait for the supervisor, which takes each at once.
const CHANGES_MAX: usize = 64;
const LOOK: Duration = Duration::from_secs(2);

/// Counts the steps of one process and ends it at one of them.
pub struct Steps {
    left: AtomicU64,
    crash: Notify,
    dice: Mutex<Dice>,
    mishaps: bool,
}

impl Steps {
    fn new(crash_at: Option<u64>, dice: Dice) -> Arc<Self> {
        let left = AtomicU64::new(crash_at.unwrap_or(u64::MAX));
        Arc::new(Self { left, crash: Notify::new(), dice: Mutex::new(dice), mishaps: crash_at.is_some() })
    }

    /// A step is taken, or the process ends here.
    pub async fn step(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }

    /// Whether something goes wrong at a source; in the last process nothing does.
    pub fn one_in(&self, sides: u64) -> bool {
        self.mishaps && self.dice.lock().expect("no panic while held").one_in(sides)
    }
}

/// The time of the simulation.
#[derive(Clone, Copy)]
pub struct Clock {
    begun_at: Millis,
    start: Instant,
}

impl Clock {
    pub fn now(&self) -> Millis {
        self.begun_at + Millis::try_from(self.start.elapsed().as_millis()).expect("fits")
    }
}

/// Everything that a seed says, and the verdict over it.
pub fn all_of(seed: u64, honesty: Honesty) -> Verdict {
    let outside = Outside::new(seed, honesty);
    let mut dice = Dice::for_part(seed, "lives");
    let dir = tempfile::tempdir().expect("a directory");
    for _ in 0..dice.between(1, LIVES_MAX) {
        one(&outside, dir.path(), &mut dice, false, seed);
    }
    outside.mend();
    one(&outside, dir.path(), &mut dice, true, seed);
    outside.judge()
}

/// One process. Dropping its runtime is the crash: every task ends where it waits.
fn one(outside: &Arc<Outside>, dir: &std::path::Path, dice: &mut Dice, is_last: bool, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    let mut own = Dice::new(dice.number());
    let crash_at = (!is_last).then(|| own.between(1, STEPS_MAX));
    let passed = runtime.block_on(async {
        let start = Instant::now();
        let clock = Clock { begun_at: *outside.begun_at.lock().expect("no panic while held"), start };
        let steps = Steps::new(crash_at, Dice::new(own.number()));
        let process = Process::start(Here { outside: outside.clone(), steps: steps.clone(), clock }, dir, &mut own);
        if is_last {
            process.until_done(seed).await;
        } else {
            tokio::select! {
                () = steps.crash.notified() => {}
                () = process.disturb(&mut own) => {}
            }
        }
        start.elapsed()
    });
    drop(runtime);
    let passed = Millis::try_from(passed.as_millis()).expect("fits");
    let mut begun_at = outside.begun_at.lock().expect("no panic while held");
    outside.ledger().cut_all(*begun_at + passed);
    *begun_at += passed + dice.between(1, RESTART_MAX_MS) as Millis;
}

struct Process {
    here: Here,
    owned: mpsc::Sender<Ownership>,
    shards: Mutex<Vec<Ownership>>,
    stop: CancellationToken,
    supervisor: tokio::task::JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl Process {
    fn start(here: Here, dir: &std::path::Path, dice: &mut Dice) -> Self {
        let metrics = Arc::new(Metrics::default());
        let blobs = BlobStore::open(&Blobs::default(), dir).expect("a store");
        let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 512 << 10 };
        let publisher = Arc::new(Link { kafka: here.outside.kafka.clone(), steps: here.steps.clone() });
        let push = PushLine { line: Arc::new(line), publisher, seen: Arc::default() };
        let healthy = PushLine { publisher: Arc::new(MemoryPublisher::default()), ..push.clone() };
        let health = Health::new(healthy);
        let (owned, announced) = mpsc::channel(CHANGES_MAX);
        let stop = CancellationToken::new();
        let sources = sources(&here, &metrics);
        let (_, list) = tokio::sync::watch::channel(Arc::new(sources));
        let supervisor = tokio::spawn(supervise(list, SHARDS, push.clone(), health, announced, stop.clone()));
        let hook = Arc::new(Hook::new(instance(HOOK, &metrics), Arc::new(Open), Arc::new(NoHttp)));
        for number in 0..here.outside.conversations.len() {
            tokio::spawn(talk(here.clone(), number, hook.clone(), push.clone(), Dice::new(dice.number())));
        }
        let process = Self { here, owned, shards: Mutex::default(), stop, supervisor, metrics };
        (0..SHARDS).for_each(|shard| process.own(shard));
        process
    }

    /// Takes a shard, or takes it again: what the owner before had under way is fenced.
    fn own(&self, shard: i32) {
        let ownership = self.here.outside.lanes[usize::try_from(shard).expect("a shard")].own(shard);
        let mut shards = self.shards.lock().expect("no panic while held");
        if let Some(before) = shards.iter().position(|ownership| ownership.shard == shard) {
            shards.remove(before).revoked.cancel();
        }
        shards.push(ownership.clone());
        self.owned.try_send(ownership).expect("there is room, and the supervisor runs");
    }

    /// Shards change hands, epochs end, time passes; after a while of that the process ends.
    async fn disturb(&self, dice: &mut Dice) {
        for _ in 0..dice.between(5, 60) {
            match dice.roll(12) {
                0 => self.own(i32::try_from(dice.roll(SHARDS as u64)).expect("few")),
                1 => self.here.outside.lanes[dice.roll(SHARDS as u64) as usize].cut(),
                2..6 => tokio::time::sleep(Duration::from_millis(dice.roll(800))).await,
                _ => {
                    for _ in 0..dice.roll(30) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    /// Runs on until every source is read, every message is taken and everything owed has come.
    async fn until_done(self, seed: u64) {
        let planted = self.here.outside.honesty != Honesty::Honest;
        let deadline = Instant::now() + if planted { PATIENCE } else { LIVENESS };
        loop {
            let verdict = self.here.outside.is_done().then(|| self.here.outside.judge());
            if verdict.as_ref().is_some_and(|verdict| verdict.lost.is_empty()) {
                break;
            }
            if Instant::now() >= deadline {
                let lacks = verdict.map_or("inputs that nobody took".to_owned(), |verdict| verdict.to_string());
                assert!(planted, "INLET_SIM_SEED={seed}: not done within {LIVENESS:?} of virtual time: {lacks}");
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.stop.cancel();
        self.supervisor.await.unwrap_or_else(|error| panic!("INLET_SIM_SEED={seed}: the supervisor panicked: {error}"));
        for name in POLLED.into_iter().chain([REPLAYED, LIVE, HOOK]) {
            let tally = self.metrics.instance(name, "simulated").tally();
            let settled = tally.published + tally.skipped + tally.duplicate + tally.dead_lettered + tally.returned;
            let fates = settled + tally.in_flight();
            assert_eq!(tally.accepted, fates, "INLET_SIM_SEED={seed}: {name} does not add up");
        }
    }
}

fn sources(here: &Here, metrics: &Metrics) -> Vec<Source> {
    let source = |name: &'static str, intake| Source::new(instance(name, metrics), io(), SourceIntake::Intake(intake));
    let mut sources: Vec<_> =
        POLLED.map(|name| source(name, Intake::Poll(Box::new(Mailbox(here.clone(), name))))).into();
    sources.push(source(REPLAYED, Intake::Session(Box::new(Stream(here.clone(), REPLAYED)))));
    sources.push(source(LIVE, Intake::Session(Box::new(Switchboard(here.clone())))));
    sources
}

fn instance(name: &str, metrics: &Metrics) -> Arc<Instance> {
    Arc::new(Instance {
        name: name.to_owned(),
        connector: "simulated",
        parse: Arc::new(SimParse),
        source: class_of(name),
        config: InstanceConfig {
            connector: "simulated".to_owned(),
            tenant: "tenant".to_owned(),
            accounts: None,
            start: StartOption(Start::Beginning),
            raw: None,
            routing: RoutingOption::default(),
            rate: None,
            lag: Default::default(),
            fetch: Default::default(),
            options: serde_json::Map::new(),
        },
        counters: metrics.instance(name, "simulated").into(),
    })
}

fn io() -> Io {
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
