//! Who is in a chat, and whether a business account lets the bot in.

use std::collections::BTreeSet;

use connector_sdk::schemas::{Channel, Conversation, ConversationType, Direction, KeyBasis, Kind, Notice};
use connector_sdk::{Draft, Parsed, json};
use serde_json::Value;

use crate::parse::{Cx, broken};
use crate::people;

/// `my_chat_member` (the bot itself) and `chat_member` (others).
///
/// The sender is the member. Of the bot's own membership it is whoever changed it: a customer who blocks the bot or
/// starts it again, an administrator who adds or removes it.
pub fn changed(cx: &Cx<'_>) -> Parsed {
    let update = cx.holder();
    let is_in = |name: &str| update.get(name).map(is_member);
    let (Some(before), Some(after)) = (is_in("old_chat_member"), is_in("new_chat_member")) else {
        return Parsed::reject("missing_field", "membership without `old_chat_member` or `new_chat_member`");
    };
    let kind = match (before, after) {
        (false, true) => Kind::ParticipantJoined,
        (true, false) => Kind::ParticipantLeft,
        _ => return Parsed::skip(cx.update.kind, "rights of a member changed; nobody came or left"),
    };
    let mut event = cx.event(kind);
    let who =
        if cx.update.kind == "my_chat_member" { update.get("from") } else { update.pointer("/new_chat_member/user") };
    event.sender = who.and_then(people::user);
    Parsed::one(Draft::new(cx.key(), event))
}

fn is_member(member: &Value) -> bool {
    match json::text(member, "/status") {
        Some("creator" | "administrator" | "member") => true,
        Some("restricted") => member.get("is_member") == Some(&Value::Bool(true)),
        _ => false,
    }
}

/// Members that a chat's notice names; one event each.
pub fn noticed(cx: &Cx<'_>, list: &'static str, members: &[Value], kind: &Kind) -> Parsed {
    let mut parsed = Parsed::default();
    let mut seen = BTreeSet::new();
    for member in members {
        let Some(user) = json::id(member, "/id") else {
            parsed.rejected.push(broken(member, list));
            continue;
        };
        if seen.insert(user.clone()) {
            let mut event = cx.event_of(kind.clone(), NAMED_TWICE);
            event.sender = people::user(member);
            parsed.events.push(Draft::new(cx.key_of(&user), event));
        }
    }
    if parsed.is_empty() {
        return Parsed::reject("missing_field", "notice of members that names none");
    }
    parsed
}

/// Fields with the members: today's list, and the single ones that Telegram sends beside it for old bots.
const NAMED_TWICE: &[&str] =
    &["new_chat_members", "new_chat_member", "new_chat_participant", "left_chat_member", "left_chat_participant"];

/// `business_connection`: an account connected the bot, or took the connection away.
pub fn business_connection(cx: &Cx<'_>) -> Parsed {
    let connection = cx.holder();
    let enabled = connection.get("is_enabled") == Some(&Value::Bool(true));
    let mut event = cx.event(Kind::ConnectorHealth);
    event.channel = Channel::System;
    event.direction = Direction::Internal;
    event.sender = connection.get("user").and_then(people::user);
    let connection_id = json::text(connection, "/id").unwrap_or("?");
    event.conversation = Conversation::new(KeyBasis::Account, connection_id).of_type(ConversationType::System);
    event.notice = Some(if enabled {
        Notice {
            state: "running".to_owned(),
            reason: format!("business connection {connection_id} is enabled"),
            ..Notice::default()
        }
    } else {
        Notice {
            state: "stopped".to_owned(),
            reason: format!("business connection {connection_id} was taken away; its chats are no longer seen"),
            action: Some("connect the bot again in the business account's settings (Chatbots)".to_owned()),
            ..Notice::default()
        }
    });
    Parsed::one(Draft::new(cx.key(), event))
}
