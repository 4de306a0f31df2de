//! What an operator says about Kafka, and the client settings that follow from it for each purpose.
//!
//! `properties` are librdkafka's own and override the defaults below, except for the few on which the delivery contract
//! rests: those are refused by name.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::consumer::{Isolation, reached};

pub use super::sections::{KafkaSection, Property, Retention, TopicSection, TopicsSection};
pub use super::topic_settings::{CleanupPolicy, TopicSettings, Topics};

/// Largest record (and batch) that a producer sends unless `message.max.bytes` says otherwise; Kafka's topics take
/// 1,048,588 by default, so that a batch of this size with its framing always fits.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_000_000;

/// Longest life of a transaction at the broker; an owner that dies in the middle of one holds readers back that long at
/// most, and only until the next owner initialises.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Records of a transaction are given up before the transaction itself is.
const TRANSACTION_MESSAGE_TIMEOUT: Duration = Duration::from_secs(8);

/// A member of the owners' group that is silent for this long loses its shards.
const SESSION_TIMEOUT: Duration = Duration::from_secs(8);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The thread that polls the owners' group is never blocked for longer than a bounded release.
const OWNERS_MAX_POLL_INTERVAL: Duration = Duration::from_secs(60);
/// A fetch worker may hold a record while all its slots are busy with large downloads.
const FETCHES_MAX_POLL_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// A call that has its own time-out of two seconds, and has not returned after this, never will.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// Memory that the push lane may hold while Kafka does not take it.
const PUSH_QUEUE_KBYTES: usize = 64 * 1024;
const PUSH_QUEUE_RECORDS: usize = 100_000;
/// Memory of one shard's producer; holds at least one batch of the replay lane.
const SHARD_QUEUE_KBYTES: usize = 32 * 1024;

/// Kafka answers a scanner at once when there is something, and after this when there is nothing.
const SCAN_FETCH_WAIT: Duration = Duration::from_millis(500);
/// Memory that a scanner may read ahead.
const SCAN_QUEUE_KBYTES: usize = 16 * 1024;

/// How often librdkafka reports the state of its connections.
pub(super) const STATISTICS_INTERVAL: Duration = Duration::from_secs(2);

/// Properties that are not the operator's to set, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("bootstrap.servers", "set kafka.brokers"),
    ("metadata.broker.list", "set kafka.brokers"),
    ("client.id", "set kafka.client_id"),
    ("enable.idempotence", "the push lane keeps order and suppresses its own repeats by it"),
    ("enable.gapless.guarantee", "one record that is given up would end the producer"),
    ("acks", "a record counts as safe only when every in-sync replica has it"),
    ("request.required.acks", "a record counts as safe only when every in-sync replica has it"),
    ("retries", "the deadline bounds the retries"),
    ("message.send.max.retries", "the deadline bounds the retries"),
    ("message.timeout.ms", "it follows from the deadline of the push lane and of transactions"),
    ("delivery.timeout.ms", "it follows from the deadline of the push lane and of transactions"),
    ("transactional.id", "it names the shard, and fencing rests on it"),
    ("transaction.timeout.ms", "readers wait that long for a dead owner"),
    ("group.id", "it follows from the topics' names"),
    ("group.instance.id", "membership is dynamic"),
    ("group.protocol", "the classic protocol notices a dead owner in seconds"),
    ("partition.assignment.strategy", "ownership moves one shard at a time"),
    ("max.poll.interval.ms", "each consumer has its own"),
    ("isolation.level", "readers see committed records only"),
    ("enable.auto.commit", "a position is committed after the work is done"),
    ("enable.auto.offset.store", "a position is committed after the work is done"),
    ("auto.offset.reset", "each consumer has its own"),
    ("enable.partition.eof", "each consumer has its own"),
    ("statistics.interval.ms", "the connection's state is read from the statistics"),
    ("test.mock.num.brokers", "`inlet quickstart` starts an embedded broker"),
];

/// Other names that librdkafka has for properties with a default here; both at once would have no defined order.
const ALIASES: &[(&str, &str)] = &[
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
];

