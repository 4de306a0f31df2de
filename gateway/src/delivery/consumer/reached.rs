//! How far a reader has come, behind what it can see: librdkafka says that it is at a partition's end, but not where that
//! was. Only its statistics do.
//!
//! It matters right after a broker became leader: until its followers have asked it, it shows less than what is safe, and a
//! reader is at "the end" before the records that it came for.

use std::collections::HashMap;
use std::sync::Mutex;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use serde::Deserialize;

use crate::delivery::link::{Quiet, lock};

/// How often librdkafka tells.
pub const INTERVAL_MILLIS: &str = "200";

/// The offset at which each partition's reader last was at the end: the markers of transactions, which no reader sees,
/// are counted.
#[derive(Default)]
pub struct Reached(Mutex<HashMap<i32, i64>>);

impl Reached {
    pub fn has_passed(&self, partition: i32, end: i64) -> bool {
        lock(&self.0).get(&partition).is_some_and(|offset| *offset >= end)
    }

    fn read(&self, statistics: &[u8]) -> serde_json::Result<()> {
        let statistics: Statistics = serde_json::from_slice(statistics)?;
        let partitions = statistics.topics.into_values().flat_map(|topic| topic.partitions);
        let reached = partitions.filter_map(|(id, partition)| Some((id.parse().ok()?, partition.eof_offset)));
        lock(&self.0).extend(reached);
        Ok(())
    }
}

impl ClientContext for Reached {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Quiet.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Err(error) = self.read(statistics) {
            tracing::debug!(%error, "librdkafka statistics are not readable");
        }
    }
}

impl ConsumerContext for Reached {}

/// The few of librdkafka's figures that are used (its STATISTICS.md).
#[derive(Deserialize)]
struct Statistics {
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    eof_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_end_is_read_from_the_statistics() {
        let reached = Reached::default();
        let statistics = |offset: i64| {
            format!(
                r#"{{"name":"c","topics":{{"t":{{"topic":"t","partitions":{{
                   "0":{{"partition":0,"eof_offset":{offset},"hi_offset":9}},
                   "-1":{{"partition":-1,"eof_offset":-1001}}}}}}}}}}"#
            )
        };
        reached.read(statistics(-1001).as_bytes()).expect("is read");
        assert!(!reached.has_passed(0, 0) && !reached.has_passed(1, 0));
        reached.read(statistics(7).as_bytes()).expect("is read");
        assert!(reached.has_passed(0, 7) && !reached.has_passed(0, 8));
    }
}
