//! Messages: said, edited, deleted, and what Telegram itself says in a chat.

use std::borrow::Cow;
use std::collections::BTreeSet;

use connector_sdk::schemas::{Automation, Direction, Event, Kind, Target};
use connector_sdk::{Draft, EventKey, FetchOrder, Parsed, json, text as hygiene};
use serde_json::Value;

use crate::parse::{Cx, broken, time};
use crate::{id, media, members, people, text, wire};

/// A message, a channel's post, a message through a business connection or one to a guest bot.
pub fn said(cx: &Cx<'_>) -> Parsed {
    let message = cx.holder();
    if let Some(parsed) = notice(cx, message) {
        return parsed;
    }
    let Some(message_id) = message_id(message) else {
        return Parsed::reject("missing_field", "message without `message_id` or `chat`");
    };
    let mut event = cx.event(Kind::MessageCreated);
    let fetches = fill(cx, &mut event, message, &message_id);
    Parsed { events: vec![Draft::new(cx.key(), event)], fetches, ..Parsed::default() }
}

/// An edit: the message as it is now.
pub fn edited(cx: &Cx<'_>) -> Parsed {
    let message = cx.holder();
    let Some(message_id) = message_id(message) else {
        return Parsed::reject("missing_field", "edit without `message_id` or `chat`");
    };
    let mut event = cx.event(Kind::MessageEdited);
    event.target = Some(Target::message(&message_id));
    let fetches = fill(cx, &mut event, message, &message_id);
    // The time of the edit in seconds is what Telegram calls the version; the update's id tells two of one second apart.
    let revision = time(message).map_or_else(|| cx.update.id.clone(), |seconds| seconds.to_string());
    let key = EventKey::revised(&cx.update.id, revision);
    Parsed { events: vec![Draft::new(key, event)], fetches, ..Parsed::default() }
}

/// Messages deleted from a business account's chat: the one deletion that Telegram reports. One event each.
pub fn deleted(cx: &Cx<'_>) -> Parsed {
    const LIST: &str = "message_ids";
    let mut parsed = Parsed::default();
    let mut seen = BTreeSet::new();
    for item in cx.holder().get(LIST).and_then(Value::as_array).into_iter().flatten() {
        let message = item.as_i64().and_then(|id| Some((id, id::message(cx.holder(), &id.to_string())?)));
        let Some((message_id, message)) = message else {
            parsed.rejected.push(broken(item, LIST));
            continue;
        };
        if seen.insert(message_id) {
            let mut event = cx.event_of(Kind::MessageDeleted, &[LIST]);
            event.target = Some(Target::message(message));
            parsed.events.push(Draft::new(cx.key_of(&message_id.to_string()), event));
        }
    }
    if parsed.is_empty() {
        return Parsed::reject("missing_field", "deletion without `message_ids`");
    }
    parsed
}

/// The id of a message, by its own fields.
pub fn message_id(message: &Value) -> Option<String> {
    id::message(message, &json::id(message, "/message_id")?)
}

/// What Telegram itself says in a chat; `None` where the message carries content.
fn notice(cx: &Cx<'_>, message: &Value) -> Option<Parsed> {
    let fields = message.as_object()?;
    if fields.keys().any(|name| wire::CONTENT.contains(&name.as_str())) {
        return None;
    }
    if let Some(joined) = message.get("new_chat_members").and_then(Value::as_array) {
        return Some(members::noticed(cx, "new_chat_members", joined, &Kind::ParticipantJoined));
    }
    if let Some(left) = message.get("left_chat_member") {
        return Some(members::noticed(cx, "left_chat_member", std::slice::from_ref(left), &Kind::ParticipantLeft));
    }
    if message.get("migrate_to_chat_id").is_some() || message.get("migrate_from_chat_id").is_some() {
        return Some(migrated(cx, message));
    }
    let mut unknown = fields.keys().filter(|name| !wire::ABOUT_MESSAGE.contains(&name.as_str()));
    match unknown.clone().find(|name| wire::NOTICES.contains(&name.as_str())) {
        Some(name) => {
            let item = format!("{}/{name}", cx.update.kind);
            Some(Parsed::skip(item, "a notice of the chat; nothing that a customer says"))
        }
        // A message of a sort that is newer than this connector, or not modelled (a story, a giveaway).
        None => unknown.next().map(|name| cx.unsupported(&format!("{}/{name}", cx.update.kind))),
    }
}

