//! A scripted source, its supervisor and a judge.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use connector_sdk::{Cursor, StreamId};
use inlet::delivery::replay::{CursorKey, Epoch, Input, InstanceRef, Ownership, Replay, ReplayHandle, Settled};
use inlet::delivery::settings::KafkaSettings;
use inlet::delivery::topics;
use inlet::pipeline::record::{Record, TopicRole};
use inlet_tests::consume::Committed;
use inlet_tests::runtime;
use inlet_tests::servers::kafka::Kafka;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

/// Two busy cores run the brokers, the members and the judge.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Inputs of one stream that wait for their commit.
const IN_FLIGHT: usize = 200;

/// Settings with topics of this test's own, replication 1. `RUST_LOG=inlet=debug` shows what the lanes do.
pub fn settings(kafka: &Kafka, test: &str, shards: i32) -> KafkaSettings {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Fails when another test of this process has begun to log already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let mut settings = KafkaSettings::new(kafka.bootstrap().split(',').map(str::to_owned).collect());
    settings.topics.set_replication(1);
    settings.topics.cursors.partitions = shards;
    for role in TopicRole::ALL {
        settings.topics.get_mut(role).name = format!("{test}.{}", role.as_str());
    }
    settings
}

pub fn create_topics(settings: &KafkaSettings) -> Result<()> {
    let findings = runtime::block_on(topics::ensure(settings))?;
    let faults: Vec<_> = findings.iter().filter(|f| f.severity() > topics::Severity::Note).collect();
    ensure!(faults.is_empty(), "{faults:?}");
    Ok(())
}

pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("mailbox-{i}")).collect()
}

pub fn key(instance: &str) -> CursorKey {
    CursorKey { instance: instance.to_owned(), stream: StreamId::new("INBOX") }
}

/// An event of a stream; `n` is both its identity and its position.
pub fn event(instance: &str, n: u64, bytes: usize) -> Record {
    Record {
        topic: TopicRole::Events,
        key: instance.to_owned(),
        value: json!({ "instance": instance, "n": n, "filler": filler(n, bytes) }).to_string().into(),
        headers: vec![("ce_id", format!("{instance}-{n}"))],
    }
}

/// Text that does not compress to nothing: the broker's limits count compressed bytes.
fn filler(seed: u64, bytes: usize) -> &'static str {
    const LENGTH: usize = 2 << 20;
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'A' + (state % 26) as u8)
        };
        (0..LENGTH).map(|_| next()).collect()
    });
    let begin = usize::try_from(seed).unwrap_or(0) * 31 % (LENGTH - bytes);
    &TEXT[begin..begin + bytes]
}

/// What every source of a test does: `limit` inputs a stream, each of about `bytes(n)` bytes.
pub struct Plan {
    pub limit: AtomicU64,
    pub bytes: fn(u64) -> usize,
    /// Told commits, over all members.
    pub settled: AtomicUsize,
    pub dead_letters: AtomicUsize,
}

impl Plan {
    pub fn new(limit: u64, bytes: fn(u64) -> usize) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit),
            bytes,
            settled: AtomicUsize::new(0),
            dead_letters: AtomicUsize::new(0),
        })
    }

    pub fn settled(&self) -> usize {
        self.settled.load(Ordering::SeqCst)
    }
}

/// One replica: the replay lane and sources for the instances that it comes to own.
pub struct Member {
    pub handle: ReplayHandle,
    /// Shards announced and not given up.
    pub owned: Arc<Mutex<BTreeMap<i32, Ownership>>>,
}

impl Member {
    pub fn start(settings: &KafkaSettings, names: &[String], plan: &Arc<Plan>) -> Result<Self> {
        let refs = names.iter().map(|name| InstanceRef { name: name.clone(), replay: true }).collect();
        let (_, watched) = watch::channel(refs);
        let (announce, announced) = mpsc::channel(4);
        let handle = Replay::start(settings, watched, announce)?;
        let owned = Arc::new(Mutex::new(BTreeMap::new()));
        let shards = settings.topics.cursors.partitions;
        runtime::spawn(supervise(announced, names.to_vec(), shards, plan.clone(), owned.clone()));
        Ok(Self { handle, owned })
    }

    pub fn shards(&self) -> Vec<i32> {
        self.owned.lock().expect("no panic while held").keys().copied().collect()
    }

    pub fn stop(self) -> Result<()> {
        ensure!(runtime::block_on(self.handle.shutdown()), "the lane did not end in time");
        Ok(())
    }
}