/// How to reach Kafka, and Inlet's topics in it.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port` of some brokers; the others are learnt from them.
    pub brokers: Vec<String>,
    /// librdkafka properties (TLS, SASL, tuning).
    pub properties: BTreeMap<String, String>,
    pub topics: Topics,
    /// Shown in the brokers' logs and quotas.
    pub client_id: String,
    /// A blocking call of the replay lane into the Kafka client that lasts longer has hung.
    pub call_limit: Duration,
}

/// Names of the properties only: values may be secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("topics", &self.topics)
            .field("client_id", &self.client_id)
            .finish()
    }
}

/// What is wrong with the settings, in terms of the configuration file. Never holds a property's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("kafka.brokers: at least one `host:port` is needed")]
    NoBrokers,
    #[error("kafka.properties.{key} cannot be set: {reason}")]
    Forbidden { key: String, reason: &'static str },
    #[error("kafka.properties.{key}: {reason}")]
    Property { key: String, reason: String },
    #[error("topics.{role}.{field}: {reason}")]
    Topic { role: &'static str, field: &'static str, reason: String },
    #[error("Kafka client: {0}")]
    Client(String),
}

impl From<KafkaError> for SettingsError {
    fn from(error: KafkaError) -> Self {
        match error {
            // The fourth field is the value, which may be a secret; librdkafka's text can repeat it.
            KafkaError::ClientConfig(_, text, key, value) => {
                let reason = if value.is_empty() { text } else { text.replace(&value, "…") };
                Self::Property { key, reason }
            }
            other => Self::Client(other.to_string()),
        }
    }
}

impl KafkaSettings {
    /// Default for `client_id`.
    pub const DEFAULT_CLIENT_ID: &'static str = "inlet";

    pub fn new(brokers: Vec<String>) -> Self {
        Self {
            brokers,
            properties: BTreeMap::new(),
            topics: Topics::default(),
            client_id: Self::DEFAULT_CLIENT_ID.to_owned(),
            call_limit: CALL_LIMIT,
        }
    }

