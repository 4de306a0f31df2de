//! Inner events other than messages: reactions, membership, the app's home, and what concerns the app itself.

use std::time::Duration;

use connector_sdk::schemas::{
    Channel, Conversation, ConversationType, Direction, Event as Unified, KeyBasis, Kind, Notice, Part, Target,
};
use connector_sdk::{EventKey, Parsed, Timestamp};
use serde_json::Value;

use crate::parse::{Cx, direction, unsupported};
use crate::rest::Rest;
use crate::wire::Event;
use crate::{Slack, id, message, skipped};

/// Span that one `app_rate_limited` speaks of.
const RATE_WINDOW: Duration = Duration::from_secs(60);
/// Key of events about the app as a whole.
const ACCOUNT_KEY: &str = "app";

/// Sorts an inner event.
pub(crate) fn event(slack: &Slack, cx: Cx<'_>, event: Event<'_>) -> Parsed {
    let Some(kind) = event.kind.clone() else {
        return Parsed::reject("missing_field", "`event` has no `type`");
    };
    match &*kind {
        "message" => message::message(slack, cx, event),
        "app_mention" => message::app_mention(slack, cx, event),
        "reaction_added" => reaction(slack, cx, event, Kind::ReactionAdded),
        "reaction_removed" => reaction(slack, cx, event, Kind::ReactionRemoved),
        "member_joined_channel" => participant(slack, cx, event, Kind::ParticipantJoined),
        "member_left_channel" => participant(slack, cx, event, Kind::ParticipantLeft),
        "app_home_opened" => home_opened(slack, cx, event),
        "app_uninstalled" => stopped(cx, event, "the app was removed from the workspace", "install the app again"),
        "tokens_revoked" => stopped(
            cx,
            event,
            "tokens of the app were revoked",
            "install the app again and put its new bot token into `bot_token`",
        ),
        other => match skipped::reason(other) {
            Some(reason) => Parsed::skip(kind.into_owned(), reason),
            None => unsupported(cx, other, event.subtype.as_deref().unwrap_or_default()),
        },
    }
}

fn reaction(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>, kind: Kind) -> Parsed {
    let Some(emoji) = event.reaction.take() else {
        return Parsed::reject("missing_field", "reaction without `reaction`");
    };
    let item: Option<Value> = event.rest.value("item");
    let item = |name: &str| item.as_ref()?.get(name)?.as_str();
    let (channel, ts, file) = (item("channel"), item("ts"), item("file"));
    let mut unified = cx.event(kind, event.event_ts.as_deref(), message::provider_type(&event));
    unified.provider_sequence = event.event_ts.as_deref().and_then(id::sequence);
    let mut target = Target { attachment_id: file.map(str::to_owned), ..Target::default() };
    if let (Some(channel), Some(ts)) = (channel, ts) {
        unified.conversation = message::conversation(channel, ts, None, None);
        if unified.conversation.key_basis == KeyBasis::Thread {
            // The payload names the message alone: right for a thread's root, a guess for a reply in it.
            unified.conversation.key_basis = KeyBasis::Other("message".to_owned());
        }
        target.message_id = Some(id::message(channel, ts));
    } else if file.is_none() {
        return Parsed::reject("missing_field", "reaction to neither a message nor a file");
    }
    unified.target = Some(target);
    unified.direction = direction(slack, &cx.envelope, &event);
    unified.sender = message::actor(&event);
    unified.text = Some(format!(":{emoji}:"));
    unified.content.push(Part::Reaction { emoji: emoji.into_owned() });
    let key = cx.key();
    let rest = message::rest(event);
    Parsed::one(cx.draft(key, unified, rest))
}

