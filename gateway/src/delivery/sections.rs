//! The `kafka` and `topics` sections of the configuration file. Doc comments become the reference.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use super::settings::KafkaSettings;
use super::topic_settings::{TopicSettings, Topics};
use crate::config::model::Span;

/// How to reach Kafka.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSection {
    /// Some brokers, as `host:port`; the others are learnt from them.
    pub brokers: Vec<String>,
    /// Any librdkafka property (TLS, SASL, tuning). Those on which the delivery contract rests (`acks`, `transactional.id`, …) are refused.
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
    /// Name in the brokers' logs and quotas.
    #[serde(default = "default_client_id")]
    pub client_id: String,
}

fn default_client_id() -> String {
    KafkaSettings::DEFAULT_CLIENT_ID.to_owned()
}

/// Inlet's topics.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicsSection {
    /// Whether missing topics are created. With `false`, `inlet topics print` says what to create.
    pub create: bool,
    /// Unified events; key: the conversation.
    pub events: TopicSection,
    /// What could not be parsed or published.
    pub deadletter: TopicSection,
    /// Orders to fetch media and details.
    pub fetches: TopicSection,
    /// Positions of polled sources. The number of partitions is the number of shards and fixed for the topic's life.
    pub cursors: TopicSection,
    /// Redacted raw inputs, for `inlet replay`; see `raw`.
    pub raw: TopicSection,
    /// Ids of events that are published, by which replicas recognise redeliveries; see `seen`.
    pub seen: TopicSection,
}

impl Default for TopicsSection {
    fn default() -> Self {
        let topic = TopicSection::default;
        Self {
            create: true,
            events: topic(),
            deadletter: topic(),
            fetches: topic(),
            cursors: topic(),
            raw: topic(),
            seen: topic(),
        }
    }
}

/// One topic; what is not said keeps its default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSection {
    /// The topic's name.
    pub name: Option<String>,
    /// Partitions of a topic that Inlet creates.
    pub partitions: Option<i32>,
    /// Replicas of a topic that Inlet creates; 1 on a single broker.
    pub replication: Option<i32>,
    /// How long records are kept in a topic that Inlet creates: a span such as `30d`, or `forever`.
    pub retention: Option<Retention>,
}

impl KafkaSection {
    /// Together with the topics: what the delivery lanes need.
    pub fn settings(&self, topics: &TopicsSection) -> KafkaSettings {
        KafkaSettings {
            brokers: self.brokers.clone(),
            properties: self.properties.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect(),
            topics: topics.settings(),
            client_id: self.client_id.clone(),
            ..KafkaSettings::new(Vec::new())
        }
    }
}

impl TopicsSection {
    pub fn settings(&self) -> Topics {
        let defaults = Topics::default();
        Topics {
            create: self.create,
            events: self.events.over(defaults.events),
            deadletter: self.deadletter.over(defaults.deadletter),
            fetches: self.fetches.over(defaults.fetches),
            cursors: self.cursors.over(defaults.cursors),
            raw: self.raw.over(defaults.raw),
            seen: self.seen.over(defaults.seen),
        }
    }
}

impl TopicSection {
    fn over(&self, default: TopicSettings) -> TopicSettings {
        TopicSettings {
            name: self.name.clone().unwrap_or(default.name),
            partitions: self.partitions.unwrap_or(default.partitions),
            replication: self.replication.unwrap_or(default.replication),
            retention: self.retention.map_or(default.retention, |r| r.0),
            cleanup: default.cleanup,
        }
    }
}

/// A property's value as text; never shown, it may be a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Property(pub String);

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a text, a number, true or false")]
        enum Written {
            Text(String),
            Whole(i64),
            Flag(bool),
            Decimal(f64),
        }
        Ok(Self(match Written::deserialize(d)? {
            Written::Text(text) => text,
            Written::Whole(number) => number.to_string(),
            Written::Flag(flag) => flag.to_string(),
            Written::Decimal(number) => number.to_string(),
        }))
    }
}

impl JsonSchema for Property {
    fn schema_name() -> Cow<'static, str> {
        "Property".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "description": "Value of a librdkafka property." })
    }
}

/// How long a topic keeps records; absent inside: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention(pub Option<Duration>);

const FOREVER: &str = "forever";

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == FOREVER {
            return Ok(Self(None));
        }
        let span = Span::deserialize(serde::de::value::StringDeserializer::<serde::de::value::Error>::new(text))
            .map_err(|error| serde::de::Error::custom(format!("{error}; or {FOREVER}")))?;
        Ok(Self(Some(span.0)))
    }
}

impl JsonSchema for Retention {
    fn schema_name() -> Cow<'static, str> {
        "Retention".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|forever)$",
            "description": "How long records are kept: 7d, 30d, or forever."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_said_keeps_its_default() {
        let topics: TopicsSection = serde_json::from_value(json!({
            "events": { "name": "support.events", "retention": "forever" },
            "fetches": { "retention": "2d", "replication": 1 }
        }))
        .expect("reads");
        let topics = topics.settings();
        assert_eq!(topics.events.name, "support.events");
        assert_eq!((topics.events.partitions, topics.events.retention), (12, None));
        assert_eq!(topics.fetches.retention, Some(Duration::from_secs(2 * 86_400)));
        assert_eq!(topics.cursors, Topics::default().cursors);
    }

    #[test]
    fn properties_are_text_and_never_shown() {
        let kafka: KafkaSection = serde_json::from_value(json!({
            "brokers": ["a:9092"], "properties": { "linger.ms": 5, "sasl.password": "hunter2", "a": true }
        }))
        .expect("reads");
        assert!(!format!("{kafka:?}").contains("hunter2"));
        let settings = kafka.settings(&TopicsSection::default());
        assert_eq!(settings.properties["linger.ms"], "5");
        assert_eq!(settings.properties["a"], "true");
        assert_eq!(settings.client_id, "inlet");
    }

    #[test]
    fn unknown_keys_and_bad_spans_are_refused() {
        assert!(serde_json::from_value::<TopicsSection>(json!({ "event": {} })).is_err());
        let error = serde_json::from_value::<TopicSection>(json!({ "retention": "soon" })).unwrap_err().to_string();
        assert!(error.contains("'soon'") && error.contains("forever"), "{error}");
    }
}
