//! Inputs whose fate is written on them: `ok a-3` becomes an event, `bad a-4` a dead letter.

use connector_sdk::schemas::{Attachment, Channel, Conversation, Event, FetchState, KeyBasis, Kind, Timestamp};
use connector_sdk::{Draft, EventKey, FetchOrder, Parse, Parsed, RawEvent, Wire};

/// What the parser makes of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Ok,
    Two,
    /// With an attachment whose bytes have to be stored.
    Blob,
    Order,
    Skip,
    Bad,
    Panic,
    Silent,
    /// Both the parser and its redaction panic.
    Worse,
}

const VERBS: [(&str, Verb); 9] = [
    ("ok", Verb::Ok),
    ("blob", Verb::Blob),
    ("two", Verb::Two),
    ("order", Verb::Order),
    ("skip", Verb::Skip),
    ("bad", Verb::Bad),
    ("panic", Verb::Panic),
    ("silent", Verb::Silent),
    ("worse", Verb::Worse),
];

/// One input: its verb, the stream that it belongs to, and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub verb: Verb,
    pub stream: String,
    pub number: usize,
}

impl Input {
    pub fn id(&self) -> String {
        format!("{}-{}", self.stream, self.number)
    }

    pub fn body(&self) -> String {
        let (word, _) = VERBS.iter().find(|(_, verb)| *verb == self.verb).expect("each has a word");
        format!("{word} {}", self.id())
    }

    pub fn raw(&self) -> RawEvent {
        let mut raw = RawEvent::new(Wire::Json, self.body(), Timestamp::UNIX_EPOCH);
        raw.headers.push("authorization", "Bearer the-secret");
        raw
    }
}

/// Inputs of one stream: mostly plain ones, now and then one of each other kind.
pub fn stream(name: &str, count: usize) -> Vec<Input> {
    let verb = |number: usize| match number % 17 {
        3 => Verb::Skip,
        5 => Verb::Bad,
        8 => Verb::Two,
        11 => Verb::Panic,
        14 => Verb::Silent,
        16 => Verb::Worse,
        _ => Verb::Ok,
    };
    (0..count).map(|number| Input { verb: verb(number), stream: name.to_owned(), number }).collect()
}

/// Every fourth has an attachment, the others are plain.
pub fn stream_with_blobs(name: &str, count: usize) -> Vec<Input> {
    let verb = |number: usize| if number % 4 == 3 { Verb::Blob } else { Verb::Ok };
    (0..count).map(|number| Input { verb: verb(number), stream: name.to_owned(), number }).collect()
}

pub struct FakeParse;

impl Parse for FakeParse {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let text = String::from_utf8_lossy(&raw.body).into_owned();
        let Some((word, id)) = text.split_once(' ') else { return Parsed::reject("unreadable", "no verb") };
        match VERBS.iter().find(|(known, _)| *known == word).map(|(_, verb)| *verb) {
            Some(Verb::Ok) => Parsed::one(event(id, "")),
            Some(Verb::Blob) => {
                let mut draft = event(id, "");
                draft.attach(Attachment::new("1", FetchState::Pending), id.to_owned().into());
                Parsed::one(draft)
            }
            Some(Verb::Two) => {
                let mut both = Parsed::one(event(id, ""));
                both.events.push(event(id, "again"));
                both
            }
            Some(Verb::Order) => Parsed { fetches: vec![order(id)], ..Parsed::default() },
            Some(Verb::Skip) => Parsed::skip(format!("type of {word}"), "by the test"),
            Some(Verb::Bad) => Parsed::reject("bad", "by the test"),
            Some(Verb::Silent) => Parsed::default(),
            Some(Verb::Panic | Verb::Worse) => panic!("scripted panic in parse"),
            None => Parsed::reject("unreadable", "unknown verb"),
        }
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        assert!(!raw.body.starts_with(b"worse"), "scripted panic in redact");
        connector_sdk::redact::headers(raw, &[])
    }
}

pub fn order(id: &str) -> FetchOrder {
    FetchOrder { id: id.to_owned(), kind: "media".to_owned(), params: id.into(), expires_at: None }
}

fn event(id: &str, revision: &str) -> Draft {
    let mut event = Event::new(Kind::MessageCreated, Channel::Chat, "fake", "account", Timestamp::UNIX_EPOCH);
    let stream = id.split_once('-').map_or(id, |(stream, _)| stream);
    event.conversation = Conversation::new(KeyBasis::Thread, stream);
    event.text = Some(id.to_owned());
    Draft::new(EventKey::revised(id, revision), event)
}
