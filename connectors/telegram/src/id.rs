//! Telegram's ids: what names a chat, a message and an update.
//!
//! A `message_id` is unique within its chat only (within its business connection's chat for business messages), so a
//! message is `chat:message` throughout.

use connector_sdk::json;
use connector_sdk::schemas::{Conversation, ConversationType, KeyBasis};
use serde_json::Value;

/// The conversation of something that names a `chat`: the chat, one topic of it, or a chat seen through a business
/// connection.
pub fn conversation(holder: &Value) -> Option<Conversation> {
    let chat = json::id(holder, "/chat/id")?;
    let mut conversation = match topic(holder) {
        Some(topic) => {
            let mut conversation = Conversation::new(KeyBasis::Thread, format!("{}:{topic}", place(holder, &chat)));
            conversation.thread_id = Some(topic);
            conversation
        }
        None => Conversation::new(KeyBasis::Channel, place(holder, &chat)),
    };
    conversation.conversation_type = match json::text(holder, "/chat/type") {
        Some("private") => Some(ConversationType::Direct),
        Some("group" | "supergroup") => Some(ConversationType::Group),
        Some("channel") => Some(ConversationType::Channel),
        _ => None,
    };
    conversation.title = json::text(holder, "/chat/title").map(connector_sdk::text::one_line);
    conversation.channel_id = Some(chat);
    Some(conversation)
}

/// The conversation with a person outside any chat: the private chat with somebody has that person's id.
pub fn private(user: &str) -> Conversation {
    let mut conversation = Conversation::new(KeyBasis::Sender, user).of_type(ConversationType::Direct);
    conversation.channel_id = Some(user.to_owned());
    conversation
}

/// The id of a message.
pub fn message(holder: &Value, message_id: &str) -> Option<String> {
    let chat = json::id(holder, "/chat/id")?;
    Some(format!("{}:{message_id}", place(holder, &chat)))
}

fn place(holder: &Value, chat: &str) -> String {
    match json::text(holder, "/business_connection_id") {
        Some(connection) => format!("{connection}/{chat}"),
        None => chat.to_owned(),
    }
}

/// A topic of a forum or of a channel's direct messages. Plain replies carry a thread id too: those are no topics.
fn topic(holder: &Value) -> Option<String> {
    if let Some(topic) = json::id(holder, "/direct_messages_topic/topic_id") {
        return Some(topic);
    }
    let is_topic = holder.get("is_topic_message") == Some(&Value::Bool(true));
    is_topic.then(|| json::id(holder, "/message_thread_id")).flatten()
}
