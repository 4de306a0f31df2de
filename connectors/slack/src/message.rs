//! Messages: said, edited, deleted, and what Slack itself says in a channel.
//!
//! Source: docs.slack.dev `reference/events/message`; slackapi/node-slack-sdk `packages/types/src/events/message.ts`;
//! for deleted thread roots (`tombstone`) matterbridge issue 600 and slack-edge pull request 10.

use std::borrow::Cow;

use connector_sdk::schemas::{
    Actor, Automation, Conversation, ConversationType, Direction, Event as Unified, Identity, KeyBasis, Kind, Part,
    Recipient, Role, Target,
};
use connector_sdk::{EventKey, FetchOrder, Parsed, text as hygiene};
use serde_json::Value;

use crate::parse::{Cx, direction, unsupported};
use crate::rest::{Kept, Rest};
use crate::wire::{Event, Text};
use crate::{AppMention, Slack, files, id, text};

pub(crate) const USER_ID: &str = "slack_user_id";
pub(crate) const BOT_ID: &str = "slack_bot_id";
const TOMBSTONE: &str = "tombstone";

/// What a `message` event's subtype makes of it.
enum Sort {
    Said,
    /// Slack's own notice in the channel (`channel_topic`, …).
    Notice,
    Changed,
    Deleted,
    Joined,
    Left,
    /// Told elsewhere too.
    Repeated(&'static str),
    Unknown,
}

fn sort(subtype: Option<&str>) -> Sort {
    match subtype {
        None | Some("file_share" | "me_message" | "thread_broadcast" | "bot_message" | "assistant_app_thread") => {
            Sort::Said
        }
        Some("message_changed") => Sort::Changed,
        Some("message_deleted") => Sort::Deleted,
        Some("channel_join" | "group_join") => Sort::Joined,
        Some("channel_leave" | "group_leave") => Sort::Left,
        Some("message_replied") => Sort::Repeated("counts replies; the reply comes as a message of its own"),
        Some(
            "channel_topic"
            | "channel_purpose"
            | "channel_name"
            | "channel_archive"
            | "channel_unarchive"
            | "channel_posting_permissions"
            | "channel_convert_to_private"
            | "group_topic"
            | "group_purpose"
            | "group_name"
            | "group_archive"
            | "group_unarchive"
            | "bot_add"
            | "bot_remove"
            | "pinned_item"
            | "unpinned_item"
            | "reminder_add"
            | "ekm_access_denied"
            | "tombstone",
        ) => Sort::Notice,
        Some(_) => Sort::Unknown,
    }
}

/// A `message` event.
pub(crate) fn message(slack: &Slack, cx: Cx<'_>, event: Event<'_>) -> Parsed {
    match sort(event.subtype.as_deref()) {
        Sort::Said => said(slack, cx, event, None),
        Sort::Notice => said(slack, cx, event, Some(Direction::Internal)),
        Sort::Changed => changed(slack, cx, event),
        Sort::Deleted => deleted(slack, cx, event),
        Sort::Joined => crate::events::participant(slack, cx, event, Kind::ParticipantJoined),
        Sort::Left => crate::events::participant(slack, cx, event, Kind::ParticipantLeft),
        Sort::Repeated(reason) => Parsed::skip(provider_type(&event), reason),
        Sort::Unknown => {
            let subtype = event.subtype.as_deref().unwrap_or_default();
            unsupported(cx, "message", subtype)
        }
    }
}

/// An `app_mention`: the message once more, under the same id.
pub(crate) fn app_mention(slack: &Slack, cx: Cx<'_>, event: Event<'_>) -> Parsed {
    match slack.app_mention {
        AppMention::Publish => said(slack, cx, event, None),
        AppMention::Skip => Parsed::skip("app_mention", "the message event says the same (option app_mention)"),
    }
}

fn said(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>, direction: Option<Direction>) -> Parsed {
    let (Some(channel), Some(ts)) = (event.channel.take(), event.ts.take()) else {
        return Parsed::reject("missing_field", "message without `channel` or `ts`");
    };
    let mut unified = cx.event(Kind::MessageCreated, Some(&ts), provider_type(&event));
    let message_id = id::message(&channel, &ts);
    unified.provider_sequence = id::sequence(&ts);
    unified.conversation = conversation(&channel, &ts, event.thread_ts.as_deref(), event.channel_type.as_deref());
    unified.provenance.message_ids = vec![message_id.clone()];
    let fetches = fill(slack, &cx.envelope, &mut unified, &mut event, &message_id);
    if let Some(direction) = direction {
        unified.direction = direction;
    }
    let rest = rest(event);
    Parsed { events: vec![cx.draft(EventKey::new(message_id), unified, rest)], fetches, ..Parsed::default() }
}

fn changed(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>) -> Parsed {
    let previous = event.rest.value("previous_message");
    let (Some(raw), Some(now)) = (event.rest.raw("message"), event.rest.value("message")) else {
        return Parsed::reject("missing_field", "message_changed without `message`");
    };
    if now.get("subtype").and_then(Value::as_str) == Some(TOMBSTONE) {
        event.deleted_ts = now.get("ts").and_then(Value::as_str).map(|ts| Cow::Owned(ts.to_owned()));
        return deleted(slack, cx, event);
    }
    if !is_real_edit(&now, previous.as_ref()) {
        return Parsed::skip("message/message_changed", "nothing that anybody wrote changed (link preview, counters)");
    }
    let Ok(mut message) = serde_json::from_str::<Event<'_>>(raw.get()) else {
        return Parsed::reject("unexpected_shape", "message_changed whose `message` is no object");
    };
    let (Some(channel), Some(ts)) = (event.channel.take(), message.ts.take()) else {
        return Parsed::reject("missing_field", "message_changed without `channel` or `message.ts`");
    };
    // `edited.ts` counts whole seconds, so it cannot tell two edits of one second apart; the change's own time can.
    let Some(revision) = event.event_ts.take().or(event.ts.take()) else {
        return Parsed::reject("missing_field", "message_changed without the time of the change");
    };
    let mut unified = cx.event(Kind::MessageEdited, Some(&revision), provider_type(&event));
    let message_id = id::message(&channel, &ts);
    unified.provider_sequence = id::sequence(&revision);
    unified.conversation = conversation(&channel, &ts, message.thread_ts.as_deref(), event.channel_type.as_deref());
    unified.provenance.message_ids = vec![message_id.clone()];
    unified.target = Some(Target::message(&message_id));
    let fetches = fill(slack, &cx.envelope, &mut unified, &mut message, &message_id);
    let mut kept = rest(event);
    kept.insert(Text::Borrowed("message"), Kept::Rest(rest(message)));
    let draft = cx.draft(EventKey::revised(message_id, revision), unified, kept);
    Parsed { events: vec![draft], fetches, ..Parsed::default() }
}

