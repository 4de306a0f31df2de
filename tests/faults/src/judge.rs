//! Holds what a read_committed consumer saw against the ledger.
//!
//! * conservation: each obligation is there, as an event or as a dead letter;
//! * integrity: what arrived of a payload is what was sent;
//! * no invention: nothing is there that was not offered, and a copy belongs to a delivery that was made;
//! * ids: every copy of an input has the same event id, no two inputs share one;
//! * exactly once for replay inputs (D3);
//! * redeliveries (D4): one that began 5 s or more after a 2xx leaves no copy beside the first. Each copy says when it was received, and so
//!   of which delivery it is. Copies of other deliveries, and second copies of one delivery (a send whose confirmation was
//!   lost), are counted, not blamed;
//! * order (D5): by conversation, among inputs that the same replica answered 2xx, each begun after the 2xx of the one
//!   before. Replay inputs rise within their conversation, live ones among what the same connections heard: a frame that
//!   a frozen owner alone has heard comes when it goes on, behind what its successor was told meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::ledger::{Attempt, Class, Entry, Ledger, Millis};

/// How many examples of a fault a verdict shows.
const EXAMPLES: usize = 5;

/// One record that came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The input's id, from the payload.
    pub id: String,
    pub event_id: String,
    /// Of what arrived of the payload; `None` for a dead letter.
    pub digest: Option<String>,
    /// When the gateway received what it was made of.
    pub received_at: Millis,
    /// Where it stands.
    pub partition: i32,
    pub offset: i64,
}

/// What the contract says in figures.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A redelivery that begins so long after the 2xx is suppressed (D4).
    pub suppressed_after_ms: Millis,
    /// When replicas could not hear each other by way of Kafka, from and to: at another replica than that of the 2xx, D4's
    /// time begins anew at the end of each.
    pub disturbed: Vec<(Millis, Millis)>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { suppressed_after_ms: 5_000, disturbed: Vec::new() }
    }
}

impl Rules {
    /// The moment from which on D4 promises that a redelivery of this input at this replica leaves no copy.
    fn promised_from(&self, entry: &Entry, attempt: &Attempt) -> Millis {
        let (Some(safe), Some(accepted)) = (entry.first_safe(), entry.accepted_by()) else { return Millis::MAX };
        let mut from = safe;
        if accepted.replica != attempt.replica {
            let met = self.disturbed.iter().filter(|(begun, ended)| *begun <= attempt.begun && *ended >= safe);
            from = met.map(|(_, ended)| *ended).fold(from, Millis::max);
        }
        from.saturating_add(self.suppressed_after_ms)
    }

    fn is_promised(&self, entry: &Entry, attempt: &Attempt) -> bool {
        attempt.begun >= self.promised_from(entry, attempt)
    }
}

/// Faults, each with the ids and what is wrong, and figures of what was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    /// Those of `doubled` that are push input, redelivered when it had to be suppressed (D4).
    pub republished: usize,
    pub reordered: Vec<String>,
    pub corrupted: Vec<String>,
    pub invented: Vec<String>,
    /// One input with several event ids, or one event id for several inputs.
    pub ids: Vec<String>,
    /// Dead letters among the copies.
    pub letters: usize,
    /// Redeliveries that D4 promises to suppress.
    pub promised: usize,
    /// Late ones at a replica that could not hear the one that had answered, and copies that they left.
    pub unheard: usize,
    pub unheard_copies: usize,
    /// Second copies that D4 does not promise to suppress: of other deliveries, and of the same one.
    pub repeated: usize,
    pub ambiguous: usize,
    /// Neighbours in a conversation whose order was looked at.
    pub neighbours: usize,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, found)| found.is_empty())
    }

    fn faults(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("reordered", &self.reordered),
            ("corrupted", &self.corrupted),
            ("invented", &self.invented),
            ("ids", &self.ids),
        ]
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, found) in self.faults() {
            writeln!(f, "{name}: {}", found.len())?;
            for example in found.iter().take(EXAMPLES) {
                writeln!(f, "  {example}")?;
            }
        }
        write!(
            f,
            "neighbours in order: {}; redeliveries that must be suppressed: {}; late ones where the replicas could not hear \
             each other: {}, which left {} copies; other second copies: {} of another delivery, {} of the same one; dead \
             letters: {}",
            self.neighbours,
            self.promised,
            self.unheard,
            self.unheard_copies,
            self.repeated,
            self.ambiguous,
            self.letters
        )
    }
}

