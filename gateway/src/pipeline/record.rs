//! What goes to Kafka, before it meets a client library.

use bytes::Bytes;

/// Which of Inlet's topics a record belongs to; their names are configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicRole {
    Events,
    DeadLetter,
    Fetches,
    Cursors,
}

impl TopicRole {
    pub const ALL: [TopicRole; 4] = [Self::Events, Self::DeadLetter, Self::Fetches, Self::Cursors];

    /// Name in configuration and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::DeadLetter => "deadletter",
            Self::Fetches => "fetches",
            Self::Cursors => "cursors",
        }
    }
}

/// One record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: TopicRole,
    /// Kafka key.
    pub key: String,
    pub value: Bytes,
    pub headers: Vec<(&'static str, String)>,
}

impl Record {
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
