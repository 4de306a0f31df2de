//! What a look at the topics found, and what to do about it.

use std::fmt;

use crate::pipeline::record::TopicRole;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Told once.
    Note,
    /// Works, but not as configured.
    Warning,
    /// Must not work like this: input would be refused, or positions lost.
    Error,
}

/// One finding about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub role: TopicRole,
    pub topic: String,
    pub fault: Fault,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    Created,
    /// Another replica was faster.
    CreatedByOther,
    Missing,
    NotCreated {
        reason: String,
    },
    NoRights {
        operation: &'static str,
    },
    Partitions {
        found: i32,
        configured: i32,
    },
    Cleanup {
        found: String,
        reason: &'static str,
        wanted: &'static str,
    },
    /// In milliseconds.
    Retention {
        found: i64,
        configured: i64,
    },
    MessageBytes {
        found: usize,
        needed: usize,
    },
    Replication {
        found: i32,
        configured: i32,
    },
    InSync {
        min: i32,
        replication: i32,
    },
    /// The broker does not tell the topic's settings.
    Unchecked {
        reason: String,
    },
}

impl Finding {
    pub fn severity(&self) -> Severity {
        match (&self.fault, self.role) {
            (Fault::Created | Fault::CreatedByOther, _) => Severity::Note,
            (Fault::Partitions { .. }, TopicRole::Cursors) => Severity::Error,
            (Fault::Partitions { .. }, _) => Severity::Note,
            (Fault::Retention { .. } | Fault::Replication { .. } | Fault::InSync { .. }, _) => Severity::Warning,
            (Fault::Unchecked { .. }, _) => Severity::Warning,
            (Fault::Missing | Fault::NotCreated { .. } | Fault::NoRights { .. }, _) => Severity::Error,
            (Fault::Cleanup { .. } | Fault::MessageBytes { .. }, _) => Severity::Error,
        }
    }

    /// What to do, in one sentence; empty where there is nothing.
    pub fn remedy(&self) -> String {
        let (topic, role) = (&self.topic, self.role.as_str());
        let alter = |setting: String| {
            format!(
                "set it: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}"
            )
        };
        match &self.fault {
            Fault::Created | Fault::CreatedByOther => String::new(),
            Fault::Missing => "create it as `inlet topics print` says, or set topics.create: true".to_owned(),
            Fault::NotCreated { .. } => {
                format!("on fewer brokers set topics.{role}.replication, or create it as `inlet topics print` says")
            }
            Fault::NoRights { .. } => "grant the ACLs that `inlet topics print` lists".to_owned(),
            Fault::Partitions { found, .. } if self.role == TopicRole::Cursors => format!(
                "instances are placed by that number: set topics.cursors.partitions: {found} if the topic was made so; if \
                 somebody altered the topic, run `inlet cursors reshard --partitions {found}` first"
            ),
            Fault::Partitions { .. } => "the configured number counts only when the topic is created".to_owned(),
            Fault::Cleanup { wanted, .. } => alter(format!("cleanup.policy={wanted}")),
            Fault::Retention { configured, .. } => alter(format!("retention.ms={configured}")),
            Fault::MessageBytes { needed, .. } => {
                alter(format!("max.message.bytes={needed}")) + ", or lower kafka.properties.message.max.bytes"
            }
            Fault::Replication { .. } => {
                format!("add replicas with kafka-reassign-partitions.sh, or set topics.{role}.replication")
            }
            Fault::InSync { .. } => alter("min.insync.replicas=2".to_owned()),
            Fault::Unchecked { .. } => "grant DescribeConfigs on the topic to have it checked".to_owned(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}: ", self.topic)?;
        match &self.fault {
            Fault::Created => write!(f, "created")?,
            Fault::CreatedByOther => write!(f, "created by another replica")?,
            Fault::Missing => write!(f, "does not exist")?,
            Fault::NotCreated { reason } => write!(f, "could not be created: {reason}")?,
            Fault::NoRights { operation } => write!(f, "no right to {operation} it")?,
            Fault::Partitions { found, configured } => {
                write!(f, "has {found} partitions, configured are {configured}")?
            }
            Fault::Cleanup { found, reason, .. } => write!(f, "cleanup.policy is {found}; it {reason}")?,
            Fault::Retention { found, configured } => {
                write!(f, "keeps records for {found} ms, configured are {configured} ms")?;
            }
            Fault::MessageBytes { found, needed } => {
                write!(f, "takes records of {found} bytes, records of {needed} bytes can be sent")?;
            }
            Fault::Replication { found, configured } => write!(f, "has {found} replicas, configured are {configured}")?,
            Fault::InSync { min, replication } => {
                write!(f, "confirms a record that {min} of {replication} replicas has")?;
            }
            Fault::Unchecked { reason } => write!(f, "its settings could not be checked: {reason}")?,
        }
        match self.remedy() {
            remedy if remedy.is_empty() => Ok(()),
            remedy => write!(f, "; {remedy}"),
        }
    }
}
