//! What was sent, what was answered, and so what the gateway owes.
//!
//! Every input has an id, which travels in its payload. A 2xx makes it an obligation; so does a mail that lies in the
//! mailbox, and a frame of a live source that was surely taken (whoever drives the source knows when that is). An input
//! that was offered and not answered may arrive or not; what was never offered must not.

use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds of the run's clock: since 1970 in a run against real servers, since the beginning in a simulation.
pub type Millis = i64;

/// What the contract promises of an input depends on where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Read with a cursor: exactly once (D3).
    Replay,
    /// Sent to us and sent again: at least once, repeats suppressed as D4 says.
    Push,
    /// Sent once by somebody who does not wait for an answer: at least once when it was surely taken.
    Live,
}

/// An input as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub class: Class,
    /// Inputs of one conversation are ordered.
    pub conversation: String,
    /// Rises within the conversation.
    pub place: u64,
    /// Of what must arrive of the payload.
    pub digest: String,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx: the obligation.
    Safe,
    /// Any other status.
    NotSafe,
    /// The connection was refused or broken: whoever worked on it has ended.
    Cut,
    /// The sender gave up waiting: somebody may still be working on it.
    Silence,
}

/// One delivery of a push input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub replica: usize,
    pub begun: Millis,
    pub end: Option<(Millis, Answer)>,
}

impl Attempt {
    pub fn is_safe(&self) -> bool {
        matches!(self.end, Some((_, Answer::Safe)))
    }

    /// Whether something that was received at this moment may be of this delivery.
    pub fn covers(&self, received_at: Millis) -> bool {
        let until = match self.end {
            None | Some((_, Answer::Silence)) => Millis::MAX,
            Some((at, _)) => at,
        };
        (self.begun..=until).contains(&received_at)
    }
}

/// An input and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub input: Input,
    pub attempts: Vec<Attempt>,
    /// Of live input: the connections that it was said to.
    pub heard_by: BTreeSet<usize>,
    owed: bool,
}

impl Entry {
    pub fn is_obligation(&self) -> bool {
        self.owed || self.first_safe().is_some()
    }

    /// When the first 2xx came.
    pub fn first_safe(&self) -> Option<Millis> {
        let safe = self.attempts.iter().filter(|attempt| attempt.is_safe());
        safe.filter_map(|attempt| attempt.end).map(|(at, _)| at).min()
    }

    /// The delivery that was answered 2xx first.
    pub fn accepted_by(&self) -> Option<&Attempt> {
        let safe = self.attempts.iter().filter(|attempt| attempt.is_safe());
        safe.min_by_key(|attempt| attempt.end.map(|(at, _)| at))
    }
}

/// Names a delivery of an input.
#[derive(Clone, Debug)]
pub struct AttemptId(usize);

/// All inputs by their id.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
}

/// Figures of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub offered: usize,
    pub obligations: usize,
    pub attempts: usize,
    pub safe: usize,
    pub not_safe: usize,
    pub cut: usize,
    pub silent: usize,
}

impl Ledger {
    /// Notes an input before anybody can have seen it. An id belongs to one input for ever.
    pub fn offer(&mut self, id: &str, input: Input) {
        let entry = Entry { input, attempts: Vec::new(), heard_by: BTreeSet::new(), owed: false };
        let before = self.entries.insert(id.to_owned(), entry);
        assert!(before.is_none(), "two inputs have the id {id}");
    }

    /// Notes, before its first byte goes out, that an offered input is delivered.
    pub fn begin(&mut self, id: &str, replica: usize, at: Millis) -> AttemptId {
        let attempts = &mut self.known(id).attempts;
        attempts.push(Attempt { replica, begun: at, end: None });
        AttemptId(attempts.len() - 1)
    }

    pub fn end(&mut self, id: &str, attempt: &AttemptId, at: Millis, answer: Answer) {
        self.known(id).attempts[attempt.0].end = Some((at, answer));
    }

    /// The replicas have ended: so has every delivery that was under way.
    pub fn cut_all(&mut self, at: Millis) {
        let attempts = self.entries.values_mut().flat_map(|entry| &mut entry.attempts);
        attempts.filter(|attempt| attempt.end.is_none()).for_each(|open| open.end = Some((at, Answer::Cut)));
    }