/// Whether a person or bot changed what the message says. Link previews and reply counters arrive as changes too.
fn is_real_edit(now: &Value, previous: Option<&Value>) -> bool {
    let Some(previous) = previous else { return true };
    let edited = |message: &Value| message.pointer("/edited/ts").cloned();
    edited(now) != edited(previous)
        || ["text", "blocks", "files"].iter().any(|field| now.get(field) != previous.get(field))
}

fn deleted(slack: &Slack, cx: Cx<'_>, mut event: Event<'_>) -> Parsed {
    let (Some(channel), Some(ts)) = (event.channel.take(), event.deleted_ts.take()) else {
        return Parsed::reject("missing_field", "message_deleted without `channel` or `deleted_ts`");
    };
    let (previous, now) = (event.rest.value("previous_message"), event.rest.value("message"));
    let field = |name: &str| previous.as_ref()?.get(name)?.as_str();
    let thread = field("thread_ts").or_else(|| now.as_ref()?.get("thread_ts")?.as_str());
    // Who deleted it is not said; whose message it was decides the direction.
    let author = Event {
        user: field("user").map(Cow::Borrowed),
        bot_id: field("bot_id").map(Cow::Borrowed),
        app_id: field("app_id").map(Cow::Borrowed),
        ..Event::default()
    };
    let change_ts = event.event_ts.as_deref().or(event.ts.as_deref());
    let mut unified = cx.event(Kind::MessageDeleted, change_ts, provider_type(&event));
    unified.direction = direction(slack, &cx.envelope, &author);
    unified.provider_sequence = change_ts.and_then(id::sequence);
    unified.conversation = conversation(&channel, &ts, thread, event.channel_type.as_deref());
    let message_id = id::message(&channel, &ts);
    unified.target = Some(Target::message(&message_id));
    Parsed::one(cx.draft(EventKey::new(message_id), unified, rest(event)))
}