/// Somebody came into a channel or left it, as an event of its own or as Slack's message in the channel.
pub(crate) fn participant(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>, kind: Kind) -> Parsed {
    let Some(channel) = event.channel.take() else {
        return Parsed::reject("missing_field", "membership without `channel`");
    };
    let at = event.event_ts.as_deref().or(event.ts.as_deref());
    let mut unified = cx.event(kind, at, message::provider_type(&event));
    unified.provider_sequence = at.and_then(id::sequence);
    unified.conversation = in_channel(&channel, event.channel_type.as_deref());
    unified.direction = direction(slack, &cx.envelope, &event);
    unified.sender = message::actor(&event);
    unified.text = event.text.take().map(|text| crate::text::plain(&text).text.into_owned());
    let key = cx.key();
    let rest = message::rest(event);
    Parsed::one(cx.draft(key, unified, rest))
}

pub(crate) fn in_channel(channel: &str, channel_type: Option<&str>) -> Conversation {
    let mut conversation = Conversation::new(KeyBasis::Channel, channel);
    conversation.channel_id = Some(channel.to_owned());
    conversation.conversation_type = match channel_type {
        Some("im" | "app_home") => Some(ConversationType::Direct),
        // `G` and `C` are the short names that membership events use.
        Some("mpim" | "group" | "G") => Some(ConversationType::Group),
        Some("channel" | "C") => Some(ConversationType::Channel),
        _ => id::is_direct(channel).then_some(ConversationType::Direct),
    };
    conversation
}

fn home_opened(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>) -> Parsed {
    let Some(channel) = event.channel.take() else {
        return Parsed::reject("missing_field", "app_home_opened without `channel`");
    };
    let mut unified = cx.event(Kind::Postback, event.event_ts.as_deref(), "app_home_opened");
    unified.provider_sequence = event.event_ts.as_deref().and_then(id::sequence);
    unified.conversation = in_channel(&channel, Some("app_home"));
    unified.direction = direction(slack, &cx.envelope, &event);
    unified.sender = message::actor(&event);
    let tab = event.tab.take().map(String::from);
    unified.content.push(Part::Interactive {
        action: "view".to_owned(),
        id: Some("app_home".to_owned()),
        title: None,
        payload: tab,
    });
    let key = cx.key();
    let rest = message::rest(event);
    Parsed::one(cx.draft(key, unified, rest))
}

/// The app can no longer read: a health event that tells an operator.
fn stopped(cx: Cx<'_>, event: Event<'_>, reason: &str, action: &str) -> Parsed {
    let mut unified = cx.event(Kind::ConnectorHealth, event.event_ts.as_deref(), message::provider_type(&event));
    about_the_app(&mut unified);
    unified.notice = Some(Notice {
        state: "stopped".to_owned(),
        reason: reason.to_owned(),
        action: Some(action.to_owned()),
        ..Notice::default()
    });
    let key = cx.key();
    let rest = message::rest(event);
    Parsed::one(cx.draft(key, unified, rest))
}

/// Slack dropped events of one minute: they are lost, and this says which minute.
pub(crate) fn rate_limited(cx: Cx<'_>) -> Parsed {
    let Some(minute) = cx.envelope.read("minute_rate_limited") else {
        return Parsed::reject("missing_field", "app_rate_limited without `minute_rate_limited`");
    };
    let Some(from) = Timestamp::from_unix_seconds(minute) else {
        return Parsed::reject("bad_value", "minute_rate_limited is no time");
    };
    let mut unified = cx.event(Kind::ConnectorGap, None, "app_rate_limited");
    unified.occurred_at = from;
    about_the_app(&mut unified);
    unified.notice = Some(Notice {
        state: "gap".to_owned(),
        part: None,
        reason: "Slack dropped events of this minute: over 30,000 events an hour for this workspace".to_owned(),
        action: Some("subscribe to fewer events, or read the channel's history of this minute".to_owned()),
        from: Some(from),
        to: Some(from.plus(RATE_WINDOW)),
    });
    Parsed::one(cx.draft(EventKey::new(format!("rate:{minute}")), unified, Rest::default()))
}

fn about_the_app(unified: &mut Unified) {
    unified.channel = Channel::System;
    unified.direction = Direction::Internal;
    unified.conversation = Conversation::new(KeyBasis::Account, ACCOUNT_KEY).of_type(ConversationType::System);
}
