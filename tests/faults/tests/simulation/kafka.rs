//! The simulated Kafka of the push lane: late, away, forgetful of its confirmations as a script says, and in tests of the
//! simulation itself dishonest.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::async_trait;
use inlet::delivery::memory::{MemoryPublisher, Script};
use inlet::delivery::{PublishError, Publisher};
use inlet::pipeline::record::Record;
use inlet_faults::dice::Dice;

use crate::life::Steps;

/// What is wrong with the gateway or its Kafka on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honesty {
    Honest,
    /// Says that records are safe, and stores them later.
    ConfirmsBeforeItStores,
    /// Now and then the record comes after the next one.
    SwapsNeighbours,
    Garbles,
    /// The next process begins from the beginning.
    ForgetsCursors,
}

/// The longest that a confirmation takes: longer than drivers wait.
const LATENCY_MAX_MS: u64 = 4_000;

/// Outlives processes.
pub struct SimKafka {
    pub log: MemoryPublisher,
    honesty: Honesty,
    dice: Mutex<Dice>,
    held: Mutex<Vec<Record>>,
}

impl SimKafka {
    pub fn new(script: Script, honesty: Honesty, dice: Dice) -> Arc<Self> {
        let log = MemoryPublisher::new(script);
        Arc::new(Self { log, honesty, dice: Mutex::new(dice), held: Mutex::default() })
    }

    /// Mostly at once, sometimes late.
    fn latency(&self) -> Duration {
        let mut dice = self.dice.lock().expect("no panic while held");
        match dice.roll(10) {
            0 => Duration::from_millis(dice.roll(LATENCY_MAX_MS)),
            1..4 => Duration::from_millis(dice.roll(20)),
            _ => Duration::ZERO,
        }
    }

    fn one_in(&self, sides: u64) -> bool {
        self.dice.lock().expect("no panic while held").one_in(sides)
    }

    async fn store(&self, mut records: Vec<Record>) -> Result<(), PublishError> {
        let mut held = std::mem::take(&mut *self.held.lock().expect("no panic while held"));
        match self.honesty {
            Honesty::SwapsNeighbours if self.one_in(4) => {
                *self.held.lock().expect("no panic while held") = records;
                return if held.is_empty() { Ok(()) } else { self.log.publish(held).await };
            }
            Honesty::Garbles if self.one_in(20) => {
                for record in &mut records {
                    let text = String::from_utf8_lossy(&record.value).replace("text of", "text off");
                    record.value = text.into();
                }
            }
            _ => {}
        }
        records.append(&mut held);
        self.log.publish(records).await
    }
}

/// One process's way to it.
pub struct Link {
    pub kafka: Arc<SimKafka>,
    pub steps: Arc<Steps>,
}

#[async_trait]
impl Publisher for Link {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        self.steps.step().await;
        let latency = self.kafka.latency();
        if self.kafka.honesty == Honesty::ConfirmsBeforeItStores {
            let kafka = self.kafka.clone();
            tokio::spawn(async move {
                tokio::time::sleep(latency).await;
                kafka.store(records).await
            });
            return Ok(());
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.steps.step().await;
        let stored = self.kafka.store(records).await;
        self.steps.step().await;
        stored
    }
}
