//! Messages from files, for `inlet import`: the gateway finds them, the connector says what they would have been.

use bytes::Bytes;
use inlet_schemas::Timestamp;

use crate::raw::RawEvent;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Mails, RFC 5322.
    Mail,
    /// JSON values, each as the provider would have sent it.
    Json,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mails",
            Self::Json => "JSON",
        }
    }
}

/// One message of a file.
#[derive(Clone, Debug)]
pub struct Message {
    pub format: Format,
    /// At most [`Import::max_bytes`] of it.
    pub bytes: Bytes,
    /// Size of the whole, every line end counted as two bytes, where `bytes` was cut.
    pub whole_bytes: Option<u64>,
    /// When it was stored, where the file says.
    pub stored_at: Option<Timestamp>,
    /// When it is read.
    pub now: Timestamp,
}

/// Makes raw events of messages from files.
pub trait Import: Send + Sync {
    /// What this instance can take.
    fn formats(&self) -> &'static [Format];

    /// What is read of one message at most.
    fn max_bytes(&self) -> u64;

    /// The input that the live intake would have made of it, so that it gives the same ids. Total: what is no message is
    /// for `parse` to reject.
    fn raw(&self, message: Message) -> RawEvent;
}
