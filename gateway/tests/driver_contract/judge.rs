//! Reads what arrived and holds it against what was there to arrive.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use connector_sdk::Bytes;
use connector_sdk::key::sha256_hex;
use connector_sdk::schemas::Event;
use inlet::pipeline::deadletter::DeadLetter;
use inlet::pipeline::encode::OrderRecord;
use inlet::pipeline::record::{Record, TopicRole};

use crate::inputs::{Input, Verb};

/// One record that came of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub id: String,
    pub how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    Event { event_id: String, resync: bool },
    Letter { reason: String },
    Order,
}

/// How often an input may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    Never,
    Allowed,
}

/// The records in their order, each traced to its input. Panics for one that belongs to none: it would be invented.
pub fn arrivals(inputs: &[Input], records: &[Record]) -> Vec<Arrival> {
    let mut by_hash: BTreeMap<String, String> = BTreeMap::new();
    let mut arrivals = Vec::with_capacity(records.len());
    for record in records {
        let Some((name, how)) = read(record) else { continue };
        let id = match (&how, by_hash.is_empty()) {
            (How::Letter { .. }, true) => {
                by_hash = inputs.iter().map(|input| (sha256_hex(input.body().as_bytes()), input.id())).collect();
                by_hash.get(&name)
            }
            (How::Letter { .. }, false) => by_hash.get(&name),
            _ => Some(&name),
        };
        let id = id.unwrap_or_else(|| panic!("invented: {how:?} of {name}")).clone();
        arrivals.push(Arrival { id, how });
    }
    arrivals
}

thread_local! {
    /// The same records are looked at again and again.
    static READ: RefCell<HashMap<Bytes, Option<(String, How)>>> = RefCell::default();
}

/// The id of an event or order, the hash of a dead letter's input; `None`: an event of Inlet's own.
fn read(record: &Record) -> Option<(String, How)> {
    let known = READ.with_borrow(|read| read.get(&record.value).cloned());
    known.unwrap_or_else(|| {
        let found = read_anew(record);
        READ.with_borrow_mut(|read| read.insert(record.value.clone(), found.clone()));
        found
    })
}

fn read_anew(record: &Record) -> Option<(String, How)> {
    match record.topic {
        TopicRole::Events => {
            let event: Event = serde_json::from_slice(&record.value).expect("an event");
            if event.notice.is_some() {
                return None;
            }
            let how = How::Event { event_id: event.id, resync: event.provenance.resync };
            Some((event.text.expect("has its id as text"), how))
        }
        TopicRole::DeadLetter => {
            let text = String::from_utf8_lossy(&record.value);
            assert!(!text.contains("the-secret"), "shows a secret: {text}");
            let letter: DeadLetter = serde_json::from_slice(&record.value).expect("a dead letter");
            Some((letter.raw_sha256, How::Letter { reason: letter.reason }))
        }
        TopicRole::Fetches => {
            let order: OrderRecord = serde_json::from_slice(&record.value).expect("an order");
            Some((order.order.id, How::Order))
        }
        TopicRole::Cursors | TopicRole::Seen => panic!("a driver wrote a position or seen ids by itself"),
        TopicRole::Raw => None,
    }
}

/// What came of each input, to look up.
pub struct Came(HashMap<String, Of>);

#[derive(Default)]
struct Of {
    records: usize,
    letter: bool,
}

/// What has come so far.
pub fn came(inputs: &[Input], records: &[Record]) -> Came {
    let mut all: HashMap<String, Of> = HashMap::new();
    for Arrival { id, how } in arrivals(inputs, records) {
        let of = all.entry(id).or_default();
        of.records += 1;
        of.letter |= matches!(how, How::Letter { .. });
    }
    Came(all)
}

impl Came {
    /// Whether everything of an input is there: then acknowledging it was right.
    pub fn is_safe(&self, input: &Input) -> bool {
        let of = self.0.get(&input.id());
        match input.verb {
            Verb::Skip => true,
            // Kafka may have refused one of the two.
            Verb::Two => of.is_some_and(|of| of.records >= 2 || of.letter),
            _ => of.is_some(),
        }
    }

    pub fn are_safe<'a>(&self, inputs: impl IntoIterator<Item = &'a Input>) -> bool {
        inputs.into_iter().all(|input| self.is_safe(input))
    }
}

/// The law itself.
pub fn judge(inputs: &[Input], records: &[Record], repeats: Repeats) {
    let arrivals = arrivals(inputs, records);
    let known: BTreeSet<String> = inputs.iter().map(Input::id).collect();
    for arrival in &arrivals {
        assert!(known.contains(&arrival.id), "invented: {arrival:?}");
    }
    let came = came(inputs, records);
    for input in inputs {
        assert!(came.is_safe(input), "lost: {input:?}");
        let own: Vec<_> = arrivals.iter().filter(|arrival| arrival.id == input.id()).collect();
        let ids: BTreeSet<_> = own.iter().filter_map(|one| event_id(one)).collect();
        let most = if input.verb == Verb::Two { 2 } else { 1 };
        assert!(ids.len() <= most, "{input:?} has the ids {ids:?}");
        if repeats == Repeats::Never {
            assert!(own.len() <= most, "repeated: {own:?}");
        }
        let is_letter = own.iter().all(|one| matches!(one.how, How::Letter { .. }));
        match input.verb {
            Verb::Skip => assert!(own.is_empty(), "skipped and published: {own:?}"),
            Verb::Bad | Verb::Panic | Verb::Silent | Verb::Worse => assert!(is_letter, "{own:?}"),
            Verb::Ok | Verb::Two | Verb::Blob | Verb::Order => {}
        }
    }
    in_order(inputs, &arrivals);
}

/// First arrivals rise within each stream.
fn in_order(inputs: &[Input], arrivals: &[Arrival]) {
    let place: BTreeMap<String, (&str, usize)> =
        inputs.iter().map(|input| (input.id(), (input.stream.as_str(), input.number))).collect();
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in arrivals {
        if !seen.insert(arrival.id.clone()) {
            continue;
        }
        let (stream, number) = place[&arrival.id];
        let before = last.insert(stream, number);
        assert!(before.is_none_or(|before| before < number), "{stream}: {number} came after {before:?}");
    }
}

fn event_id(arrival: &Arrival) -> Option<&str> {
    match &arrival.how {
        How::Event { event_id, .. } => Some(event_id),
        How::Letter { .. } | How::Order => None,
    }
}
