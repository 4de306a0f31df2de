//! Watches topics without being a member of any group.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{ConsumeError, Received};
use crate::delivery::link::Quiet;
use crate::delivery::settings::{KafkaSettings, Topics};
use crate::pipeline::record::TopicRole;

/// One question to Kafka.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// With what is there.
    Beginning,
    /// With what comes after [`Tail::open`] has returned.
    End,
}

/// All partitions of some topics, committed records only, in the order of each partition.
pub struct Tail {
    consumer: StreamConsumer<Quiet>,
    topics: Topics,
}

impl Tail {
    /// Fails when Kafka does not answer within seconds or a topic is missing.
    pub async fn open(settings: &KafkaSettings, roles: &[TopicRole], from: TailFrom) -> Result<Self, ConsumeError> {
        let consumer = settings.reader(&settings.tail_group())?.create_with_context(Quiet);
        let consumer: Arc<StreamConsumer<Quiet>> = Arc::new(consumer?);
        let names: Vec<_> = roles.iter().map(|role| settings.topics.get(*role).name.clone()).collect();
        let opened = tokio::task::spawn_blocking({
            let consumer = consumer.clone();
            move || assign(&consumer, &names, from)
        });
        opened.await.map_err(|error| ConsumeError::Kafka(error.to_string()))??;
        let consumer = Arc::into_inner(consumer).ok_or_else(|| ConsumeError::Kafka("still in use".to_owned()))?;
        Ok(Self { consumer, topics: settings.topics.clone() })
    }

    /// The next record. Waits through outages; an error is one that waiting does not repair. May be dropped and called
    /// again.
    pub async fn next(&mut self) -> Result<Received, ConsumeError> {
        loop {
            match self.consumer.recv().await {
                Ok(message) => {
                    if let Some(role) = self.topics.role_of(message.topic()) {
                        return Ok(Received::of(role, &message));
                    }
                }
                Err(error) if is_passing(&error) => tracing::debug!(%error, "tail waits"),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn assign(consumer: &StreamConsumer<Quiet>, names: &[String], from: TailFrom) -> Result<(), ConsumeError> {
    let mut list = TopicPartitionList::new();
    for name in names {
        let metadata = consumer.fetch_metadata(Some(name), CALL_LIMIT)?;
        let partitions: Vec<_> = metadata.topics().iter().flat_map(|t| t.partitions()).map(|p| p.id()).collect();
        if partitions.is_empty() {
            return Err(ConsumeError::NoTopic(name.clone()));
        }
        for partition in partitions {
            let offset = match from {
                TailFrom::Beginning => Offset::Beginning,
                // The end of now: asked later, it would skip what comes in between.
                TailFrom::End => Offset::Offset(consumer.fetch_watermarks(name, partition, CALL_LIMIT)?.1),
            };
            list.add_partition_offset(name, partition, offset)?;
        }
    }
    Ok(consumer.assign(&list)?)
}

/// Ends of partitions, broken connections, and the missing right to the group that is never joined.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::PartitionEOF(_) => true,
        KafkaError::MessageConsumptionFatal(_) => false,
        KafkaError::MessageConsumption(code) => !matches!(
            code,
            RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Authentication
        ),
        _ => false,
    }
}
