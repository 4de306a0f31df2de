//! Reads the committed positions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use connector_sdk::{Cursor, StreamId, Timestamp};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::CursorKey;
use super::codec::{decode_key, decode_value, moved_to};
use super::partition::shard_of;
use crate::delivery::link::{Quiet, lock};
use crate::delivery::settings::{KafkaSettings, SettingsError};

/// One question for a watermark.
const WATERMARK_LIMIT: Duration = Duration::from_secs(3);
/// Until no transaction is open on the partition, and until it is read.
const READ_LIMIT: Duration = Duration::from_secs(30);
const POLL_SLICE: Duration = Duration::from_millis(50);
/// Between two looks for the end of an open transaction.
const OPEN_TRANSACTION_TICK: Duration = Duration::from_millis(10);

/// Why positions could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorsError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the positions cannot be read: {0}")]
    Kafka(String),
    #[error("a transaction is open on partition {partition} of the cursors topic for longer than {READ_LIMIT:?}")]
    OpenTransaction { partition: i32 },
    #[error("partition {partition} of the cursors topic was not read to its end within {READ_LIMIT:?}")]
    Slow { partition: i32 },
    #[error(
        "the position of {instance} (stream {stream}) lies in partition {partition} of topic {topic}, with {shards} \
         partitions it belongs into {shard}: the number was changed after it was written; nothing is read, lest it be \
         read anew. Run `inlet cursors reshard --partitions {shards}`"
    )]
    Misplaced { topic: String, instance: String, stream: StreamId, partition: i32, shard: i32, shards: i32 },
    #[error(
        "the positions of topic {from} were moved to topic {to}: set topics.cursors.name: {to} and \
         topics.cursors.partitions: {partitions}"
    )]
    Moved { from: String, to: String, partitions: i32 },
    #[error("stopped")]
    Stopped,
}

impl From<KafkaError> for CursorsError {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error.to_string())
    }
}

/// One position as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCursor {
    pub cursor: Cursor,
    /// When it was committed; absent where this version cannot read the record.
    pub at: Option<Timestamp>,
    pub partition: i32,
}

pub(super) type Positions = BTreeMap<CursorKey, StoredCursor>;

/// Reads partitions of the cursors topic for all shards of this process, one at a time.
pub(super) struct CursorReader {
    topic: String,
    clients: Mutex<Clients>,
}

struct Clients {
    /// Sees committed records only; its high watermark is the last stable offset.
    committed: BaseConsumer<Quiet>,
    /// Sees the true high watermark.
    raw: BaseConsumer<Quiet>,
}

impl CursorReader {
    pub fn new(settings: &KafkaSettings) -> Result<Self, SettingsError> {
        let committed = settings.reader(&settings.owners_group())?.create_with_context(Quiet)?;
        let raw = settings.watermarks()?.create_with_context(Quiet)?;
        let topic = settings.topics.cursors.name.clone();
        Ok(Self { topic, clients: Mutex::new(Clients { committed, raw }) })
    }

    /// The positions of one partition, to its end. To be called by the shard's owner after it has fenced the owner
    /// before: then nobody else writes there.
    pub fn read(&self, partition: i32, go_on: impl Fn() -> bool) -> Result<HashMap<CursorKey, Cursor>, CursorsError> {
        let clients = lock(&self.clients);
        let deadline = Instant::now() + READ_LIMIT;
        if !self.wait_until_stable(&clients, partition, deadline, &go_on)? {
            return Ok(HashMap::new());
        }
        let positions = self.read_to_end(&clients.committed, &[partition], deadline, &go_on)?;
        self.check_moved(&positions)?;
        Ok(positions.into_iter().map(|(key, stored)| (key, stored.cursor)).collect())
    }

    /// All committed positions of the topic.
    pub fn read_all(&self, go_on: impl Fn() -> bool) -> Result<Positions, CursorsError> {
        let clients = lock(&self.clients);
        let metadata = clients.committed.fetch_metadata(Some(&self.topic), WATERMARK_LIMIT)?;
        let partitions: Vec<_> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        if partitions.is_empty() {
            return Err(CursorsError::Kafka(format!("topic {} does not exist", self.topic)));
        }
        self.read_to_end(&clients.committed, &partitions, Instant::now() + READ_LIMIT, go_on)
    }

    /// Whether every position lies where this number of shards puts it, and still in this topic. With another number
    /// than that with which it was written, an owner would not find it, and would begin its source anew.
    pub fn check_placement(&self, shards: i32, go_on: impl Fn() -> bool) -> Result<(), CursorsError> {
        let positions = self.read_all(go_on)?;
        self.check_moved(&positions)?;
        let misplaced = positions.iter().find(|(key, stored)| stored.partition != shard_of(&key.instance, shards));
        match misplaced {
            None => Ok(()),
            Some((key, stored)) => Err(CursorsError::Misplaced {
                topic: self.topic.clone(),
                instance: key.instance.clone(),
                stream: key.stream.clone(),
                partition: stored.partition,
                shard: shard_of(&key.instance, shards),
                shards,
            }),
        }
    }

    fn check_moved(&self, positions: &Positions) -> Result<(), CursorsError> {
        match positions.iter().find_map(|(key, stored)| moved_to(key, &stored.cursor)) {
            Some((to, partitions)) => Err(CursorsError::Moved { from: self.topic.clone(), to, partitions }),
            None => Ok(()),
        }
    }

