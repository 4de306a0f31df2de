//! Inlet's topics as the configuration names them.

use std::time::Duration;

use super::settings::SettingsError;
use crate::pipeline::record::TopicRole;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Kafka's limit for a topic's name.
const NAME_MAX_CHARS: usize = 249;
/// More than any sensible number; a typing error must not create a million partitions.
const PARTITIONS_MAX: i32 = 1_024;

/// What Kafka does with old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Removed after the retention.
    Delete,
    /// The newest record of each key stays.
    Compact,
    /// The newest record of each key stays until the retention.
    CompactDelete,
}

impl CleanupPolicy {
    /// As Kafka's `cleanup.policy` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
            Self::CompactDelete => "compact,delete",
        }
    }

    /// From a broker's answer, in whatever order.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
        match (words.contains(&"compact"), words.contains(&"delete")) {
            (true, true) => Some(Self::CompactDelete),
            (true, false) => Some(Self::Compact),
            (false, true) => Some(Self::Delete),
            (false, false) => None,
        }
    }

    fn deletes(self) -> bool {
        self != Self::Compact
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    pub name: String,
    pub partitions: i32,
    pub replication: i32,
    /// Absent: for ever. Of no meaning for a topic that is only compacted.
    pub retention: Option<Duration>,
    pub cleanup: CleanupPolicy,
}

/// All topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Whether missing topics are created.
    pub create: bool,
    pub events: TopicSettings,
    pub deadletter: TopicSettings,
    pub fetches: TopicSettings,
    /// Its number of partitions is the number of shards; it is fixed when the topic is created.
    pub cursors: TopicSettings,
    pub raw: TopicSettings,
    pub seen: TopicSettings,
}

impl Default for Topics {
    fn default() -> Self {
        let topic = |name: &str, partitions, retention, cleanup| TopicSettings {
            name: name.to_owned(),
            partitions,
            replication: 3,
            retention,
            cleanup,
        };
        Self {
            create: true,
            events: topic("inlet.events", 12, Some(30 * DAY), CleanupPolicy::Delete),
            deadletter: topic("inlet.deadletter", 3, Some(30 * DAY), CleanupPolicy::CompactDelete),
            fetches: topic("inlet.fetches", 6, Some(7 * DAY), CleanupPolicy::Delete),
            cursors: topic("inlet.cursors", 32, None, CleanupPolicy::Compact),
            raw: topic("inlet.raw", 6, Some(7 * DAY), CleanupPolicy::CompactDelete),
            seen: topic("inlet.seen", 1, Some(2 * DAY), CleanupPolicy::Delete),
        }
    }
}

impl Topics {
    pub fn get(&self, role: TopicRole) -> &TopicSettings {
        match role {
            TopicRole::Events => &self.events,
            TopicRole::DeadLetter => &self.deadletter,
            TopicRole::Fetches => &self.fetches,
            TopicRole::Cursors => &self.cursors,
            TopicRole::Raw => &self.raw,
            TopicRole::Seen => &self.seen,
        }
    }

    pub fn get_mut(&mut self, role: TopicRole) -> &mut TopicSettings {
        match role {
            TopicRole::Events => &mut self.events,
            TopicRole::DeadLetter => &mut self.deadletter,
            TopicRole::Fetches => &mut self.fetches,
            TopicRole::Cursors => &mut self.cursors,
            TopicRole::Raw => &mut self.raw,
            TopicRole::Seen => &mut self.seen,
        }
    }

    /// Sets the replication of every topic: 1 on a single broker.
    pub fn set_replication(&mut self, replication: i32) {
        for role in TopicRole::ALL {
            self.get_mut(role).replication = replication;
        }
    }

    /// Which role has a topic of this name.
    pub fn role_of(&self, name: &str) -> Option<TopicRole> {
        TopicRole::ALL.into_iter().find(|role| self.get(*role).name == name)
    }

    pub(super) fn check(&self) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        for role in TopicRole::ALL {
            let topic = self.get(role);
            let mut bad = |field, reason: String| {
                errors.push(SettingsError::Topic { role: role.as_str(), field, reason });
            };
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if topic.name.is_empty() || topic.name.len() > NAME_MAX_CHARS || !topic.name.chars().all(allowed) {
                bad("name", format!("expects 1 to {NAME_MAX_CHARS} letters, digits, '.', '_' or '-'"));
            }
            if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
                bad("partitions", format!("expects a number from 1 to {PARTITIONS_MAX}"));
            }
            if !(1..=i32::from(i16::MAX)).contains(&topic.replication) {
                bad("replication", "expects a number from 1 on".to_owned());
            }
            if self.role_of(&topic.name) != Some(role) {
                bad("name", format!("{} is also the name of another topic", topic.name));
            }
            if let Some(reason) = cleanup_fault(role, topic.cleanup) {
                bad("cleanup", reason.to_owned());
            }
        }
        errors
    }
}

/// Why a policy would lose what the topic is for.
pub(super) fn cleanup_fault(role: TopicRole, cleanup: CleanupPolicy) -> Option<&'static str> {
    match role {
        TopicRole::Cursors if cleanup.deletes() => {
            Some("must be `compact`: a deleted cursor makes its source start again")
        }
        TopicRole::Events | TopicRole::Fetches if cleanup != CleanupPolicy::Delete => {
            Some("must be `delete`: compaction keeps one event of each conversation")
        }
        TopicRole::Seen if cleanup != CleanupPolicy::Delete => {
            Some("must be `delete`: compaction keeps the newest ids of each replica only")
        }
        TopicRole::Raw | TopicRole::DeadLetter if cleanup == CleanupPolicy::Delete => {
            Some("must be `compact,delete`: without compaction `inlet erase` takes nothing away")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_named() {
        let topics = Topics::default();
        assert_eq!(topics.check(), []);
        let names: Vec<_> = TopicRole::ALL.iter().map(|r| topics.get(*r).name.as_str()).collect();
        assert_eq!(
            names,
            ["inlet.events", "inlet.deadletter", "inlet.fetches", "inlet.cursors", "inlet.raw", "inlet.seen"]
        );
        assert_eq!(topics.role_of("inlet.fetches"), Some(TopicRole::Fetches));
    }

    #[test]
    fn impossible_topics_are_named_by_field() {
        let mut topics = Topics::default();
        topics.events.name = "no spaces".to_owned();
        topics.fetches.partitions = 0;
        topics.cursors.cleanup = CleanupPolicy::CompactDelete;
        topics.deadletter.name = topics.cursors.name.clone();
        let text: Vec<_> = topics.check().iter().map(ToString::to_string).collect();
        assert!(text.iter().any(|t| t.starts_with("topics.events.name: ")), "{text:?}");
        assert!(text.iter().any(|t| t.starts_with("topics.fetches.partitions: ")), "{text:?}");
        assert!(text.iter().any(|t| t.starts_with("topics.cursors.cleanup: ")), "{text:?}");
        assert!(text.iter().any(|t| t.contains("inlet.cursors is also the name")), "{text:?}");
    }

    #[test]
    fn policies_read_in_any_order() {
        assert_eq!(CleanupPolicy::parse("delete, compact"), Some(CleanupPolicy::CompactDelete));
        assert_eq!(CleanupPolicy::parse("compact"), Some(CleanupPolicy::Compact));
        assert_eq!(CleanupPolicy::parse(""), None);
        for policy in [CleanupPolicy::Delete, CleanupPolicy::Compact, CleanupPolicy::CompactDelete] {
            assert_eq!(CleanupPolicy::parse(policy.as_str()), Some(policy));
        }
    }
}