async fn supervise(
    mut announced: mpsc::Receiver<Ownership>,
    names: Vec<String>,
    shards: i32,
    plan: Arc<Plan>,
    owned: Arc<Mutex<BTreeMap<i32, Ownership>>>,
) {
    use inlet::delivery::replay::partition::shard_of;
    while let Some(ownership) = announced.recv().await {
        owned.lock().expect("no panic while held").insert(ownership.shard, ownership.clone());
        let mine: Vec<_> = names.iter().filter(|n| shard_of(n, shards) == ownership.shard).cloned().collect();
        let (plan, owned) = (plan.clone(), owned.clone());
        tokio::spawn(async move {
            let sources = mine.into_iter().map(|name| {
                let (ownership, plan) = (ownership.clone(), plan.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = ownership.revoked.cancelled() => {}
                        () = source(&name, ownership.epoch.clone(), &plan) => {}
                    }
                })
            });
            let sources: Vec<_> = sources.collect();
            ownership.revoked.cancelled().await;
            for source in sources {
                source.await.expect("a source does not panic");
            }
            owned.lock().expect("no panic while held").remove(&ownership.shard);
            ownership.released.cancel();
        });
    }
}

/// Epoch after epoch, always from the committed position.
async fn source(name: &str, mut epochs: watch::Receiver<Option<Epoch>>, plan: &Plan) {
    loop {
        let Ok(epoch) = epochs.wait_for(Option::is_some).await.map(|epoch| epoch.clone()) else { return };
        let Some(epoch) = epoch else { continue };
        let stored = epoch.cursors.get(&key(name)).map(|cursor| cursor.0["n"].as_u64().expect("a number"));
        tokio::select! {
            () = run(name, stored.map_or(0, |n| n + 1), &epoch, plan) => {}
            () = epoch.ended.cancelled() => {}
        }
        epoch.ended.cancelled().await;
    }
}

async fn run(name: &str, mut n: u64, epoch: &Epoch, plan: &Plan) {
    let mut waiting: std::collections::VecDeque<oneshot::Receiver<Settled>> = Default::default();
    loop {
        while n < plan.limit.load(Ordering::SeqCst) && waiting.len() < IN_FLIGHT {
            let (input, outcome) = input(name, n, (plan.bytes)(n));
            if epoch.lane.send(input).await.is_err() {
                return;
            }
            waiting.push_back(outcome);
            n += 1;
        }
        let Some(outcome) = waiting.pop_front() else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        match outcome.await {
            Ok(Settled::Published) => plan.settled.fetch_add(1, Ordering::SeqCst),
            Ok(Settled::DeadLettered) => plan.dead_letters.fetch_add(1, Ordering::SeqCst),
            Err(_) => return,
        };
    }
}

pub fn input(name: &str, n: u64, bytes: usize) -> (Input, oneshot::Receiver<Settled>) {
    let (settled, outcome) = oneshot::channel();
    let letter = Record {
        topic: TopicRole::DeadLetter,
        key: format!("{name}-{n}"),
        value: json!({ "instance": name, "n": n }).to_string().into(),
        headers: Vec::new(),
    };
    let input = Input {
        key: key(name),
        cursor_after: Some(Cursor(json!({ "n": n }))),
        records: vec![event(name, n, bytes)],
        dead_letter: Arc::new(move |reason| {
            let mut letter = letter.clone();
            letter.headers.push(("reason", reason.to_owned()));
            vec![letter]
        }),
        settled,
    };
    (input, outcome)
}

/// Reads the topic until every stream has `count` events and says whether each is there once and in order. `except` are
/// positions that became dead letters.
pub fn judge(settings: &KafkaSettings, names: &[String], count: u64, except: &[u64]) -> Result<()> {
    let wanted = names.len() * (usize::try_from(count)? - except.len());
    let bootstrap = settings.brokers.join(",");
    let mut committed = Committed::open(&bootstrap, &settings.topics.events.name, LIMIT)?;
    committed.read_until(LIMIT, &format!("{wanted} events"), |records| records.len() >= wanted)?;
    // What comes more is a repeat: a marker at the end of each partition is read before it would be missed.
    let records = committed.drain()?;
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let json = record.json()?;
        let instance = json["instance"].as_str().context("an event has an instance")?;
        seen.entry(instance.to_owned()).or_default().push(json["n"].as_u64().context("an event has a number")?);
    }
    let expected: Vec<u64> = (0..count).filter(|n| !except.contains(n)).collect();
    for name in names {
        let found = seen.remove(name).unwrap_or_default();
        if found != expected {
            bail!(
                "{name}: expected 0..{count} in order, found {} events: {}",
                found.len(),
                difference(&expected, &found)
            );
        }
    }
    ensure!(seen.is_empty(), "events of unknown streams: {:?}", seen.keys());
    Ok(())
}

fn difference(expected: &[u64], found: &[u64]) -> String {
    let missing: Vec<_> = expected.iter().filter(|n| !found.contains(n)).take(10).collect();
    let mut sorted = found.to_vec();
    sorted.sort_unstable();
    let doubled: Vec<_> = sorted.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).take(10).collect();
    let disorder = found.windows(2).position(|w| w[0] > w[1]);
    format!("missing {missing:?}, doubled {doubled:?}, first disorder at {disorder:?}")
}
