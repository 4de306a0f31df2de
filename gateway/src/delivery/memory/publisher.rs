//! The push lane in memory.

use std::sync::Mutex;

use async_trait::async_trait;

use super::script::{Answer, Script};
use crate::delivery::link::lock;
use crate::delivery::{PublishError, Publisher};
use crate::pipeline::record::{Record, TopicRole};

/// Keeps what it takes.
pub struct MemoryPublisher {
    script: Mutex<Script>,
    taken: Mutex<Vec<Record>>,
}

impl MemoryPublisher {
    pub fn new(script: Script) -> Self {
        Self { script: Mutex::new(script), taken: Mutex::default() }
    }

    /// From now on.
    pub fn set_script(&self, script: Script) {
        *lock(&self.script) = script;
    }

    /// Everything stored so far, in order.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.taken).clone()
    }
}

impl Default for MemoryPublisher {
    fn default() -> Self {
        Self::new(Script::always(Answer::Taken))
    }
}

#[async_trait]
impl Publisher for MemoryPublisher {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        // As a real one does, it answers later.
        tokio::task::yield_now().await;
        let answer = lock(&self.script).next();
        let refusable = records.iter().position(|record| record.topic != TopicRole::DeadLetter);
        match (answer, refusable) {
            (Answer::Taken, _) | (Answer::Refused, None) => {
                lock(&self.taken).extend(records);
                Ok(())
            }
            (Answer::Lost, _) => Err(PublishError::Unavailable("scripted".to_owned())),
            (Answer::TakenUnheard, _) => {
                lock(&self.taken).extend(records);
                Err(PublishError::Unavailable("scripted, though it was stored".to_owned()))
            }
            (Answer::Refused, Some(index)) => Err(PublishError::Refused { index, reason: "scripted".to_owned() }),
        }
    }
}