/// Fills in who said what: sender, mentions, text, files. Returns the orders for the files.
fn fill(
    slack: &Slack,
    envelope: &Rest<'_>,
    unified: &mut Unified,
    message: &mut Event<'_>,
    message_id: &str,
) -> Vec<FetchOrder> {
    unified.direction = direction(slack, envelope, message);
    let markup = message.text.take().unwrap_or_default();
    let mut plain = text::plain(&markup);
    if plain.text.is_empty() {
        plain = message.rest.value("blocks").as_ref().map(text::of_blocks).unwrap_or_default();
    }
    if plain.text.is_empty() {
        plain = message.rest.value("attachments").as_ref().map(text::of_attachments).unwrap_or_default();
    }
    if plain.text != markup && !markup.is_empty() {
        message.rest.insert(Text::Borrowed("text"), Kept::Text(markup.clone()));
    }
    let mention =
        |user: String| Recipient { role: Role::Mention, actor: Actor::new(vec![Identity::by_provider(USER_ID, user)]) };
    unified.recipients = plain.mentions.into_iter().map(mention).collect();
    let clean = hygiene::clean(&plain.text);
    unified.provenance.sanitized |= matches!(clean, Cow::Owned(_));
    if !clean.trim().is_empty() {
        let clean = clean.into_owned();
        unified.content.push(Part::plain(clean.clone()));
        unified.text = Some(clean);
    }
    unified.sender = actor(message);
    if message.bot_id.is_some() {
        unified.provenance.automation = Some(Automation::AutoGenerated);
    }
    files::attach(slack.bot_token.is_some(), unified, message.rest.value("files").as_ref(), message_id)
}

/// Who wrote it, by every id that is named.
pub(crate) fn actor(event: &Event<'_>) -> Option<Actor> {
    let ids = [(USER_ID, &event.user), (BOT_ID, &event.bot_id)];
    let identities: Vec<Identity> = ids
        .into_iter()
        .filter_map(|(scheme, id)| Some(Identity::by_provider(scheme, id.as_deref().filter(|id| !id.is_empty())?)))
        .collect();
    let (user, bot) = (event.rest.value("user_profile"), event.rest.value("bot_profile"));
    let of = |profile: &'_ Option<Value>, name: &str| Some(profile.as_ref()?.get(name)?.as_str()?.to_owned());
    let name = event.username.as_deref().map(str::to_owned);
    let name = name.or_else(|| of(&user, "real_name")).or_else(|| of(&user, "display_name"));
    let name = name.or_else(|| of(&bot, "name"));
    if identities.is_empty() && name.is_none() {
        return None;
    }
    let mut actor = Actor::new(identities).named(name.as_deref().map(hygiene::one_line));
    actor.is_bot = event.bot_id.is_some().then_some(true);
    Some(actor)
}

/// The thread; in direct and group conversations the conversation itself, where a thread is only a branch of it.
pub(crate) fn conversation(
    channel: &str,
    ts: &str,
    thread_ts: Option<&str>,
    channel_type: Option<&str>,
) -> Conversation {
    let of_type = match channel_type {
        Some("im" | "app_home") => Some(ConversationType::Direct),
        Some("mpim" | "group") => Some(ConversationType::Group),
        Some("channel") => Some(ConversationType::Channel),
        _ => id::is_direct(channel).then_some(ConversationType::Direct),
    };
    let whole = id::is_direct(channel) || matches!(channel_type, Some("im" | "app_home" | "mpim"));
    let root = thread_ts.unwrap_or(ts);
    let mut conversation = if whole {
        Conversation::new(KeyBasis::Channel, channel)
    } else {
        Conversation::new(KeyBasis::Thread, id::message(channel, root))
    };
    conversation.conversation_type = of_type;
    conversation.channel_id = Some(channel.to_owned());
    conversation.thread_id = if whole { thread_ts.map(str::to_owned) } else { Some(root.to_owned()) };
    conversation.in_reply_to = (root != ts).then(|| id::message(channel, root));
    conversation
}

/// Type and subtype (`message/bot_message`).
pub(crate) fn provider_type(event: &Event<'_>) -> String {
    let kind = event.kind.as_deref().unwrap_or_default();
    match event.subtype.as_deref() {
        Some(subtype) => [kind, "/", subtype].concat(),
        None => kind.to_owned(),
    }
}

/// What of an event has no field in the schema.
pub(crate) fn rest(event: Event<'_>) -> Rest<'_> {
    let mut rest = event.rest;
    let named = [
        ("subtype", event.subtype),
        ("channel_type", event.channel_type),
        ("app_id", event.app_id),
        ("username", event.username),
    ];
    for (name, text) in named {
        if let Some(text) = text {
            rest.insert(Text::Borrowed(name), Kept::Text(text));
        }
    }
    rest
}
