//! A Kafka that does what it is told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::delivery::PublishError;
use crate::delivery::push::Sending;
use crate::pipeline::record::{Record, TopicRole};
use crate::spool::{Lane, Sent};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Up,
    /// Known to be away; what is sent waits.
    Away,
    /// Nothing is confirmed, and nobody knows yet.
    Silent,
}

pub struct FakeLane {
    mode: Mutex<Mode>,
    taken: Mutex<Vec<Record>>,
    waiting: Mutex<Vec<(Sent, Vec<Record>)>>,
    /// Records with such a value are refused for good; dead letters are not.
    poison: Mutex<Option<String>>,
    stalled: AtomicBool,
    went_away: Notify,
}

impl FakeLane {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode: Mutex::new(mode),
            taken: Mutex::default(),
            waiting: Mutex::default(),
            poison: Mutex::default(),
            stalled: AtomicBool::new(false),
            went_away: Notify::new(),
        }
    }

    /// Up again: what waited is confirmed in its order.
    pub fn set(&self, mode: Mode) {
        *self.mode.lock().expect("no panic") = mode;
        match mode {
            Mode::Up => {
                let waiting = std::mem::take(&mut *self.waiting.lock().expect("no panic"));
                waiting.into_iter().for_each(|(sent, records)| self.take(&sent, &records));
            }
            Mode::Away => self.went_away.notify_waiters(),
            Mode::Silent => {}
        }
    }

    /// What waits is given up, as by a producer that broke.
    pub fn lose(&self) {
        for (sent, records) in std::mem::take(&mut *self.waiting.lock().expect("no panic")) {
            sent.settle(records.len(), Some(PublishError::Unavailable("lost".to_owned())));
        }
    }

    pub fn poison(&self, value: Option<&str>) {
        *self.poison.lock().expect("no panic") = value.map(str::to_owned);
    }

    pub fn taken(&self) -> Vec<Record> {
        self.taken.lock().expect("no panic").clone()
    }

    pub fn waiting(&self) -> usize {
        self.waiting.lock().expect("no panic").len()
    }

    fn mode(&self) -> Mode {
        *self.mode.lock().expect("no panic")
    }

    fn take(&self, sent: &Sent, records: &[Record]) {
        self.stalled.store(false, Ordering::Relaxed);
        let poison = self.poison.lock().expect("no panic").clone();
        let bad = records.iter().position(|record| {
            record.topic != TopicRole::DeadLetter && poison.as_deref().is_some_and(|poison| record.value == poison)
        });
        match bad {
            Some(index) => {
                let refused = PublishError::Refused { index, reason: "scripted".to_owned() };
                sent.settle(records.len(), Some(refused));
            }
            None => {
                self.taken.lock().expect("no panic").extend_from_slice(records);
                sent.settle(records.len(), None);
            }
        }
    }

    fn send_one(&self, records: &[Record]) -> Sent {
        let sent = Sending::of(records.len());
        match self.mode() {
            Mode::Up => self.take(&sent, records),
            _ => self.waiting.lock().expect("no panic").push((sent.clone(), records.to_vec())),
        }
        sent
    }
}

#[async_trait]
impl Lane for FakeLane {
    fn send(&self, inputs: &[&[Record]]) -> Result<Vec<Sent>, PublishError> {
        Ok(inputs.iter().map(|records| self.send_one(records)).collect())
    }

    async fn send_alone(&self, records: &[Record]) -> Result<(), PublishError> {
        for (index, record) in records.iter().enumerate() {
            let sent = self.send_one(std::slice::from_ref(record));
            sent.settled().await.map_err(|error| match error {
                PublishError::Refused { reason, .. } => PublishError::Refused { index, reason },
                other => other,
            })?;
        }
        Ok(())
    }

    fn is_usable(&self) -> bool {
        self.mode() != Mode::Away && !self.stalled.load(Ordering::Relaxed)
    }

    fn stalled(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    fn went_away(&self) -> &Notify {
        &self.went_away
    }
}