    /// Everything that can be said without connecting: forbidden and unknown properties, bad values, impossible topics.
    pub fn check(&self) -> Result<(), Vec<SettingsError>> {
        let mut errors = self.topics.check();
        if self.brokers.iter().all(|b| b.trim().is_empty()) {
            errors.push(SettingsError::NoBrokers);
        }
        let (forbidden, free): (Vec<_>, Vec<_>) =
            self.properties.keys().partition(|key| FORBIDDEN.iter().any(|(name, _)| name == key));
        errors.extend(forbidden.into_iter().filter_map(|key| forbidden_reason(key)));
        for key in free {
            let mut config = ClientConfig::new();
            config.set(key, &self.properties[key]);
            if let Err(error) = config.create_native_config() {
                errors.push(error.into());
            }
        }
        if let Err(error) = self.max_message_bytes() {
            errors.push(error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Largest record that the producers send, key, value and headers together.
    pub fn max_message_bytes(&self) -> Result<usize, SettingsError> {
        const KEY: &str = "message.max.bytes";
        match self.properties.get(KEY) {
            None => Ok(DEFAULT_MAX_MESSAGE_BYTES),
            Some(text) => text.trim().parse().map_err(|_| SettingsError::Property {
                key: KEY.to_owned(),
                reason: "expects a number of bytes".to_owned(),
            }),
        }
    }

    /// The push lane's producer. `deadline`: how long a record may wait for its confirmation.
    pub(super) fn push(&self, deadline: Duration) -> Result<ClientConfig, SettingsError> {
        let mut config = self.producer(deadline, "1", PUSH_QUEUE_KBYTES)?;
        config.set("enable.idempotence", "true");
        config.set("queue.buffering.max.messages", PUSH_QUEUE_RECORDS.to_string());
        config.set("statistics.interval.ms", millis(STATISTICS_INTERVAL));
        self.overridden(config)
    }

    /// The producer of one shard of the replay lane.
    pub(super) fn shard(&self, shard: i32) -> Result<ClientConfig, SettingsError> {
        self.transactional(&self.transactional_id(shard))
    }

    /// A producer of the replay lane under any transactional id.
    pub(super) fn transactional(&self, id: &str) -> Result<ClientConfig, SettingsError> {
        let mut config = self.producer(TRANSACTION_MESSAGE_TIMEOUT, "0", SHARD_QUEUE_KBYTES)?;
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", millis(TRANSACTION_TIMEOUT));
        self.overridden(config)
    }

    fn producer(&self, timeout: Duration, linger: &str, kbytes: usize) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("acks", "all");
        config.set("message.timeout.ms", millis(timeout));
        config.set("linger.ms", linger);
        config.set("compression.type", "lz4");
        config.set("message.max.bytes", DEFAULT_MAX_MESSAGE_BYTES.to_string());
        config.set("queue.buffering.max.kbytes", kbytes.to_string());
        // As the Java client does: a join with a topic written by it finds equal keys on equal partitions.
        config.set("partitioner", "murmur2_random");
        Ok(config)
    }

    /// Membership in the group whose members own the shards.
    pub(super) fn owners(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("group.id", self.owners_group());
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("enable.auto.commit", "false");
        config.set("session.timeout.ms", millis(SESSION_TIMEOUT));
        config.set("heartbeat.interval.ms", millis(HEARTBEAT));
        config.set("max.poll.interval.ms", millis(OWNERS_MAX_POLL_INTERVAL));
        self.overridden(config)
    }

    /// A reader with partitions of its own choice. It is in no group; librdkafka wants a name all the same.
    pub(super) fn reader(&self, group: &str) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("group.id", group);
        config.set("enable.auto.commit", "false");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest");
        config.set("fetch.wait.max.ms", "20");
        self.overridden(config)
    }

    /// A reader of whole topics, which waits for news without asking all the time.
    pub(super) fn scanner(&self, isolation: Isolation) -> Result<ClientConfig, SettingsError> {
        let mut config = self.reader(&self.tail_group())?;
        config.set("fetch.wait.max.ms", millis(SCAN_FETCH_WAIT));
        config.set("queued.max.messages.kbytes", SCAN_QUEUE_KBYTES.to_string());
        config.set("statistics.interval.ms", reached::INTERVAL_MILLIS);
        if isolation == Isolation::Uncommitted {
            config.set("isolation.level", "read_uncommitted");
        }
        self.overridden(config)
    }

    /// Asks for watermarks as they are, open transactions included.
    pub(super) fn watermarks(&self) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("isolation.level", "read_uncommitted");
        self.overridden(config)
    }

    /// Workers that share a topic and commit what they have done.
    pub(super) fn workers(&self, group: &str) -> Result<ClientConfig, SettingsError> {
        let mut config = self.client()?;
        config.set("group.id", group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "true");
        config.set("auto.commit.interval.ms", "1000");
        config.set("enable.auto.offset.store", "false");
        config.set("auto.offset.reset", "earliest");
        config.set("session.timeout.ms", millis(SESSION_TIMEOUT));
        config.set("heartbeat.interval.ms", millis(HEARTBEAT));
        config.set("max.poll.interval.ms", millis(FETCHES_MAX_POLL_INTERVAL));
        // Orders are small; what waits in memory would be done again elsewhere after a crash.
        config.set("queued.min.messages", "100");
        self.overridden(config)
    }

    pub(super) fn admin(&self) -> Result<ClientConfig, SettingsError> {
        let config = self.client()?;
        self.overridden(config)
    }

    fn client(&self) -> Result<ClientConfig, SettingsError> {
        if self.brokers.iter().all(|b| b.trim().is_empty()) {
            return Err(SettingsError::NoBrokers);
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        config.set("bootstrap.servers", self.brokers.join(","));
        config.set("client.id", &self.client_id);
        // After an outage the first attempts come soon, also when it lasted long.
        config.set("reconnect.backoff.max.ms", "2000");
        config.set("socket.keepalive.enable", "true");
        config.set("allow.auto.create.topics", "false");
        // A topic that was missing, or to which the rights were missing, is looked at again this often.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        Ok(config)
    }

    fn overridden(&self, mut config: ClientConfig) -> Result<ClientConfig, SettingsError> {
        for (key, value) in &self.properties {
            if let Some(error) = forbidden_reason(key) {
                return Err(error);
            }
            if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| alias == key) {
                config.remove(name);
            }
            config.set(key, value);
        }
        config.create_native_config()?;
        Ok(config)
    }