/// A group that became a supergroup: the same people under another chat id. Told once in each of the two chats.
fn migrated(cx: &Cx<'_>, message: &Value) -> Parsed {
    let mut event = cx.event(Kind::MessageCreated);
    event.direction = Direction::Internal;
    event.provenance.message_ids = message_id(message).into_iter().collect();
    event.text = match (json::id(message, "/migrate_to_chat_id"), json::id(message, "/migrate_from_chat_id")) {
        (Some(to), _) => Some(format!("The group became supergroup {to}.")),
        (None, Some(from)) => Some(format!("This supergroup was group {from} before.")),
        (None, None) => None,
    };
    Parsed::one(Draft::new(cx.key(), event))
}

/// Fills in who said what; returns the orders for the files.
fn fill(cx: &Cx<'_>, event: &mut Event, message: &Value, message_id: &str) -> Vec<FetchOrder> {
    event.provenance.message_ids = vec![message_id.to_owned()];
    event.conversation.in_reply_to = in_reply_to(message);
    event.sender = people::author(message);
    event.direction = direction(cx, message);
    if message.pointer("/from/is_bot") == Some(&Value::Bool(true)) && message.get("sender_chat").is_none() {
        event.provenance.automation = Some(Automation::AutoGenerated);
    }
    let (field, entities) =
        if message.get("text").is_some() { ("/text", "entities") } else { ("/caption", "caption_entities") };
    if let Some(raw) = json::text(message, field) {
        let marked = text::marked(raw, message.get(entities));
        let clean = hygiene::clean(raw);
        event.provenance.sanitized |= matches!(clean, Cow::Owned(_));
        event.content.push(connector_sdk::schemas::Part::plain(clean.clone()));
        event.content.extend(marked.parts);
        event.text = Some(clean.into_owned());
        event.recipients = marked.mentions;
    }
    media::fill(cx, event, message, message_id)
}

/// The message that this one answers. In a forum's topic every message names the topic's first one, which is no answer.
fn in_reply_to(message: &Value) -> Option<String> {
    if let Some(reply) = message.get("reply_to_message") {
        let replied = json::id(reply, "/message_id")?;
        let is_topic = message.get("is_topic_message") == Some(&Value::Bool(true));
        if is_topic && json::id(message, "/message_thread_id").as_ref() == Some(&replied) {
            return None;
        }
        return id::message(message, &replied);
    }
    let external = message.get("external_reply")?;
    id::message(external, &json::id(external, "/message_id")?)
}

/// Who speaks, seen from the business.
fn direction(cx: &Cx<'_>, message: &Value) -> Direction {
    let from = json::id(message, "/from/id");
    let chat = json::id(message, "/chat/id");
    let speaks_as = json::id(message, "/sender_chat/id");
    let is_own = |id: &String| *id == cx.telegram.bot_id || cx.telegram.own_user_ids.contains(id);
    let own = match cx.update.kind {
        // What a channel says is said by those who run it.
        "channel_post" | "edited_channel_post" => true,
        // The chat has the customer's id: anybody else who writes in it is the business or its bot.
        "business_message" | "edited_business_message" => {
            message.get("sender_business_bot").is_some() || (from.is_some() && from != chat)
        }
        // An administrator who stays anonymous speaks as the group itself.
        _ => speaks_as.is_some() && speaks_as == chat,
    };
    // The channel that a discussion group belongs to.
    let forwarded = message.get("is_automatic_forward") == Some(&Value::Bool(true));
    if own || forwarded || (speaks_as.is_none() && from.as_ref().is_some_and(is_own)) {
        Direction::OutboundEcho
    } else {
        Direction::Inbound
    }
}
