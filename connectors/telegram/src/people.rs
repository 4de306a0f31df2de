//! Who acts: users, and chats that speak in their own name.

use connector_sdk::json;
use connector_sdk::schemas::{Actor, Identity, scheme};
use connector_sdk::text as hygiene;
use serde_json::Value;

pub const USER_ID: &str = "telegram_user_id";
pub const CHAT_ID: &str = "telegram_chat_id";

/// A `User`.
pub fn user(user: &Value) -> Option<Actor> {
    let mut actor = Actor::new(vec![Identity::by_provider(USER_ID, json::id(user, "/id")?)]);
    actor.identities.extend(username(user));
    let names = [json::text(user, "/first_name"), json::text(user, "/last_name")];
    let name = names.into_iter().flatten().map(hygiene::one_line).collect::<Vec<_>>().join(" ");
    actor.locale = json::text(user, "/language_code").map(str::to_owned);
    actor.is_bot = user.get("is_bot").and_then(Value::as_bool).filter(|is_bot| *is_bot);
    Some(actor.named(Some(name)))
}

/// A `Chat` that speaks itself: a channel, or a group through an anonymous administrator.
pub fn chat(chat: &Value) -> Option<Actor> {
    let mut actor = Actor::new(vec![Identity::by_provider(CHAT_ID, json::id(chat, "/id")?)]);
    actor.identities.extend(username(chat));
    Some(actor.named(json::text(chat, "/title").map(hygiene::one_line)))
}

/// The author of a message: `sender_chat` where there is one, because `from` is then a stand-in.
pub fn author(message: &Value) -> Option<Actor> {
    if let Some(author) = message.get("sender_chat").and_then(chat) {
        return Some(author);
    }
    ["from", "guest_bot_caller_user"].iter().find_map(|field| user(message.get(*field)?))
}

fn username(holder: &Value) -> Option<Identity> {
    json::text(holder, "/username").map(|name| Identity::by_provider(scheme::USERNAME, name))
}
