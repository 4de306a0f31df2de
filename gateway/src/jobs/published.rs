//! What is on Kafka: the ids of all events, which items they are of, and the inputs of all dead letters.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use connector_sdk::schemas::Event;

use super::JobError;
use crate::delivery::consumer::{ConsumeError, Isolation, Received, Scan};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::deadletter::DeadLetter;
use crate::pipeline::record::TopicRole;

/// One look for records.
const POLL_SLICE: Duration = Duration::from_millis(200);
/// Without a record for so long Kafka counts as away.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Everything that is known of what was published.
#[derive(Default)]
pub struct Published {
    /// Event ids; UUIDs take 16 bytes each.
    ids: HashSet<u128>,
    /// Instances of dead letters, and the SHA-256 of their inputs in lower-case hex.
    dead: HashSet<(String, String)>,
    /// Records that were read.
    pub events: u64,
    /// Partitions of the events whose oldest records are gone, by retention.
    pub shortened: usize,
}

impl Published {
    /// Reads both topics to the end that they have now. `each` is shown every event.
    pub fn read(settings: &KafkaSettings, mut each: impl FnMut(&Event)) -> Result<Self, JobError> {
        let mut found = Self::default();
        let failed = |error: ConsumeError| JobError::Failed(error.to_string());
        let read = scan(settings, TopicRole::Events, |record| {
            found.events += 1;
            found.ids.extend(record.header("ce_id").and_then(uuid));
            if let Ok(event) = serde_json::from_slice::<Event>(&record.value) {
                each(&event);
            }
        });
        found.shortened = read.map_err(failed)?;
        let dead = &mut found.dead;
        let read = scan(settings, TopicRole::DeadLetter, |record| {
            let letter = serde_json::from_slice::<DeadLetter>(&record.value).ok();
            dead.extend(letter.map(|letter| (letter.instance, letter.raw_sha256)));
        });
        read.map_err(failed)?;
        Ok(found)
    }

    pub fn has_event(&self, id: &str) -> bool {
        uuid(id).is_some_and(|id| self.ids.contains(&id))
    }

    pub fn has_letter_of(&self, instance: &str, raw_sha256: &str) -> bool {
        self.dead.contains(&(instance.to_owned(), raw_sha256.to_owned()))
    }
}

fn uuid(text: &str) -> Option<u128> {
    uuid::Uuid::parse_str(text).ok().map(|id| id.as_u128())
}

/// Shows every committed record that lies in a topic now. Returns how many partitions no longer begin at their beginning.
fn scan(settings: &KafkaSettings, role: TopicRole, mut each: impl FnMut(Received)) -> Result<usize, ConsumeError> {
    let mut scan = Scan::open(settings, role, None, Isolation::Committed)?;
    let mut heard = Instant::now();
    while !scan.at_end() {
        match scan.poll(POLL_SLICE)? {
            Some(message) => {
                heard = Instant::now();
                each(Received::of(role, &message));
            }
            None if heard.elapsed() > SILENCE_LIMIT => {
                return Err(ConsumeError::Kafka(format!("no answer within {SILENCE_LIMIT:?}")));
            }
            None => {}
        }
    }
    Ok(scan.shortened())
}
