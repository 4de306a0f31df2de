//! What outlives a process: the sources with what they hold, Kafka, the ledger, and the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use connector_sdk::{Cursor, SourceClass, StreamId};
use inlet::delivery::memory::{Answer, MemoryLane, Script};
use inlet::delivery::replay::CursorKey;
use inlet::delivery::replay::partition::shard_of;
use inlet_faults::dice::Dice;
use inlet_faults::judge::{Copy, Rules, Verdict, judge};
use inlet_faults::ledger::{Class, Input, Ledger, Millis};

use crate::kafka::{Honesty, SimKafka};
use crate::life::Steps;
use crate::parse;

/// Shards of the replay lane.
pub const SHARDS: i32 = 3;
/// Sources that are read with a cursor: two polled, one a session.
pub const POLLED: [&str; 2] = ["mailbox-1", "mailbox-2"];
pub const REPLAYED: &str = "stream";
/// Told once.
pub const LIVE: &str = "switchboard";
/// Called by providers.
pub const HOOK: &str = "hook";
const CONVERSATIONS: usize = 4;
/// There is no index of what was seen in the simulation: no redelivery has to be suppressed.
const RULES: Rules = Rules { suppressed_after_ms: Millis::MAX, disturbed: Vec::new() };

/// One item of a source that can be read again, or one thing that is told.
#[derive(Clone)]
pub struct Item {
    pub id: String,
    pub body: String,
}

pub struct Outside {
    pub ledger: Mutex<Ledger>,
    pub kafka: Arc<SimKafka>,
    pub lanes: Vec<MemoryLane>,
    /// By source.
    pub feeds: BTreeMap<&'static str, Vec<Item>>,
    /// What the live source has yet to tell, the next one first.
    pub to_tell: Mutex<Vec<Item>>,
    /// What customers have yet to say, the next one first; it waits for the 2xx of the one before.
    pub conversations: Vec<Mutex<Vec<Item>>>,
    /// When the present process began.
    pub begun_at: Mutex<Millis>,
    pub honesty: Honesty,
}

impl Outside {
    pub fn new(seed: u64, honesty: Honesty) -> Arc<Self> {
        let mut dice = Dice::for_part(seed, "inputs");
        let mut ledger = Ledger::default();
        let mut items = |class, conversation: &str, count: u64| -> Vec<Item> {
            (0..count).map(|place| offer(&mut ledger, class, conversation, place)).collect()
        };
        let mut feeds = BTreeMap::new();
        for name in POLLED.into_iter().chain([REPLAYED]) {
            feeds.insert(name, items(Class::Replay, name, dice.between(3, 15)));
        }
        let to_tell = Mutex::new(items(Class::Live, LIVE, dice.between(3, 10)));
        let conversations = (0..CONVERSATIONS).map(|n| format!("talk-{n}"));
        let conversations =
            conversations.map(|name| Mutex::new(items(Class::Push, &name, dice.between(1, 7)))).collect();
        for item in feeds.values().flatten() {
            ledger.owe(&item.id);
        }
        let mut answers = Dice::for_part(seed, "kafka");
        let kafka = SimKafka::new(Script::random(answers.number()), honesty, Dice::for_part(seed, "latency"));
        let lanes = (0..SHARDS).map(|_| MemoryLane::new(Script::random(answers.number()))).collect();
        Arc::new(Self {
            ledger: Mutex::new(ledger),
            kafka,
            lanes,
            feeds,
            to_tell,
            conversations,
            begun_at: Mutex::new(1_000_000),
            honesty,
        })
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic while held")
    }

    /// The lane of an instance.
    pub fn lane(&self, instance: &str) -> &MemoryLane {
        &self.lanes[usize::try_from(shard_of(instance, SHARDS)).expect("a shard")]
    }

    /// Kafka is well from now on.
    pub fn mend(&self) {
        self.kafka.log.set_script(Script::always(Answer::Taken));
        self.lanes.iter().for_each(|lane| lane.set_script(Script::always(Answer::Taken)));
    }

    /// Where a source's stream is read from, as its cursor says.
    pub fn position(&self, cursor: Option<Cursor>, steps: &Steps) -> usize {
        let forgotten = self.honesty == Honesty::ForgetsCursors && steps.one_in(6);
        let number = cursor.filter(|_| !forgotten).map(|cursor| cursor.0.as_u64().expect("as it was given"));
        number.map_or(0, |number| usize::try_from(number).expect("fits"))
    }

    /// Whether every source has been read to its end, and all that was said was taken.
    pub fn is_done(&self) -> bool {
        let at_end = |(name, items): (&&str, &Vec<Item>)| {
            let key = CursorKey { instance: (*name).to_owned(), stream: StreamId::new("items") };
            self.lane(name).cursor(&key) == Some(Cursor(items.len().into()))
        };
        self.feeds.iter().all(at_end)
            && self.to_tell.lock().expect("no panic while held").is_empty()
            && self.conversations.iter().all(|c| c.lock().expect("no panic while held").is_empty())
    }

    pub fn judge(&self) -> Verdict {
        let mut logs = vec![self.kafka.log.records()];
        logs.extend(self.lanes.iter().map(MemoryLane::records));
        let copies: Vec<Copy> = logs
            .iter()
            .zip(0..)
            .flat_map(|(log, partition)| {
                log.iter().enumerate().filter_map(move |(offset, record)| parse::copy(record, partition, offset))
            })
            .collect();
        judge(&self.ledger(), &copies, &RULES)
    }
}

fn offer(ledger: &mut Ledger, class: Class, conversation: &str, place: u64) -> Item {
    let id = format!("{conversation}.{place}");
    let text = format!("text of {id}");
    let body = parse::body(&id, conversation, &text);
    ledger.offer(&id, Input { class, conversation: conversation.to_owned(), place, digest: text });
    Item { id, body }
}

/// What an instance's source promises.
pub fn class_of(name: &str) -> SourceClass {
    match name {
        LIVE => SourceClass::Ephemeral,
        HOOK => SourceClass::Redeliver { horizon: std::time::Duration::from_secs(3600) },
        _ => SourceClass::Replay,
    }
}
