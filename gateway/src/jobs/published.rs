//! What is on Kafka: the ids of all events, which items they are of, and the inputs of all dead letters.

use std::collections::HashSet;

use connector_sdk::schemas::Event;

use super::JobError;
use crate::delivery::consumer::scan;
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::deadletter::DeadLetter;
use crate::pipeline::record::TopicRole;

/// Everything that is known of what was published.
#[derive(Default)]
pub struct Published {
    /// Event ids; UUIDs take 16 bytes each.
    ids: HashSet<u128>,
    /// SHA-256 of the inputs of the audited instance's dead letters, lower-case hex.
    dead: HashSet<String>,
    /// Records that were read.
    pub events: u64,
    /// Partitions of the events whose oldest records are gone, by retention.
    pub shortened: usize,
}

impl Published {
    /// Reads both topics to the end that they have now. `each` is shown every event of `instance` that can be read.
    pub fn read(settings: &KafkaSettings, instance: &str, mut each: impl FnMut(&Event)) -> Result<Self, JobError> {
        let mut found = Self::default();
        let source = format!("/{instance}/");
        let failed = |error: crate::delivery::consumer::ConsumeError| JobError::Failed(error.to_string());
        let read = scan(settings, TopicRole::Events, |record| {
            found.events += 1;
            found.ids.extend(record.header("ce_id").and_then(uuid));
            if record.header("ce_source").is_some_and(|of| of.contains(&source))
                && let Ok(event) = serde_json::from_slice::<Event>(&record.value)
                && event.connector == instance
            {
                each(&event);
            }
        });
        found.shortened = read.map_err(failed)?;
        let dead = &mut found.dead;
        let read = scan(settings, TopicRole::DeadLetter, |record| {
            let letter = serde_json::from_slice::<DeadLetter>(&record.value).ok();
            dead.extend(letter.filter(|letter| letter.instance == instance).map(|letter| letter.raw_sha256));
        });
        read.map_err(failed)?;
        Ok(found)
    }

    pub fn has_event(&self, id: &str) -> bool {
        uuid(id).is_some_and(|id| self.ids.contains(&id))
    }

    pub fn has_letter_of(&self, raw_sha256: &str) -> bool {
        self.dead.contains(raw_sha256)
    }
}

fn uuid(text: &str) -> Option<u128> {
    uuid::Uuid::parse_str(text).ok().map(|id| id.as_u128())
}