    /// Makes an offered input an obligation without an answer: a mail in the mailbox, a frame that was surely taken.
    pub fn owe(&mut self, id: &str) {
        self.known(id).owed = true;
    }

    /// A connection was told this live input.
    pub fn hear(&mut self, id: &str, connection: usize) {
        self.known(id).heard_by.insert(connection);
    }

    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub fn obligations(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.is_obligation())
    }

    pub fn sums(&self) -> Sums {
        let attempts = || self.entries.values().flat_map(|entry| &entry.attempts);
        let ended = |wanted| attempts().filter(|a| a.end.is_some_and(|(_, answer)| answer == wanted)).count();
        Sums {
            offered: self.entries.len(),
            obligations: self.obligations().count(),
            attempts: attempts().count(),
            safe: ended(Answer::Safe),
            not_safe: ended(Answer::NotSafe),
            cut: ended(Answer::Cut),
            silent: ended(Answer::Silence),
        }
    }

    fn known(&mut self, id: &str) -> &mut Entry {
        self.entries.get_mut(id).unwrap_or_else(|| panic!("{id} was never offered"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(class: Class) -> Input {
        Input { class, conversation: "c".into(), place: 0, digest: "d".into() }
    }

    #[test]
    fn a_2xx_or_a_mail_in_the_box_is_an_obligation_and_nothing_else() {
        let mut ledger = Ledger::default();
        for id in ["answered", "refused", "cut", "silent", "open", "mail", "frame"] {
            ledger.offer(id, input(Class::Push));
        }
        for (id, answer) in [
            ("answered", Answer::Safe),
            ("refused", Answer::NotSafe),
            ("cut", Answer::Cut),
            ("silent", Answer::Silence),
        ] {
            let attempt = ledger.begin(id, 0, 10);
            ledger.end(id, &attempt, 20, answer);
        }
        ledger.begin("open", 0, 10);
        ledger.owe("mail");
        let owed: Vec<_> = ledger.obligations().map(|(id, _)| id.as_str()).collect();
        assert_eq!(owed, ["answered", "mail"]);
        let sums = ledger.sums();
        assert_eq!((sums.offered, sums.obligations, sums.attempts), (7, 2, 5));
        assert_eq!((sums.safe, sums.not_safe, sums.cut, sums.silent), (1, 1, 1, 1));
    }

    #[test]
    fn the_first_2xx_counts_and_silence_has_no_end() {
        let mut ledger = Ledger::default();
        ledger.offer("x", input(Class::Push));
        for (replica, begun, ended, answer) in
            [(0, 0, 5, Answer::Silence), (0, 6, 9, Answer::Safe), (1, 7, 8, Answer::Safe)]
        {
            let attempt = ledger.begin("x", replica, begun);
            ledger.end("x", &attempt, ended, answer);
        }
        let entry = ledger.get("x").expect("offered");
        assert_eq!(entry.first_safe(), Some(8));
        assert_eq!(entry.accepted_by().map(|attempt| attempt.replica), Some(1));
        assert!(entry.attempts[0].covers(1_000) && !entry.attempts[1].covers(10) && !entry.attempts[1].covers(5));
    }

    #[test]
    fn a_crash_ends_what_was_under_way() {
        let mut ledger = Ledger::default();
        ledger.offer("x", input(Class::Push));
        let safe = ledger.begin("x", 0, 0);
        ledger.end("x", &safe, 5, Answer::Safe);
        ledger.begin("x", 0, 6);
        ledger.cut_all(9);
        let entry = ledger.get("x").expect("offered");
        assert_eq!(
            entry.attempts.iter().map(|a| a.end).collect::<Vec<_>>(),
            [Some((5, Answer::Safe)), Some((9, Answer::Cut))]
        );
    }

    #[test]
    #[should_panic(expected = "two inputs have the id x")]
    fn an_id_is_one_inputs() {
        let mut ledger = Ledger::default();
        ledger.offer("x", input(Class::Push));
        ledger.offer("x", input(Class::Push));
    }
}
