//! What goes to Kafka, before it meets a client library.

use bytes::Bytes;

/// Which of Inlet's topics a record belongs to; their names are configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicRole {
    Events,
    DeadLetter,
    Fetches,
    Cursors,
    Raw,
    Seen,
}

impl TopicRole {
    pub const ALL: [TopicRole; 6] =
        [Self::Events, Self::DeadLetter, Self::Fetches, Self::Cursors, Self::Raw, Self::Seen];

    /// Name in configuration and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::DeadLetter => "deadletter",
            Self::Fetches => "fetches",
            Self::Cursors => "cursors",
            Self::Raw => "raw",
            Self::Seen => "seen",
        }
    }
}

/// One record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: TopicRole,
    /// Kafka key.
    pub key: String,
    /// Empty: a tombstone, which takes earlier records of its key away in a compacted topic.
    pub value: Bytes,
    pub headers: Vec<(&'static str, String)>,
}

impl Record {
    /// Takes what has this key away, once the topic is compacted.
    pub fn tombstone(topic: TopicRole, key: impl Into<String>) -> Self {
        Self { topic, key: key.into(), value: Bytes::new(), headers: Vec::new() }
    }

    /// Bytes that count against a topic's `max.message.bytes`, with a margin for the record's own framing.
    pub fn wire_bytes(&self) -> usize {
        const FRAMING_BYTES: usize = 128;
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        self.key.len() + self.value.len() + headers + FRAMING_BYTES
    }
}

/// Sizes only: a value may hold personal data.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("key", &self.key)
            .field("value_bytes", &self.value.len())
            .finish()
    }
}
