//! What people do beside writing: reactions, buttons, polls, payments, requests to join.

use std::collections::BTreeSet;

use connector_sdk::schemas::{Conversation, Event, KeyBasis, Kind, Part, Target};
use connector_sdk::{Draft, Parsed, json};
use serde_json::Value;

use crate::media::{amount, from, order_part, payer};
use crate::parse::{Cx, broken};
use crate::{id, message, people};

/// `message_reaction`: one event for each reaction that came or went.
pub fn reaction(cx: &Cx<'_>) -> Parsed {
    let update = cx.holder();
    let Some(target) = message::message_id(update) else {
        return Parsed::reject("missing_field", "reaction without `message_id` or `chat`");
    };
    let mut parsed = Parsed::default();
    let mut list = |name: &'static str| {
        let mut emojis = BTreeSet::new();
        for item in update.get(name).and_then(Value::as_array).into_iter().flatten() {
            match emoji(item) {
                Some(emoji) => {
                    emojis.insert(emoji);
                }
                None => parsed.rejected.push(broken(item, name)),
            }
        }
        emojis
    };
    let (old, new) = (list(OLD), list(NEW));
    let gone = old.difference(&new).map(|emoji| (Kind::ReactionRemoved, emoji));
    let come = new.difference(&old).map(|emoji| (Kind::ReactionAdded, emoji));
    for (kind, emoji) in gone.chain(come) {
        let mut event = cx.event_of(kind, &[OLD, NEW]);
        event.target = Some(Target::message(&target));
        event.sender = match update.get("actor_chat") {
            Some(chat) => people::chat(chat),
            None => update.get("user").and_then(people::user),
        };
        event.text = Some(emoji.clone());
        event.content.push(Part::Reaction { emoji: emoji.clone() });
        parsed.events.push(Draft::new(cx.key_of(emoji), event));
    }
    if parsed.is_empty() {
        return Parsed::skip(cx.update.kind, "the same reactions as before");
    }
    parsed
}

const OLD: &str = "old_reaction";
const NEW: &str = "new_reaction";

/// The emoji of a reaction; custom and paid ones by their own names.
fn emoji(reaction: &Value) -> Option<String> {
    match json::text(reaction, "/type")? {
        "emoji" => json::text(reaction, "/emoji").map(str::to_owned),
        "custom_emoji" => json::id(reaction, "/custom_emoji_id").map(|id| format!("custom:{id}")),
        other => Some(other.to_owned()),
    }
}

/// `callback_query`: a button below a message was pressed.
pub fn callback(cx: &Cx<'_>) -> Parsed {
    let query = cx.holder();
    let mut event = postback(cx);
    if let Some(message) = query.get("message")
        && let Some(conversation) = id::conversation(message)
    {
        event.conversation = conversation;
        event.target = message::message_id(message).map(Target::message);
    }
    let data = json::text(query, "/data").map(str::to_owned);
    let title = data.as_deref().and_then(|data| button(query, data)).map(connector_sdk::text::one_line);
    event.text = title.clone().or_else(|| data.clone());
    interactive(&mut event, "button", json::text(query, "/game_short_name"), title, data);
    Parsed::one(Draft::new(cx.key(), event))
}

/// The label of the button that carries this data.
fn button<'a>(query: &'a Value, data: &str) -> Option<&'a str> {
    let rows = query.pointer("/message/reply_markup/inline_keyboard")?.as_array()?;
    let pressed = rows
        .iter()
        .filter_map(Value::as_array)
        .flatten()
        .find(|button| json::text(button, "/callback_data") == Some(data))?;
    json::text(pressed, "/text")
}

/// `chosen_inline_result`: an entry of the bot's inline list was sent.
pub fn chosen_result(cx: &Cx<'_>) -> Parsed {
    let chosen = cx.holder();
    let mut event = postback(cx);
    let query = json::text(chosen, "/query").map(str::to_owned);
    event.text.clone_from(&query);
    interactive(&mut event, "list", json::text(chosen, "/result_id"), None, query);
    Parsed::one(Draft::new(cx.key(), event))
}

/// `poll_answer`: the chosen options by number; none = the vote was taken back.
pub fn poll_answer(cx: &Cx<'_>) -> Parsed {
    let answer = cx.holder();
    let mut event = postback(cx);
    if let Some(user) = answer.get("user") {
        event.sender = people::user(user);
        event.conversation = json::id(user, "/id").map_or(event.conversation, |user| id::private(&user));
    } else if let Some(chat) = answer.get("voter_chat") {
        event.sender = people::chat(chat);
        event.conversation = Conversation::new(KeyBasis::Sender, json::id(chat, "/id").unwrap_or_default());
    }
    let options = answer.get("option_ids").and_then(Value::as_array).into_iter().flatten();
    let options: Vec<String> = options.filter_map(|option| Some(option.as_u64()?.to_string())).collect();
    interactive(&mut event, "poll", json::text(answer, "/poll_id"), None, Some(options.join(",")));
    Parsed::one(Draft::new(cx.key(), event))
}

/// `shipping_query`, `pre_checkout_query`, `purchased_paid_media`: steps of a purchase.
pub fn purchase(cx: &Cx<'_>) -> Parsed {
    let query = cx.holder();
    let mut event = postback(cx);
    let payload = json::text(query, "/invoice_payload").or_else(|| json::text(query, "/paid_media_payload"));
    interactive(&mut event, "button", Some(cx.update.kind), None, payload.map(str::to_owned));
    if query.get("total_amount").is_some() {
        event.text = Some(amount(query));
        event.content.push(order_part(query, payload));
    }
    payer(&mut event, query.get("order_info"));
    Parsed::one(Draft::new(cx.key(), event))
}

/// `chat_join_request`: somebody asks to be let in.
pub fn join_request(cx: &Cx<'_>) -> Parsed {
    let request = cx.holder();
    let mut event = cx.event(Kind::Postback);
    event.sender = from(request);
    event.text = json::text(request, "/bio").map(|bio| connector_sdk::text::clean(bio).into_owned());
    interactive(&mut event, "button", Some(cx.update.kind), None, None);
    Parsed::one(Draft::new(cx.key(), event))
}

/// A postback of the person in `from`, in the private chat with them unless something better is known.
fn postback(cx: &Cx<'_>) -> Event {
    let mut event = cx.event(Kind::Postback);
    event.sender = from(cx.holder());
    if event.conversation.key.is_empty()
        && let Some(user) = json::id(cx.holder(), "/from/id")
    {
        event.conversation = id::private(&user);
    }
    event
}

fn interactive(event: &mut Event, action: &str, id: Option<&str>, title: Option<String>, payload: Option<String>) {
    let id = id.map(str::to_owned);
    event.content.push(Part::Interactive { action: action.to_owned(), id, title, payload });
}
