//! `inlet topics print`: what Inlet needs from a Kafka that somebody else administers.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::check::creation;
use crate::delivery::settings::{CleanupPolicy, KafkaSettings, SettingsError};
use crate::pipeline::record::TopicRole;

/// One topic, as people ask about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicRow {
    pub role: &'static str,
    pub name: String,
    /// What the Kafka key is.
    pub key: &'static str,
    pub policy: &'static str,
    pub retention: String,
    pub partitions: i32,
    pub replication: i32,
    pub writer: &'static str,
    pub reader: &'static str,
    /// Settings with which it is created.
    pub config: Vec<(&'static str, String)>,
}

/// What a right is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "name", rename_all = "snake_case")]
pub enum Resource {
    Topic(String),
    Group(String),
    /// All transactional ids that begin like this.
    TransactionalIdPrefix(String),
}

/// One access right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acl {
    pub resource: Resource,
    pub operations: Vec<&'static str>,
}

/// Topics and rights of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicSheet {
    pub topics: Vec<TopicRow>,
    pub acls: Vec<Acl>,
}

impl TopicSheet {
    pub fn new(settings: &KafkaSettings) -> Result<Self, SettingsError> {
        let bytes = settings.max_message_bytes()?;
        let topics = TopicRole::ALL.into_iter().map(|role| row(settings, role, bytes)).collect();
        Ok(Self { topics, acls: acls(settings) })
    }

    /// For a terminal: one aligned line a topic, then one a right.
    pub fn to_table(&self) -> String {
        let head = ["TOPIC", "KEY", "POLICY", "RETENTION", "PARTITIONS", "REPLICAS", "WRITER", "READER"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.topics.iter().map(TopicRow::cells));
        let mut text = aligned(&rows);
        let mut rights = vec![["RESOURCE", "NAME", "OPERATIONS"].map(str::to_owned)];
        rights.extend(self.acls.iter().map(Acl::cells));
        text.push('\n');
        text + &aligned(&rights)
    }

    /// The same as commands of Kafka's own tools.
    pub fn to_commands(&self, bootstrap: &str, principal: &str) -> String {
        let mut text = String::new();
        for topic in &self.topics {
            let _ = write!(
                text,
                "kafka-topics.sh --bootstrap-server {bootstrap} --create --if-not-exists --topic {} --partitions {} \
                 --replication-factor {}",
                topic.name, topic.partitions, topic.replication
            );
            for (key, value) in &topic.config {
                let _ = write!(text, " --config {key}={value}");
            }
            text.push('\n');
        }
        for acl in &self.acls {
            let _ = write!(text, "kafka-acls.sh --bootstrap-server {bootstrap} --add --allow-principal {principal}");
            for operation in &acl.operations {
                let _ = write!(text, " --operation {operation}");
            }
            let _ = match &acl.resource {
                Resource::Topic(name) => writeln!(text, " --topic {name}"),
                Resource::Group(name) => writeln!(text, " --group {name}"),
                Resource::TransactionalIdPrefix(prefix) => {
                    writeln!(text, " --transactional-id {prefix} --resource-pattern-type prefixed")
                }
            };
        }
        text
    }
}

impl TopicRow {
    fn cells(&self) -> [String; 8] {
        [
            self.name.clone(),
            self.key.to_owned(),
            self.policy.to_owned(),
            self.retention.clone(),
            self.partitions.to_string(),
            self.replication.to_string(),
            self.writer.to_owned(),
            self.reader.to_owned(),
        ]
    }
}

impl Acl {
    fn cells(&self) -> [String; 3] {
        let (kind, name) = match &self.resource {
            Resource::Topic(name) => ("topic", name.clone()),
            Resource::Group(name) => ("group", name.clone()),
            Resource::TransactionalIdPrefix(prefix) => ("transactional id", format!("{prefix}*")),
        };
        [kind.to_owned(), name, self.operations.join(", ")]
    }
}