    /// How many partitions the cursors topic has; none: it does not exist.
    pub fn partitions(&self, limit: Duration) -> Result<i32, CursorsError> {
        let clients = lock(&self.clients);
        let metadata = clients.raw.fetch_metadata(Some(&self.topic), limit)?;
        let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// Serves librdkafka's queues between reads, unless somebody reads.
    pub fn idle(&self) {
        if let Ok(clients) = self.clients.try_lock() {
            let _ = clients.committed.poll(Duration::ZERO);
            let _ = clients.raw.poll(Duration::ZERO);
        }
    }

    /// The end of a partition comes at the last stable offset while a transaction is open: waits until that is what the
    /// high watermark was at first. Says whether the partition holds anything.
    fn wait_until_stable(
        &self,
        clients: &Clients,
        partition: i32,
        deadline: Instant,
        go_on: impl Fn() -> bool,
    ) -> Result<bool, CursorsError> {
        // What the owner before wrote lies below; behind it others (jobs) may go on writing.
        let (low, high) = clients.raw.fetch_watermarks(&self.topic, partition, WATERMARK_LIMIT)?;
        loop {
            let (_, stable) = clients.committed.fetch_watermarks(&self.topic, partition, WATERMARK_LIMIT)?;
            if stable >= high {
                return Ok(high > low);
            }
            if !go_on() {
                return Err(CursorsError::Stopped);
            }
            if Instant::now() > deadline {
                return Err(CursorsError::OpenTransaction { partition });
            }
            std::thread::sleep(OPEN_TRANSACTION_TICK);
        }
    }

    fn read_to_end(
        &self,
        consumer: &BaseConsumer<Quiet>,
        partitions: &[i32],
        deadline: Instant,
        go_on: impl Fn() -> bool,
    ) -> Result<Positions, CursorsError> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(&self.topic, *partition, Offset::Beginning)?;
        }
        consumer.incremental_assign(&list)?;
        let read = poll_to_end(consumer, partitions.iter().copied().collect(), deadline, go_on);
        let unassigned = consumer.incremental_unassign(&list);
        let positions = read?;
        unassigned?;
        Ok(positions)
    }
}

fn poll_to_end(
    consumer: &BaseConsumer<Quiet>,
    mut open: BTreeSet<i32>,
    deadline: Instant,
    go_on: impl Fn() -> bool,
) -> Result<Positions, CursorsError> {
    let mut found = Found::default();
    let mut last_error = None;
    while let Some(&partition) = open.first() {
        match consumer.poll(POLL_SLICE) {
            Some(Ok(message)) if open.contains(&message.partition()) => found.note(&message),
            Some(Err(KafkaError::PartitionEOF(ended))) => {
                open.remove(&ended);
            }
            Some(Ok(_)) | None => {}
            Some(Err(error)) => last_error = Some(error),
        }
        if !go_on() {
            return Err(CursorsError::Stopped);
        }
        if Instant::now() > deadline {
            return Err(last_error.map_or(CursorsError::Slow { partition }, CursorsError::from));
        }
    }
    Ok(found.positions())
}

/// What each partition holds, apart: they are read in any order, and what one of them held before a position was moved must
/// not hide where it lies now.
#[derive(Default)]
struct Found(BTreeMap<CursorKey, BTreeMap<i32, (Cursor, Option<Timestamp>)>>);

impl Found {
    fn note(&mut self, message: &impl Message) {
        let partition = message.partition();
        match message.key().and_then(decode_key) {
            Some(key) => self.put(key, partition, message.payload().map(decode_value)),
            None => {
                tracing::warn!(partition, offset = message.offset(), "a record of the cursors topic is not Inlet's");
            }
        }
    }

    /// Within a partition the last record counts.
    fn put(&mut self, key: CursorKey, partition: i32, value: Option<(Cursor, Option<Timestamp>)>) {
        let places = self.0.entry(key).or_default();
        match value {
            Some(value) => drop(places.insert(partition, value)),
            None => drop(places.remove(&partition)),
        }
    }

    /// Of several partitions the later one counts.
    fn positions(self) -> Positions {
        let latest = |(key, places): (CursorKey, BTreeMap<i32, (Cursor, Option<Timestamp>)>)| {
            let (partition, (cursor, at)) = places.into_iter().max_by_key(|(_, (_, at))| *at)?;
            Some((key, StoredCursor { cursor, at, partition }))
        };
        self.0.into_iter().filter_map(latest).collect()
    }
}

/// All stored positions, by instance and stream: what `inlet cursors list` shows.
pub async fn list_cursors(settings: &KafkaSettings) -> Result<BTreeMap<CursorKey, StoredCursor>, CursorsError> {
    let reader = CursorReader::new(settings)?;
    let listed = tokio::task::spawn_blocking(move || reader.read_all(|| true));
    listed.await.map_err(|error| CursorsError::Kafka(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions are read in any order; the same position was moved to another one, and back.
    #[test]
    fn d3_a_position_that_was_moved_is_found_whatever_is_read_first() {
        let key = || CursorKey { instance: "mailbox".to_owned(), stream: connector_sdk::StreamId("INBOX".to_owned()) };
        let value = || Some((Cursor(serde_json::json!({ "n": 7 })), Some(Timestamp::UNIX_EPOCH)));
        let own = [(1, value()), (1, None), (1, value())];
        let other = [(3, value()), (3, None)];
        let orders =
            [own.iter().chain(&other).cloned().collect::<Vec<_>>(), other.iter().chain(&own).cloned().collect()];
        for records in orders {
            let mut found = Found::default();
            records.into_iter().for_each(|(partition, value)| found.put(key(), partition, value));
            let positions = found.positions();
            assert_eq!(positions.get(&key()).map(|stored| stored.partition), Some(1));
        }
    }
}