/// The verdict over everything that was offered and everything that was seen.
pub fn judge(ledger: &Ledger, copies: &[Copy], rules: &Rules) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_input: BTreeMap<&str, Vec<&Copy>> = BTreeMap::new();
    for copy in copies {
        match ledger.get(&copy.id) {
            None => verdict.invented.push(format!("{} at {}", copy.id, place(copy))),
            Some(entry) => {
                let arrived = by_input.entry(&copy.id).or_default();
                arrived.push(copy);
                look_at(entry, copy, &mut verdict);
            }
        }
    }
    for arrived in by_input.values_mut() {
        arrived.sort_by_key(|copy| (copy.partition, copy.offset));
    }
    for (id, _) in ledger.obligations().filter(|(id, _)| !by_input.contains_key(id.as_str())) {
        verdict.lost.push(id.clone());
    }
    ids(&by_input, &mut verdict);
    for (id, entry) in ledger.entries() {
        let arrived = by_input.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        match entry.input.class {
            Class::Replay => once(id, arrived, &mut verdict),
            Class::Push => suppressed(id, entry, arrived, rules, &mut verdict),
            Class::Live => verdict.ambiguous += arrived.len().saturating_sub(1),
        }
    }
    order(ledger, &by_input, &mut verdict);
    verdict
}

fn place(copy: &Copy) -> String {
    format!("{}/{}", copy.partition, copy.offset)
}

/// What one copy says by itself.
fn look_at(entry: &Entry, copy: &Copy, verdict: &mut Verdict) {
    match &copy.digest {
        None => verdict.letters += 1,
        Some(digest) if *digest != entry.input.digest => {
            verdict.corrupted.push(format!("{} at {}: {digest} is not {}", copy.id, place(copy), entry.input.digest));
        }
        Some(_) => {}
    }
    if entry.input.class == Class::Push && !entry.attempts.iter().any(|attempt| attempt.covers(copy.received_at)) {
        verdict.invented.push(format!("{} at {}: no delivery at {}", copy.id, place(copy), copy.received_at));
    }
}

fn ids(by_input: &BTreeMap<&str, Vec<&Copy>>, verdict: &mut Verdict) {
    let mut owner: HashMap<&str, &str> = HashMap::new();
    for (input, arrived) in by_input {
        let events: BTreeSet<_> =
            arrived.iter().filter(|copy| copy.digest.is_some()).map(|c| c.event_id.as_str()).collect();
        if events.len() > 1 {
            verdict.ids.push(format!("{input} has the event ids {events:?}"));
        }
        for event in events {
            if let Some(other) = owner.insert(event, input) {
                verdict.ids.push(format!("{other} and {input} share the event id {event}"));
            }
        }
    }
}

/// D3.
fn once(id: &str, arrived: &[&Copy], verdict: &mut Verdict) {
    if arrived.len() > 1 {
        let places: Vec<_> = arrived.iter().map(|copy| place(copy)).collect();
        verdict.doubled.push(format!("{id} at {}", places.join(", ")));
    }
}

/// D4.
fn suppressed(id: &str, entry: &Entry, arrived: &[&Copy], rules: &Rules, verdict: &mut Verdict) {
    let late_from = entry.first_safe().map_or(Millis::MAX, |at| at.saturating_add(rules.suppressed_after_ms));
    let late = entry.attempts.iter().filter(|attempt| attempt.begun >= late_from);
    let (promised, unheard): (Vec<_>, Vec<_>) = late.partition(|attempt| rules.is_promised(entry, attempt));
    verdict.promised += promised.len();
    verdict.unheard += unheard.len();
    let mut moments = BTreeSet::new();
    for copy in arrived {
        let deliveries: Vec<_> = entry.attempts.iter().filter(|a| a.covers(copy.received_at)).collect();
        let is_second = !moments.is_empty();
        let is_new = moments.insert(copy.received_at);
        if deliveries.iter().any(|attempt| attempt.begun < late_from) {
            verdict.repeated += usize::from(is_second && is_new);
            verdict.ambiguous += usize::from(is_second && !is_new);
        } else if deliveries.iter().any(|attempt| !rules.is_promised(entry, attempt)) {
            verdict.unheard_copies += usize::from(arrived.len() > 1);
        } else if !deliveries.is_empty() && arrived.len() > 1 {
            let late = copy.received_at - late_from + rules.suppressed_after_ms;
            let history = history(entry, arrived);
            verdict.republished += 1;
            verdict.doubled.push(format!("{id} at {}: redelivered {late} ms after its 2xx; {history}", place(copy)));
        }
    }
}

