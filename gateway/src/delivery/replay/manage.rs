//! What operators do with positions: set and reset them, and move them to another number of partitions.
//!
//! Nothing is changed while an owner lives: the owners' group tells. Since one may come up at any moment, each change is
//! made under the shard's own transactional id: whoever initialises it last wins, and the other's transaction fails.

use std::time::Duration;

use connector_sdk::Cursor;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Serialize;

use super::codec::{encode_key, encode_value, moved_mark, moved_to};
use super::control::Control;
use super::cursors::{CursorReader, Positions};
use super::partition::shard_of;
use super::transaction::{Failed, Seat, Transactions, Write};
use super::{CursorKey, CursorsError, job};
use crate::clock::now;
use crate::delivery::link::Quiet;
use crate::delivery::settings::{KafkaSettings, SettingsError};
use crate::delivery::topics::{self, Severity, TopicsError};
use crate::pipeline::record::TopicRole;

/// One question to Kafka.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// From the creation of partitions until all of them can be used.
const LEADERS_LIMIT: Duration = Duration::from_secs(30);
const LEADERS_TICK: Duration = Duration::from_millis(50);
/// Shards that are fenced at once.
const FENCES_AT_ONCE: usize = 8;
/// A forced change is tried again when the running owner wins the race for its shard.
const FORCED_ATTEMPTS: usize = 5;
const FORCED_PAUSE: Duration = Duration::from_millis(500);

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Cursors(#[from] CursorsError),
    #[error(transparent)]
    Topics(#[from] TopicsError),
    #[error(
        "gateways are running: {}. Stop them first (all with role `sources`); one that was killed is forgotten after \
         8 s",
        .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Running(Vec<Owner>),
    #[error("a gateway came up meanwhile and took the shard over; nothing was changed")]
    TakenOver,
    #[error("Kafka: {0}")]
    Kafka(String),
    #[error("{0}")]
    Impossible(String),
}

impl From<Failed> for ManageError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Fenced(_) => Self::TakenOver,
            other => Self::Kafka(other.reason()),
        }
    }
}

/// A live member of the owners' group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    pub client_id: String,
    pub host: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.client_id, self.host.trim_start_matches('/'))
    }
}

/// The gateways that run sources now, or did so until a session ago. Blocks.
pub fn owners(settings: &KafkaSettings) -> Result<Vec<Owner>, ManageError> {
    let client: BaseConsumer<Quiet> = settings.watermarks()?.create_with_context(Quiet).map_err(kafka)?;
    let group = settings.owners_group();
    let list = client.fetch_group_list(Some(&group), CALL_LIMIT).map_err(kafka)?;
    let members = list.groups().iter().filter(|found| found.name() == group).flat_map(|found| found.members());
    Ok(members.map(|m| Owner { client_id: m.client_id().to_owned(), host: m.client_host().to_owned() }).collect())
}

fn nobody_runs(settings: &KafkaSettings) -> Result<(), ManageError> {
    let owners = owners(settings)?;
    if owners.is_empty() { Ok(()) } else { Err(ManageError::Running(owners)) }
}

/// Sets positions of one instance (`None` takes one away), all or none. `force`: also while gateways run; the owner is
/// fenced and goes on from the new positions with its next commit. Blocks.
pub fn store(
    settings: &KafkaSettings,
    instance: &str,
    changes: &[(CursorKey, Option<Cursor>)],
    force: bool,
) -> Result<(), ManageError> {
    let found = CursorReader::new(settings)?.partitions(CALL_LIMIT)?;
    let shards = settings.topics.cursors.partitions;
    if found != shards {
        let name = &settings.topics.cursors.name;
        let text = format!("topic {name} has {found} partitions, topics.cursors.partitions says {shards}");
        return Err(ManageError::Impossible(text));
    }
    let shard = shard_of(instance, shards);
    let writes: Vec<_> = changes.iter().map(|(key, cursor)| write(settings, shard, key, cursor.as_ref())).collect();
    for attempt in 1.. {
        if !force {
            nobody_runs(settings)?;
        }
        match commit(settings, shard, &writes, force) {
            Err(ManageError::TakenOver) if force && attempt < FORCED_ATTEMPTS => std::thread::sleep(FORCED_PAUSE),
            done => return done,
        }
    }
    Ok(())
}

fn commit(settings: &KafkaSettings, shard: i32, writes: &[Write], force: bool) -> Result<(), ManageError> {
    let (seat, control) = (seat(settings, shard), Control::default());
    let transactions = Transactions::open(settings, &seat, &control, |_| {})?;
    // Whoever came up before the fence is a member by now; whoever comes later fences us.
    if !force {
        nobody_runs(settings)?;
    }
    Ok(transactions.write(writes)?)
}

