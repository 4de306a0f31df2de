//! The ledger, shared by those who send, with the run's clock.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::ledger::{Answer, AttemptId, Class, Input, Ledger, Millis, Sums};

/// Now, by the machine's clock: gateways and senders share it.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    Millis::try_from(since.as_millis()).expect("before the year 292 million")
}

/// Cheap to share by reference.
#[derive(Debug, Default)]
pub struct Book {
    ledger: Mutex<Ledger>,
    /// By SHA-256 of the body, as dead letters tell it.
    bodies: Mutex<HashMap<String, String>>,
    /// When inputs became obligations without an answer.
    owed: Mutex<HashMap<String, Millis>>,
    /// When the replicas could not hear each other, and when they could again.
    disturbed: Mutex<Vec<(Millis, Option<Millis>)>>,
    /// When a gateway was frozen, and when it went on.
    frozen: Mutex<Vec<(Instant, Option<Instant>)>>,
}

impl Book {
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic while held")
    }

    pub fn bodies(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.bodies.lock().expect("no panic while held")
    }

    /// Notes an input before its first byte goes out. `text` is what must arrive of it, `body` the raw bytes.
    pub fn offer(&self, id: &str, class: Class, conversation: &str, place: u64, text: &str, body: &[u8]) {
        let input = Input { class, conversation: conversation.to_owned(), place, digest: text.to_owned() };
        self.bodies().insert(hex::encode(Sha256::digest(body)), id.to_owned());
        self.ledger().offer(id, input);
    }

    pub fn begin(&self, id: &str, replica: usize) -> AttemptId {
        self.ledger().begin(id, replica, now())
    }

    pub fn end(&self, id: &str, attempt: &AttemptId, answer: Answer) {
        self.ledger().end(id, attempt, now(), answer);
    }

    /// A connection was told this live input.
    pub fn hear(&self, id: &str, connection: usize) {
        self.ledger().hear(id, connection);
    }

    pub fn owe(&self, id: &str) {
        self.owed.lock().expect("no panic while held").insert(id.to_owned(), now());
        self.ledger().owe(id);
    }

    /// When an input became an obligation without an answer.
    pub fn owed_at(&self, id: &str) -> Option<Millis> {
        self.owed.lock().expect("no panic while held").get(id).copied()
    }

    pub fn sums(&self) -> Sums {
        self.ledger().sums()
    }

    /// From now on the replicas may not hear each other.
    pub fn disturb(&self) -> usize {
        let mut disturbed = self.disturbed.lock().expect("no panic while held");
        disturbed.push((now(), None));
        disturbed.len() - 1
    }

    /// They can again, at the latest when so much time has passed.
    pub fn calm(&self, number: usize, settled_ms: Millis) {
        self.disturbed.lock().expect("no panic while held")[number].1 = Some(now() + settled_ms);
    }

    pub fn disturbed(&self) -> Vec<(Millis, Millis)> {
        let disturbed = self.disturbed.lock().expect("no panic while held");
        disturbed.iter().map(|(from, to)| (*from, to.unwrap_or(Millis::MAX))).collect()
    }

    pub fn freeze(&self) -> usize {
        let mut frozen = self.frozen.lock().expect("no panic while held");
        frozen.push((Instant::now(), None));
        frozen.len() - 1
    }

    pub fn thaw(&self, number: usize) {
        self.frozen.lock().expect("no panic while held")[number].1 = Some(Instant::now());
    }

    /// Whether some gateway was frozen at a time between the two.
    pub fn was_frozen(&self, from: Instant, to: Instant) -> bool {
        let frozen = self.frozen.lock().expect("no panic while held");
        frozen.iter().any(|(begun, ended)| *begun < to && ended.is_none_or(|ended| ended > from))
    }
}
