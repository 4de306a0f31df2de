//! From an update to events. Webhook and polling bring the same bytes, so this is the one parse of both.

use connector_sdk::schemas::{Channel, Event, Kind, Timestamp};
use connector_sdk::{Draft, EventKey, Parse, Parsed, RawEvent, Rejected, Wire, json};
use serde_json::Value;

use crate::{Telegram, actions, id, media, members, message, wire};

pub const PROVIDER: &str = "telegram";
const PARSER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// An update's id, kind and content.
pub struct Update<'a> {
    pub id: String,
    pub kind: &'a str,
    pub holder: &'a Value,
}

/// Takes an update apart: one key beside `update_id` says what it is. A key that is known wins over others.
pub fn update(value: &Value) -> Option<Update<'_>> {
    let id = json::id(value, "/update_id")?;
    let others = || value.as_object().into_iter().flatten().filter(|(name, _)| *name != "update_id");
    let known = others().find(|(name, _)| wire::UPDATE_KINDS.contains(&name.as_str()));
    let (kind, holder) = known.or_else(|| others().next())?;
    Some(Update { id, kind, holder })
}

/// When it happened, in Unix seconds; 0 stands for a message that cannot be seen.
pub fn time(holder: &Value) -> Option<i64> {
    let seconds = |name: &str| holder.get(name).and_then(Value::as_i64).filter(|seconds| *seconds > 0);
    seconds("edit_date").or_else(|| seconds("date"))
}

impl Parse for Telegram {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        match raw.wire {
            Wire::Http | Wire::Json => {}
            Wire::Fetched => return media::fetched(self, raw),
            Wire::Mail | Wire::Frames => return Parsed::reject("unexpected_wire", "Telegram speaks JSON"),
        }
        let document = match json::parse(&raw.body) {
            Ok(document) => document,
            Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
        let Some(update) = update(&document.value) else {
            return Parsed::reject("missing_field", "body has no `update_id`, or nothing beside it");
        };
        if !update.holder.is_object() {
            return Parsed::reject("unexpected_shape", format!("`{}` is no object", known_name(update.kind)));
        }
        let cx = Cx { telegram: self, raw, sanitized: document.sanitized, update };
        cx.sort()
    }
}

/// The kind where it is one that Telegram documents: a name from the input does not go into an error.
fn known_name(kind: &str) -> &'static str {
    wire::UPDATE_KINDS.iter().find(|known| **known == kind).copied().unwrap_or("an unknown kind")
}

/// One update on its way.
pub struct Cx<'a> {
    pub telegram: &'a Telegram,
    pub raw: &'a RawEvent,
    pub update: Update<'a>,
    pub sanitized: bool,
}

impl<'a> Cx<'a> {
    fn sort(&self) -> Parsed {
        match self.update.kind {
            "message" | "channel_post" | "business_message" | "guest_message" => message::said(self),
            "edited_message" | "edited_channel_post" | "edited_business_message" => message::edited(self),
            "deleted_business_messages" => message::deleted(self),
            "message_reaction" => actions::reaction(self),
            "callback_query" => actions::callback(self),
            "chosen_inline_result" => actions::chosen_result(self),
            "poll_answer" => actions::poll_answer(self),
            "shipping_query" | "pre_checkout_query" | "purchased_paid_media" => actions::purchase(self),
            "chat_join_request" => actions::join_request(self),
            "my_chat_member" | "chat_member" => members::changed(self),
            "business_connection" => members::business_connection(self),
            "message_reaction_count" => Parsed::skip(self.update.kind, "totals of anonymous reactions; nobody acted"),
            "poll" => Parsed::skip(self.update.kind, "totals of a poll; who answered comes as poll_answer"),
            "inline_query" => Parsed::skip(self.update.kind, "words typed while looking something up; not sent yet"),
            "chat_boost" | "removed_chat_boost" => Parsed::skip(self.update.kind, "a boost of a chat; nothing is said"),
            "managed_bot" => Parsed::skip(self.update.kind, "administration of bots; nothing that a customer says"),
            _ => self.unsupported(self.update.kind),
        }
    }

    /// The content of the update.
    pub fn holder(&self) -> &'a Value {
        self.update.holder
    }

    /// Key of the update's one event.
    pub fn key(&self) -> EventKey {
        EventKey::new(&self.update.id)
    }

    /// Key of one of several events.
    pub fn key_of(&self, part: &str) -> EventKey {
        EventKey::new(format!("{}:{part}", self.update.id))
    }

    pub fn happened(&self) -> Timestamp {
        time(self.holder()).and_then(Timestamp::from_unix_seconds).unwrap_or(self.raw.received_at)
    }

    /// An event with what every event of the update shares.
    pub fn event(&self, kind: Kind) -> Event {
        let mut event = Event::new(kind, Channel::Chat, PROVIDER, &self.telegram.bot_id, self.happened());
        event.provider_sequence = Some(self.update.id.clone());
        event.provenance.provider_event_id = Some(self.update.id.clone());
        event.provenance.provider_type = Some(self.update.kind.to_owned());
        event.provenance.sanitized = self.sanitized;
        event.provider_data = Some(self.holder().clone().into());
        if let Some(conversation) = id::conversation(self.holder()) {
            event.conversation = conversation;
        }
        stamp_input(&mut event, self.raw);
        event
    }

    /// One of several events of the update: the list that they were taken from is not repeated in each.
    pub fn event_of(&self, kind: Kind, list: &[&str]) -> Event {
        let mut event = self.event(kind);
        if let Some(data) = event.provider_data.as_mut().and_then(|data| data.value_mut().as_object_mut()) {
            data.retain(|name, _| !list.contains(&name.as_str()));
        }
        event
    }

    /// A type that is not modelled, whole.
    pub fn unsupported(&self, name: &str) -> Parsed {
        let raw = self.holder().clone();
        let at = self.happened();
        let account = &self.telegram.bot_id;
        let mut draft = Draft::unsupported(self.key(), Channel::Chat, PROVIDER, account, at, name, raw);
        let like = self.event(Kind::Unsupported);
        draft.event.conversation = like.conversation;
        draft.event.provenance = like.provenance;
        draft.event.provider_sequence = like.provider_sequence;
        draft.event.provenance.provider_type = Some(name.to_owned());
        Parsed::one(draft)
    }
}

/// An item of a list that is not what the list holds.
pub fn broken(item: &Value, list: &'static str) -> Rejected {
    Rejected::part("unexpected_shape", format!("an item of `{list}` is not of its shape"), item.to_string())
}

/// How the input came.
pub fn stamp_input(event: &mut Event, raw: &RawEvent) {
    event.provenance.parser_version = Some(PARSER.to_owned());
    event.provenance.verified_by = match raw.wire {
        Wire::Http => Some("secret-header".to_owned()),
        // Asked for over TLS with the bot's own token.
        Wire::Json => Some("tls-login".to_owned()),
        _ => None,
    };
}
