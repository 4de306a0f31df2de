//! Readers of Inlet's own topics: [`Tail`] for people who watch, [`Scan`] for whoever has to know what is there, [`GroupConsumer`] for workers that share the work.

mod group;
mod progress;
pub(in crate::delivery) mod reached;
mod scan;
mod tail;

pub use self::group::{GroupConsumer, Job};
pub use self::scan::{Isolation, Scan};
pub use self::tail::{Tail, TailFrom};

use bytes::Bytes;
use connector_sdk::Timestamp;
use rdkafka::message::{Headers, Message};

use super::settings::SettingsError;
use crate::pipeline::record::TopicRole;

/// A record as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: TopicRole,
    pub partition: i32,
    pub offset: i64,
    pub at: Option<Timestamp>,
    pub key: Option<String>,
    /// Values as text: Inlet's headers are.
    pub headers: Vec<(String, String)>,
    pub value: Bytes,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn of(topic: TopicRole, message: &impl Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            topic,
            partition: message.partition(),
            offset: message.offset(),
            at: message.timestamp().to_millis().and_then(Timestamp::from_unix_millis),
            key: message.key().map(text),
            headers: headers.map(|h| (h.key.to_owned(), h.value.map(text).unwrap_or_default())).collect(),
            value: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        }
    }
}

/// Sizes only: a value may hold personal data.
impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("value_bytes", &self.value.len())
            .finish()
    }
}

/// Why there is no next record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("topic {0} does not exist; `inlet topics print` says how to create it")]
    NoTopic(String),
    #[error("Kafka cannot be read: {0}")]
    Kafka(String),
}

impl From<rdkafka::error::KafkaError> for ConsumeError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        Self::Kafka(error.to_string())
    }
}