fn seat(settings: &KafkaSettings, shard: i32) -> Seat {
    Seat { shard, transactional_id: settings.transactional_id(shard), job: None }
}

fn write(settings: &KafkaSettings, partition: i32, key: &CursorKey, cursor: Option<&Cursor>) -> Write {
    Write {
        topic: settings.topics.cursors.name.clone(),
        partition,
        key: encode_key(key),
        value: cursor.map(|cursor| encode_value(cursor, now())),
    }
}

/// What a reshard did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resharded {
    pub topic: String,
    pub partitions: i32,
    /// Positions that lie elsewhere now.
    pub moved: usize,
    /// Positions that were in their place already.
    pub kept: usize,
}

/// Moves all positions to `partitions` partitions, of the same topic (more than now) or of `to_topic`. One transaction
/// writes them where they belong and takes them away (or marks the whole topic as left) where they were, so that a crash
/// leaves either the one or the other; the same command goes on from both.
pub async fn reshard(
    settings: &KafkaSettings,
    to_topic: Option<&str>,
    partitions: i32,
) -> Result<Resharded, ManageError> {
    let mut target = settings.clone();
    target.topics.cursors.partitions = partitions;
    if let Some(name) = to_topic {
        target.topics.cursors.name = name.to_owned();
    }
    if let Some(error) = target.topics.check().into_iter().next() {
        return Err(error.into());
    }
    let same_topic = target.topics.cursors.name == settings.topics.cursors.name;
    blocking(settings, nobody_runs).await?;
    if same_topic {
        grow(&target).await?;
    } else {
        create(&target).await?;
    }
    let from = settings.clone();
    let work = move || move_all(&from, &target, same_topic);
    tokio::task::spawn_blocking(work).await.map_err(|error| ManageError::Kafka(error.to_string()))?
}

/// Adds partitions. From here on a gateway with the old number does not start any more.
async fn grow(target: &KafkaSettings) -> Result<(), ManageError> {
    let (name, wanted) = (target.topics.cursors.name.clone(), target.topics.cursors.partitions);
    let found = blocking(target, |target| Ok(CursorReader::new(target)?.partitions(CALL_LIMIT)?)).await?;
    if found == 0 {
        return Err(ManageError::Impossible(format!("topic {name} does not exist")));
    }
    if found > wanted {
        let text =
            format!("topic {name} has {found} partitions, and Kafka takes none away: name a new one with --topic");
        return Err(ManageError::Impossible(text));
    }
    if found < wanted {
        let admin: AdminClient<Quiet> = target.admin()?.create_with_context(Quiet).map_err(kafka)?;
        let count = usize::try_from(wanted).unwrap_or_default();
        let options = AdminOptions::new().request_timeout(Some(CALL_LIMIT)).operation_timeout(Some(CALL_LIMIT));
        let results = admin.create_partitions(&[NewPartitions::new(&name, count)], &options).await.map_err(kafka)?;
        for result in results {
            result.map_err(|(topic, code)| ManageError::Kafka(format!("topic {topic} takes no partitions: {code}")))?;
        }
    }
    let deadline = tokio::time::Instant::now() + LEADERS_LIMIT;
    while blocking(target, has_leaders).await? < wanted {
        if tokio::time::Instant::now() > deadline {
            return Err(ManageError::Kafka(format!("the new partitions of {name} have no leaders")));
        }
        tokio::time::sleep(LEADERS_TICK).await;
    }
    Ok(())
}

fn has_leaders(settings: &KafkaSettings) -> Result<i32, ManageError> {
    let client: BaseConsumer<Quiet> = settings.watermarks()?.create_with_context(Quiet).map_err(kafka)?;
    let metadata = client.fetch_metadata(Some(&settings.topics.cursors.name), CALL_LIMIT).map_err(kafka)?;
    let led = metadata.topics().iter().flat_map(|t| t.partitions()).filter(|p| p.leader() >= 0).count();
    Ok(i32::try_from(led).unwrap_or(i32::MAX))
}

async fn create(target: &KafkaSettings) -> Result<(), ManageError> {
    let mut creating = target.clone();
    creating.topics.create = true;
    let findings = topics::ensure(&creating).await?;
    let fault = findings.iter().find(|f| f.role == TopicRole::Cursors && f.severity() == Severity::Error);
    fault.map_or(Ok(()), |fault| Err(ManageError::Impossible(fault.to_string())))
}