    /// Names follow from the cursors topic, so that two deployments on one cluster never fence each other.
    pub fn transactional_id(&self, shard: i32) -> String {
        format!("{}{shard}", self.transactional_id_prefix())
    }

    pub fn transactional_id_prefix(&self) -> String {
        format!("{}-", self.topics.cursors.name)
    }

    pub fn owners_group(&self) -> String {
        format!("{}-owners", self.topics.cursors.name)
    }

    pub fn fetches_group(&self) -> String {
        format!("{}-workers", self.topics.fetches.name)
    }

    pub fn tail_group(&self) -> String {
        format!("{}-tail", self.topics.events.name)
    }
}

fn forbidden_reason(key: &str) -> Option<SettingsError> {
    let (_, reason) = FORBIDDEN.iter().find(|(name, _)| *name == key)?;
    Some(SettingsError::Forbidden { key: key.to_owned(), reason })
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaConfRes;

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        let mut settings = KafkaSettings::new(vec!["127.0.0.1:9092".to_owned()]);
        settings.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings
    }

    #[test]
    fn every_purpose_is_a_valid_librdkafka_configuration() {
        let s = settings(&[]);
        assert_eq!(s.check(), Ok(()));
        for config in [
            s.push(Duration::from_secs(2)),
            s.shard(3),
            s.owners(),
            s.reader(&s.owners_group()),
            s.watermarks(),
            s.workers(&s.fetches_group()),
            s.admin(),
        ] {
            config.expect("valid").create_native_config().expect("known to librdkafka");
        }
    }

    #[test]
    fn forbidden_properties_are_named_with_a_reason() {
        let errors = settings(&[("acks", "1"), ("enable.idempotence", "false")]).check().unwrap_err();
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(text[0].starts_with("kafka.properties.acks cannot be set: "), "{text:?}");
        assert!(text[1].starts_with("kafka.properties.enable.idempotence cannot be set: "), "{text:?}");
        assert!(settings(&[("acks", "1")]).push(Duration::from_secs(1)).is_err());
    }

    #[test]
    fn every_forbidden_property_is_one_that_librdkafka_knows() {
        for (key, _) in FORBIDDEN {
            let result = ClientConfig::new().set(*key, "1").create_native_config();
            let unknown = matches!(
                result.as_ref().map(drop),
                Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..))
            );
            assert!(!unknown, "{key} is not a property");
        }
    }

    #[test]
    fn a_bad_value_is_named_and_not_repeated() {
        let errors = settings(&[("security.protocol", "hunter2")]).check().unwrap_err();
        let text = errors[0].to_string();
        assert!(text.starts_with("kafka.properties.security.protocol: "), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        let unknown = settings(&[("no.such.thing", "1")]).check().unwrap_err();
        assert!(unknown[0].to_string().starts_with("kafka.properties.no.such.thing: "), "{unknown:?}");
    }

    #[test]
    fn properties_override_also_by_their_other_names() {
        let config = settings(&[("queue.buffering.max.ms", "7")]).push(Duration::from_secs(1)).expect("valid");
        assert_eq!(config.get("linger.ms"), None);
        assert_eq!(config.get("queue.buffering.max.ms"), Some("7"));
    }

    #[test]
    fn debug_shows_no_values() {
        let text = format!("{:?}", settings(&[("sasl.password", "hunter2")]));
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn names_follow_the_cursors_topic() {
        let mut s = settings(&[]);
        assert_eq!(s.transactional_id(7), "inlet.cursors-7");
        s.topics.cursors.name = "eu.cursors".to_owned();
        assert_eq!(s.transactional_id(7), "eu.cursors-7");
        assert_eq!(s.owners_group(), "eu.cursors-owners");
    }
}
