//! What a topic must be like. Pure: from settings and answers to faults.

use std::collections::HashMap;

use rdkafka::admin::ConfigResource;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;

use super::finding::Fault;
use super::is_missing;
use crate::delivery::settings::{CleanupPolicy, TopicSettings};
use crate::delivery::topic_settings::cleanup_fault;
use crate::pipeline::record::TopicRole;

/// Kafka's own default for `max.message.bytes`.
const BROKER_MAX_MESSAGE_BYTES: usize = 1_048_588;
/// A batch's framing beyond the records that the producer counts.
const BATCH_FRAMING_BYTES: usize = 4 << 10;
/// Compaction never reaches the active segment: an hour's worth of cursors is what a new owner reads.
const CURSORS_SEGMENT_MS: u64 = 60 * 60 * 1000;
const CURSORS_SEGMENT_BYTES: u64 = 64 << 20;
/// Compact as soon as a tenth is outdated: owners read the whole partition, and it is small.
const CURSORS_DIRTY_RATIO: &str = "0.1";
/// What was erased is gone from the disks after this (a day later for whoever asks Kafka for tombstones).
const ERASED_WITHIN_MS: u64 = 6 * 60 * 60 * 1000;
/// Old ids go an hour at a time.
const SEEN_SEGMENT_MS: u64 = 60 * 60 * 1000;
/// With this many replicas or more, a record is confirmed only when two have it.
const SAFE_REPLICATION: i32 = 3;

/// A topic as Kafka's metadata shows it.
pub enum Found {
    Missing,
    NoRights,
    Present(Shape),
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub partitions: i32,
    pub replication: i32,
    pub has_leaders: bool,
}

pub fn found(topic: &MetadataTopic) -> Found {
    let error = topic.error();
    if error.is_some_and(is_missing) || (error.is_none() && topic.partitions().is_empty()) {
        return Found::Missing;
    }
    if error.is_some_and(|e| RDKafkaErrorCode::from(e) == RDKafkaErrorCode::TopicAuthorizationFailed) {
        return Found::NoRights;
    }
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    Found::Present(Shape {
        partitions: count(topic.partitions().len()),
        replication: topic.partitions().iter().map(|p| count(p.replicas().len())).min().unwrap_or(0),
        has_leaders: topic.partitions().iter().all(|p| p.leader() >= 0),
    })
}

/// A topic's effective settings at the broker.
pub struct TopicConfig(HashMap<String, String>);

impl TopicConfig {
    pub fn of(resource: &ConfigResource) -> Self {
        let entries = resource.entries.iter();
        Self(entries.filter_map(|e| Some((e.name.clone(), e.value.clone()?))).collect())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.text(key)?.parse().ok()
    }
}

/// Settings with which a topic is created.
pub fn creation(role: TopicRole, topic: &TopicSettings, max_message_bytes: usize) -> Vec<(&'static str, String)> {
    let mut config = vec![("cleanup.policy", topic.cleanup.as_str().to_owned())];
    if topic.cleanup != CleanupPolicy::Compact {
        config.push(("retention.ms", retention_ms(topic).to_string()));
    }
    if role == TopicRole::Cursors {
        config.push(("segment.ms", CURSORS_SEGMENT_MS.to_string()));
        config.push(("segment.bytes", CURSORS_SEGMENT_BYTES.to_string()));
        config.push(("min.cleanable.dirty.ratio", CURSORS_DIRTY_RATIO.to_owned()));
    }
    match role {
        TopicRole::Raw | TopicRole::DeadLetter => {
            config.push(("max.compaction.lag.ms", ERASED_WITHIN_MS.to_string()));
        }
        TopicRole::Seen => config.push(("segment.ms", SEEN_SEGMENT_MS.to_string())),
        TopicRole::Events | TopicRole::Fetches | TopicRole::Cursors => {}
    }
    if topic.replication >= SAFE_REPLICATION {
        config.push(("min.insync.replicas", "2".to_owned()));
    }
    let needed = max_message_bytes + BATCH_FRAMING_BYTES;
    if needed > BROKER_MAX_MESSAGE_BYTES {
        config.push(("max.message.bytes", needed.to_string()));
    }
    config
}

