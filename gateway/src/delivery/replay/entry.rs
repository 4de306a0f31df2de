//! One input on its way through a transaction.

use connector_sdk::Cursor;
use tokio::sync::oneshot;

use super::{CursorKey, DeadLetterMaker, Input, Settled};
use crate::pipeline::record::Record;

pub(super) struct Entry {
    pub records: Vec<Record>,
    key: CursorKey,
    cursor_after: Option<Cursor>,
    dead_letter: DeadLetterMaker,
    outcome: Settled,
    settled: oneshot::Sender<Settled>,
}

impl Entry {
    /// An input with a record that no producer would take is a dead letter before its transaction begins.
    pub fn new(input: Input, max_record_bytes: usize) -> Self {
        let Input { key, cursor_after, records, dead_letter, settled } = input;
        let largest = records.iter().map(Record::wire_bytes).max().unwrap_or(0);
        let mut entry = Self { records, key, cursor_after, dead_letter, outcome: Settled::Published, settled };
        if largest > max_record_bytes {
            entry.replace(&format!("a record of {largest} bytes, at most {max_record_bytes} can be sent"));
        }
        entry
    }

    /// Puts the dead letter in its place. Fails where it is one already: then nothing but a person helps.
    pub fn become_dead_letter(&mut self, reason: &str) -> Result<(), String> {
        if self.is_dead_letter() {
            return Err(format!("Kafka refuses the dead letter of an input of {}: {reason}", self.key.instance));
        }
        self.replace(reason);
        Ok(())
    }

    fn replace(&mut self, reason: &str) {
        self.records = (self.dead_letter)(reason);
        self.outcome = Settled::DeadLettered;
    }

    pub fn is_dead_letter(&self) -> bool {
        self.outcome == Settled::DeadLettered
    }

    /// Nothing to commit: it only waits for what went before.
    pub fn is_barrier(&self) -> bool {
        self.records.is_empty() && self.cursor_after.is_none()
    }

    pub fn position(&self) -> Option<(&CursorKey, &Cursor)> {
        self.cursor_after.as_ref().map(|cursor| (&self.key, cursor))
    }

    pub fn bytes(&self) -> usize {
        self.records.iter().map(Record::wire_bytes).sum()
    }

    /// Tells the driver; one that is gone is no concern of the lane's.
    pub fn settle(self) {
        let _ = self.settled.send(self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::record::TopicRole;
    use bytes::Bytes;
    use connector_sdk::StreamId;
    use std::sync::Arc;

    fn record(topic: TopicRole, bytes: usize) -> Record {
        Record { topic, key: "k".to_owned(), value: Bytes::from(vec![0; bytes]), headers: Vec::new() }
    }

    fn input(records: Vec<Record>) -> (Input, oneshot::Receiver<Settled>) {
        let (settled, outcome) = oneshot::channel();
        let key = CursorKey { instance: "i".to_owned(), stream: StreamId::new("s") };
        let dead_letter: DeadLetterMaker = Arc::new(|_| vec![record(TopicRole::DeadLetter, 1)]);
        (Input { key, cursor_after: None, records, dead_letter, settled }, outcome)
    }

    #[tokio::test]
    async fn too_large_is_a_dead_letter_before_the_transaction() {
        let (large, outcome) = input(vec![record(TopicRole::Events, 10), record(TopicRole::Events, 2_000)]);
        let entry = Entry::new(large, 1_000);
        assert_eq!(entry.records, [record(TopicRole::DeadLetter, 1)]);
        entry.settle();
        assert_eq!(outcome.await, Ok(Settled::DeadLettered));
        let (small, outcome) = input(vec![record(TopicRole::Events, 10)]);
        Entry::new(small, 1_000).settle();
        assert_eq!(outcome.await, Ok(Settled::Published));
    }

    #[test]
    fn a_dead_letter_is_not_replaced_again() {
        let mut entry = Entry::new(input(vec![record(TopicRole::Events, 10)]).0, 1_000);
        assert_eq!(entry.become_dead_letter("refused"), Ok(()));
        assert!(entry.become_dead_letter("refused").is_err());
    }
}