/// What happened to an input, in milliseconds from its first delivery on.
fn history(entry: &Entry, arrived: &[&Copy]) -> String {
    let begun = entry.attempts.iter().map(|attempt| attempt.begun).min().unwrap_or(0);
    let attempts = entry.attempts.iter().map(|attempt| {
        let end = attempt.end.map_or_else(|| "open".to_owned(), |(at, answer)| format!("{answer:?} {}", at - begun));
        format!("to {} at {}: {end}", attempt.replica, attempt.begun - begun)
    });
    let copies = arrived.iter().map(|copy| format!("{} received {}", place(copy), copy.received_at - begun));
    let (attempts, copies): (Vec<_>, Vec<_>) = (attempts.collect(), copies.collect());
    format!("from {begun}: deliveries [{}], copies [{}]", attempts.join("; "), copies.join("; "))
}

/// An input's id, what the ledger says of it, and its first copy.
type Told<'a> = (&'a str, &'a Entry, &'a Copy);

/// D5.
fn order(ledger: &Ledger, by_input: &BTreeMap<&str, Vec<&Copy>>, verdict: &mut Verdict) {
    let mut conversations: BTreeMap<(&str, Option<usize>), Vec<Told<'_>>> = BTreeMap::new();
    for (id, entry) in ledger.entries() {
        let Some(arrived) = by_input.get(id.as_str()) else { continue };
        // Dead letters stand on a topic of their own.
        let mut events = arrived.iter().filter(|copy| copy.digest.is_some());
        let (replica, first) = match entry.input.class {
            Class::Push => match entry.accepted_by() {
                Some(accepted) => (Some(accepted.replica), events.find(|copy| is_of(entry, accepted.replica, copy))),
                None => continue,
            },
            Class::Replay | Class::Live => (None, events.next()),
        };
        if let Some(first) = first {
            conversations.entry((&entry.input.conversation, replica)).or_default().push((id, entry, first));
        }
    }
    for ((conversation, _), mut inputs) in conversations {
        inputs.sort_by_key(|(_, entry, _)| entry.input.place);
        let mut last: Option<(&str, &Entry, &Copy)> = None;
        for (id, entry, copy) in inputs {
            if let Some((before, earlier, standing)) = last
                && follows(earlier, entry)
            {
                verdict.neighbours += 1;
                if standing.partition != copy.partition || standing.offset >= copy.offset {
                    verdict.reordered.push(format!(
                        "{conversation}: {id} at {}, {before} before it at {}",
                        place(copy),
                        place(standing)
                    ));
                }
            }
            last = Some((id, entry, copy));
        }
    }
}

/// Whether a copy is surely of a delivery to this replica.
fn is_of(entry: &Entry, replica: usize, copy: &Copy) -> bool {
    let mut all = entry.attempts.iter().filter(|attempt| attempt.covers(copy.received_at)).peekable();
    all.peek().is_some() && all.all(|attempt| attempt.replica == replica)
}

/// Whether the later one was sent when the earlier one was answered, or follows it at the same place.
fn follows(earlier: &Entry, later: &Entry) -> bool {
    match earlier.input.class {
        Class::Replay => true,
        Class::Live => earlier.heard_by == later.heard_by,
        Class::Push => {
            let begun = later.attempts.iter().map(|attempt| attempt.begun).min();
            earlier.first_safe().zip(begun).is_some_and(|(safe, begun)| safe <= begun)
        }
    }
}

#[cfg(test)]
mod tests;
