//! Reads a topic from a moment on to the end that it had, and further: for whoever has to know what is there. Blocks its
//! thread.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::ConsumeError;
use super::reached::Reached;
use super::tail::is_passing;
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::record::TopicRole;

/// One question to Kafka.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// What a reader sees of open and aborted transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Nothing, nor what comes behind an open one in its partition.
    Committed,
    /// Everything that is there.
    Uncommitted,
}

/// All partitions of one topic, each in its order.
pub struct Scan {
    consumer: BaseConsumer<Reached>,
    /// Kafka's word that nothing more is there is not enough: see [`Reached`].
    whole: bool,
    name: String,
    /// What is read next of each partition.
    next: HashMap<i32, i64>,
    /// Offsets that each partition's end had at the start, as far as they are not reached.
    ends: HashMap<i32, i64>,
    offsets: u64,
    shortened: usize,
}

impl Scan {
    /// From the records of `since` on (milliseconds since 1970), or from the beginning. Fails when Kafka does not answer
    /// within seconds or the topic is missing.
    pub fn open(
        settings: &KafkaSettings,
        role: TopicRole,
        since_millis: Option<i64>,
        isolation: Isolation,
    ) -> Result<Self, ConsumeError> {
        let name = &settings.topics.get(role).name;
        let consumer: BaseConsumer<Reached> = settings.scanner(isolation)?.create_with_context(Reached::default())?;
        let metadata = consumer.fetch_metadata(Some(name), CALL_LIMIT)?;
        let partitions: Vec<_> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        if partitions.is_empty() {
            return Err(ConsumeError::NoTopic(name.clone()));
        }
        let begins = begins(&consumer, name, &partitions, since_millis)?;
        let mut list = TopicPartitionList::new();
        let (mut next, mut ends, mut offsets, mut shortened) = (HashMap::new(), HashMap::new(), 0, 0);
        for partition in partitions {
            let (low, high) = consumer.fetch_watermarks(name, partition, CALL_LIMIT)?;
            shortened += usize::from(low > 0);
            // Records of that time that are gone, or not there yet.
            let begin = begins.get(&partition).copied().unwrap_or(low).clamp(low, high);
            list.add_partition_offset(name, partition, Offset::Offset(begin))?;
            next.insert(partition, begin);
            if begin < high {
                ends.insert(partition, high);
                offsets += high.abs_diff(begin);
            }
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, whole: false, name: name.clone(), next, ends, offsets, shortened })
    }

    /// The end is where Kafka says that all of it is, though right after a change of leaders not all is shown yet; records
    /// behind open transactions are waited for.
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Offsets between the begin and the end: about the number of records, for progress.
    pub fn offsets(&self) -> u64 {
        self.offsets
    }

    /// How many partitions no longer begin at their beginning.
    pub fn shortened(&self) -> usize {
        self.shortened
    }

    /// Moves the end to where it is now.
    pub fn extend(&mut self) -> Result<(), ConsumeError> {
        for (partition, next) in &self.next {
            let (_, high) = self.consumer.fetch_watermarks(&self.name, *partition, CALL_LIMIT)?;
            if *next < high {
                self.ends.insert(*partition, high);
            }
        }
        Ok(())
    }

    /// Everything that was there at the start, or when the end was moved, has been read.
    pub fn at_end(&self) -> bool {
        self.ends.is_empty()
    }

    /// The next record, or nothing within `wait` or while Kafka is away. Reads on behind the end.
    pub fn poll(&mut self, wait: Duration) -> Result<Option<BorrowedMessage<'_>>, ConsumeError> {
        let Self { consumer, ends, next, whole, .. } = self;
        match consumer.poll(wait) {
            None => {
                // Nothing is on its way to here: all before the place where the end was has been seen.
                ends.retain(|partition, end| {
                    let has_passed = consumer.context().has_passed(*partition, *end);
                    if has_passed {
                        next.insert(*partition, *end);
                    }
                    !has_passed
                });
                Ok(None)
            }
            Some(Ok(message)) => {
                next.insert(message.partition(), message.offset() + 1);
                if ends.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
                    ends.remove(&message.partition());
                }
                Ok(Some(message))
            }
            // The last offsets may be those of transaction markers, which no reader sees.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                if !*whole && let Some(end) = ends.remove(&partition) {
                    next.insert(partition, end);
                }
                Ok(None)
            }
            Some(Err(error)) if is_passing(&error) => {
                tracing::debug!(%error, "scan waits");
                Ok(None)
            }
            Some(Err(error)) => Err(error.into()),
        }
    }
}

/// The first offset of that time, a partition; absent: from its beginning.
fn begins(
    consumer: &BaseConsumer<Reached>,
    name: &str,
    partitions: &[i32],
    since_millis: Option<i64>,
) -> Result<HashMap<i32, i64>, ConsumeError> {
    let Some(since) = since_millis else { return Ok(HashMap::new()) };
    let mut times = TopicPartitionList::new();
    for partition in partitions {
        times.add_partition_offset(name, *partition, Offset::Offset(since.max(0)))?;
    }
    let found = consumer.offsets_for_times(times, CALL_LIMIT)?;
    let mut begins = HashMap::new();
    for element in found.elements() {
        // A new leader that does not know yet gives an error and, with it, the offset that means 'nothing is as young'.
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => drop(begins.insert(element.partition(), offset)),
            Offset::End => drop(begins.insert(element.partition(), i64::MAX)),
            _ => {}
        }
    }
    Ok(begins)
}
