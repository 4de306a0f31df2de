//! The payload of simulated inputs, and what became of it.

use connector_sdk::schemas::{Channel, Conversation, Event, KeyBasis, Kind, Timestamp};
use connector_sdk::{Draft, EventKey, Parse, Parsed, RawEvent, Wire};
use inlet::pipeline::deadletter::DeadLetter;
use inlet::pipeline::record::{Record, TopicRole};
use inlet_faults::judge::Copy;
use inlet_faults::ledger::Millis;

/// Separates the parts of a body.
const MARK: char = '|';

/// `ID|CONVERSATION|TEXT`.
pub fn body(id: &str, conversation: &str, text: &str) -> String {
    format!("{id}{MARK}{conversation}{MARK}{text}")
}

pub fn raw(body: &str, at: Millis) -> RawEvent {
    let at = Timestamp::from_unix_millis(at).expect("a moment of the simulation");
    let mut raw = RawEvent::new(Wire::Json, body.to_owned(), at);
    raw.method = "POST".to_owned();
    raw
}

pub struct SimParse;

impl Parse for SimParse {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let body = String::from_utf8_lossy(&raw.body).into_owned();
        let parts: Vec<_> = body.split(MARK).collect();
        let [id, conversation, text] = parts[..] else { return Parsed::reject("malformed", "three parts are wanted") };
        let mut event = Event::new(Kind::MessageCreated, Channel::Chat, "simulated", "account", raw.received_at);
        event.conversation = Conversation::new(KeyBasis::Thread, conversation);
        event.text = Some(text.to_owned());
        event.provenance.message_ids = vec![id.to_owned()];
        Parsed::one(Draft::new(EventKey::new(id), event))
    }
}

/// A record as the judge takes it; `None` for what Inlet says of itself.
pub fn copy(record: &Record, partition: i32, offset: usize) -> Option<Copy> {
    let offset = i64::try_from(offset).expect("few records");
    match record.topic {
        TopicRole::DeadLetter => {
            let letter: DeadLetter = serde_json::from_slice(&record.value).expect("a dead letter");
            let raw = letter.raw.expect("small enough to be in it");
            let body = String::from_utf8_lossy(&raw.body).into_owned();
            let id = body.split(MARK).next().unwrap_or_default().to_owned();
            let received_at = letter.received_at.unix_millis();
            Some(Copy { id, event_id: letter.id, digest: None, received_at, partition, offset })
        }
        _ => {
            let event: Event = serde_json::from_slice(&record.value).expect("an event");
            if event.notice.is_some() {
                return None;
            }
            let id = event.provenance.message_ids.first().expect("has its id").clone();
            let received_at = event.received_at.unix_millis();
            Some(Copy { id, event_id: event.id, digest: event.text, received_at, partition, offset })
        }
    }
}