fn row(settings: &KafkaSettings, role: TopicRole, max_message_bytes: usize) -> TopicRow {
    let topic = settings.topics.get(role);
    let (key, writer, reader) = match role {
        TopicRole::Events => ("conversation", "inlet: ingress, sources, fetches", "your consumers; inlet tail"),
        TopicRole::DeadLetter => (
            "dead letter id",
            "inlet: ingress, sources, fetches; inlet replay, erase",
            "you; inlet tail, replay, erase",
        ),
        TopicRole::Fetches => ("what is to be fetched", "inlet: ingress, sources", "inlet: fetches"),
        TopicRole::Cursors => ("instance and stream", "inlet: sources", "inlet: sources, inlet cursors"),
        TopicRole::Raw => ("raw id", "inlet: ingress, sources, fetches; inlet replay, erase", "inlet replay, erase"),
        TopicRole::Seen => ("replica", "inlet: ingress, fetches", "inlet: ingress, fetches"),
    };
    TopicRow {
        role: role.as_str(),
        name: topic.name.clone(),
        key,
        policy: topic.cleanup.as_str(),
        retention: match topic.cleanup {
            CleanupPolicy::Compact => "newest of each key".to_owned(),
            _ => topic.retention.map_or("forever".to_owned(), span),
        },
        partitions: topic.partitions,
        replication: topic.replication,
        writer,
        reader,
        config: creation(role, topic, max_message_bytes),
    }
}

fn acls(settings: &KafkaSettings) -> Vec<Acl> {
    let topic = |role: TopicRole, also: &[&'static str]| {
        let mut operations = vec!["Write", "Describe", "DescribeConfigs"];
        operations.extend(also);
        if settings.topics.create {
            operations.push("Create");
        }
        Acl { resource: Resource::Topic(settings.topics.get(role).name.clone()), operations }
    };
    let group = |name: String| Acl { resource: Resource::Group(name), operations: vec!["Read", "Describe"] };
    vec![
        topic(TopicRole::Events, &["Read"]),
        topic(TopicRole::DeadLetter, &["Read"]),
        topic(TopicRole::Fetches, &["Read"]),
        topic(TopicRole::Cursors, &["Read"]),
        topic(TopicRole::Raw, &["Read"]),
        topic(TopicRole::Seen, &["Read"]),
        group(settings.owners_group()),
        group(settings.fetches_group()),
        group(settings.tail_group()),
        Acl {
            resource: Resource::TransactionalIdPrefix(settings.transactional_id_prefix()),
            operations: vec!["Write", "Describe"],
        },
    ]
}

fn span(duration: Duration) -> String {
    const UNITS: &[(&str, u128)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let millis = duration.as_millis();
    let unit = UNITS.iter().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{millis}ms"), |(name, factor)| format!("{}{name}", millis / factor))
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let line: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> TopicSheet {
        TopicSheet::new(&KafkaSettings::new(vec!["kafka:9092".to_owned()])).expect("valid")
    }

    #[test]
    fn the_table_names_every_topic_and_right() {
        let table = sheet().to_table();
        for word in ["inlet.events", "conversation", "30d", "inlet.cursors", "newest of each key", "inlet.cursors-*"] {
            assert!(table.contains(word), "{word} is missing:\n{table}");
        }
    }

    #[test]
    fn the_commands_create_and_grant_everything() {
        let text = sheet().to_commands("kafka:9092", "User:inlet");
        let creations = text.lines().filter(|l| l.contains(" --create ")).count();
        assert_eq!(creations, TopicRole::ALL.len());
        assert!(
            text.contains(
                "--topic inlet.cursors --partitions 32 --replication-factor 3 --config cleanup.policy=compact"
            )
        );
        assert!(text.contains("--transactional-id inlet.cursors- --resource-pattern-type prefixed"));
        assert!(text.lines().all(|l| l.contains("--bootstrap-server kafka:9092")));
    }

    #[test]
    fn spans_read_as_they_are_written() {
        assert_eq!(span(Duration::from_secs(30 * 86_400)), "30d");
        assert_eq!(span(Duration::from_secs(5_400)), "90m");
        assert_eq!(span(Duration::from_millis(1_500)), "1500ms");
    }
}
