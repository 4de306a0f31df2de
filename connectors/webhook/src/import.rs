//! JSON from files, as if it had been sent.

use connector_sdk::import::{Format, Import, Message};
use connector_sdk::{RawEvent, Wire};

/// Longest line that is read.
const MAX_BYTES: u64 = 16 << 20;

pub struct JsonImport;

impl Import for JsonImport {
    fn formats(&self) -> &'static [Format] {
        &[Format::Json]
    }

    fn max_bytes(&self) -> u64 {
        MAX_BYTES
    }

    /// A line that was cut is no JSON any more, and is rejected as such.
    fn raw(&self, message: Message) -> RawEvent {
        let mut raw = RawEvent::new(Wire::Http, message.bytes, message.now);
        raw.method = "POST".to_owned();
        raw.headers.push("content-type", "application/json");
        raw
    }
}