/// Milliseconds, -1 for ever.
fn retention_ms(topic: &TopicSettings) -> i64 {
    topic.retention.map_or(-1, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

pub fn shape(topic: &TopicSettings, shape: &Shape) -> Vec<Fault> {
    let mut faults = Vec::new();
    if shape.partitions != topic.partitions {
        faults.push(Fault::Partitions { found: shape.partitions, configured: topic.partitions });
    }
    if shape.replication < topic.replication {
        faults.push(Fault::Replication { found: shape.replication, configured: topic.replication });
    }
    faults
}

pub fn config(
    role: TopicRole,
    topic: &TopicSettings,
    shape: &Shape,
    config: &TopicConfig,
    max_message_bytes: usize,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(text) = config.text("cleanup.policy") {
        let policy = CleanupPolicy::parse(text);
        if let Some(reason) = policy.and_then(|policy| cleanup_fault(role, policy)) {
            faults.push(Fault::Cleanup { found: text.to_owned(), reason, wanted: topic.cleanup.as_str() });
        }
        let deletes = policy.is_some_and(|policy| policy != CleanupPolicy::Compact);
        let configured = retention_ms(topic);
        if let Some(found) = config.number::<i64>("retention.ms")
            && deletes
            && shorter(found, configured)
        {
            faults.push(Fault::Retention { found, configured });
        }
    }
    let needed = max_message_bytes + BATCH_FRAMING_BYTES;
    if let Some(found) = config.number::<usize>("max.message.bytes")
        && found < needed
    {
        faults.push(Fault::MessageBytes { found, needed });
    }
    if let Some(min) = config.number::<i32>("min.insync.replicas")
        && min < 2
        && shape.replication >= SAFE_REPLICATION
    {
        faults.push(Fault::InSync { min, replication: shape.replication });
    }
    faults
}

fn shorter(found: i64, configured: i64) -> bool {
    found >= 0 && (configured < 0 || found < configured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::settings::{DEFAULT_MAX_MESSAGE_BYTES, Topics};

    fn answer(entries: &[(&str, &str)]) -> TopicConfig {
        TopicConfig(entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    const THREE: Shape = Shape { partitions: 32, replication: 3, has_leaders: true };

    #[test]
    fn what_inlet_creates_passes_its_own_check() {
        let topics = Topics::default();
        for bytes in [DEFAULT_MAX_MESSAGE_BYTES, 8_000_000] {
            for role in TopicRole::ALL {
                let topic = topics.get(role);
                let made = creation(role, topic, bytes);
                let entries: Vec<_> = made.iter().map(|(k, v)| (*k, v.as_str())).collect();
                assert_eq!(config(role, topic, &THREE, &answer(&entries), bytes), [], "{role:?}");
            }
        }
    }

    #[test]
    fn the_default_record_size_fits_kafkas_default() {
        let made = creation(TopicRole::Events, &Topics::default().events, DEFAULT_MAX_MESSAGE_BYTES);
        assert!(made.iter().all(|(key, _)| *key != "max.message.bytes"));
    }

    #[test]
    fn faults_are_found() {
        let topics = Topics::default();
        let bad = answer(&[
            ("cleanup.policy", "compact,delete"),
            ("retention.ms", "1000"),
            ("max.message.bytes", "1000"),
            ("min.insync.replicas", "1"),
        ]);
        let faults = config(TopicRole::Cursors, &topics.cursors, &THREE, &bad, DEFAULT_MAX_MESSAGE_BYTES);
        assert!(matches!(faults[0], Fault::Cleanup { wanted: "compact", .. }), "{faults:?}");
        assert!(matches!(faults[1], Fault::Retention { found: 1000, configured: -1 }), "{faults:?}");
        assert!(matches!(faults[2], Fault::MessageBytes { found: 1000, .. }), "{faults:?}");
        assert!(matches!(faults[3], Fault::InSync { min: 1, replication: 3 }), "{faults:?}");
        let one = Shape { partitions: 4, replication: 1, has_leaders: true };
        let faults = shape(&topics.cursors, &one);
        assert_eq!(faults[0], Fault::Partitions { found: 4, configured: 32 });
        assert_eq!(faults[1], Fault::Replication { found: 1, configured: 3 });
    }

    #[test]
    fn longer_retention_is_no_fault() {
        assert!(!shorter(-1, 1000) && !shorter(2000, 1000) && !shorter(-1, -1));
        assert!(shorter(500, 1000) && shorter(500, -1));
    }
}