fn move_all(from: &KafkaSettings, target: &KafkaSettings, same_topic: bool) -> Result<Resharded, ManageError> {
    let reader = CursorReader::new(from)?;
    let old = reader.partitions(CALL_LIMIT)?;
    let positions = reader.read_all(|| true)?;
    fence(from, old, &positions)?;
    let seat = Seat { shard: 0, transactional_id: format!("{}reshard", from.transactional_id_prefix()), job: None };
    let control = Control::default();
    // Also ends what another reshard left half-done.
    let transactions = Transactions::open(from, &seat, &control, |_| {})?;
    // Again, behind the fences: nobody can have committed since.
    nobody_runs(from)?;
    let positions = reader.read_all(|| true)?;
    let there = if same_topic { Positions::new() } else { CursorReader::new(target)?.read_all(|| true)? };
    let to = (target.topics.cursors.name.clone(), target.topics.cursors.partitions);
    let gone = positions.iter().find_map(|(key, stored)| moved_to(key, &stored.cursor));
    match gone {
        Some(done) if done == to => {
            return Ok(Resharded { topic: to.0, partitions: to.1, moved: 0, kept: there.len() });
        }
        Some((topic, _)) => {
            let text = format!("the positions were moved to topic {topic} before; set topics.cursors.name to that");
            return Err(ManageError::Impossible(text));
        }
        None if !there.is_empty() => {
            let text = format!("topic {} holds positions already; name another one", to.0);
            return Err(ManageError::Impossible(text));
        }
        None => {}
    }
    if let Some((key, _)) = positions.iter().find(|(_, stored)| stored.at.is_none()) {
        let (instance, stream) = (&key.instance, &key.stream);
        let text = format!("this version cannot read the position of {instance} (stream {stream}); reset it first");
        return Err(ManageError::Impossible(text));
    }
    let (writes, moved) = plan(from, target, same_topic, old, &positions);
    if !writes.is_empty() {
        transactions.write(&writes)?;
        drop(transactions);
        // A commit is answered before its markers lie in every partition, and until then readers of committed records
        // miss the positions. The next owners initialise other ids; that of the transaction is only given anew when all
        // markers are there.
        Transactions::open(from, &seat, &control, |_| {})?;
    }
    CursorReader::new(target)?.check_placement(to.1, || true)?;
    nobody_runs(from)?;
    Ok(Resharded { topic: to.0, partitions: to.1, moved, kept: positions.len() - moved })
}

/// After this nobody who ran before can commit: owners that are paused, and jobs.
fn fence(settings: &KafkaSettings, shards: i32, positions: &Positions) -> Result<(), ManageError> {
    let jobs = positions.keys().filter(|key| key.is_reserved() && !key.instance.is_empty());
    let mut ids: Vec<String> = (0..shards).map(|shard| settings.transactional_id(shard)).collect();
    ids.extend(jobs.map(|key| job::transactional_id(settings, &key.instance, job::name_of(&key.stream))));
    ids.dedup();
    for some in ids.chunks(FENCES_AT_ONCE) {
        std::thread::scope(|scope| {
            let fences: Vec<_> = some
                .iter()
                .map(|id| {
                    let seat = Seat { shard: 0, transactional_id: id.clone(), job: None };
                    scope.spawn(move || Transactions::open(settings, &seat, &Control::default(), |_| {}).map(drop))
                })
                .collect();
            fences.into_iter().try_for_each(|fence| match fence.join() {
                Ok(done) => done.map_err(ManageError::from),
                Err(_) => Err(ManageError::Kafka("fencing an owner panicked".to_owned())),
            })
        })?;
    }
    Ok(())
}

/// The writes of the one transaction, and how many positions move by it.
fn plan(
    from: &KafkaSettings,
    target: &KafkaSettings,
    same_topic: bool,
    old_partitions: i32,
    positions: &Positions,
) -> (Vec<Write>, usize) {
    let partitions = target.topics.cursors.partitions;
    let (mut writes, mut moved) = (Vec::new(), 0);
    for (key, stored) in positions {
        let place = shard_of(&key.instance, partitions);
        if same_topic && stored.partition == place {
            continue;
        }
        moved += 1;
        writes.push(Write {
            value: Some(encode_value(&stored.cursor, stored.at.unwrap_or_else(now))),
            ..write(target, place, key, None)
        });
        if same_topic {
            writes.push(write(target, stored.partition, key, None));
        }
    }
    if !same_topic {
        let (key, cursor) = moved_mark(&target.topics.cursors.name, partitions);
        writes.extend((0..old_partitions).map(|partition| write(from, partition, &key, Some(&cursor))));
    }
    (writes, moved)
}

fn kafka(error: rdkafka::error::KafkaError) -> ManageError {
    ManageError::Kafka(error.to_string())
}

async fn blocking<T: Send + 'static>(
    settings: &KafkaSettings,
    work: impl FnOnce(&KafkaSettings) -> Result<T, ManageError> + Send + 'static,
) -> Result<T, ManageError> {
    let settings = settings.clone();
    let done = tokio::task::spawn_blocking(move || work(&settings)).await;
    done.map_err(|error| ManageError::Kafka(error.to_string()))?
}
