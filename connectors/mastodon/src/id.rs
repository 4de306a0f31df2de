//! Ids and keys, in one place: what makes an event the same event, and which conversation it belongs to.

use connector_sdk::schemas::{Conversation, ConversationType, KeyBasis};
use connector_sdk::{EventKey, json};
use serde_json::Value;

/// A status is one message, by whichever notification it was seen.
pub fn message(status_id: &str) -> EventKey {
    EventKey::new(status_id)
}

/// One version of an edited status; `edited_at` is the server's time of the edit.
pub fn edit(status_id: &str, edited_at: &str) -> EventKey {
    EventKey::revised(status_id, edited_at)
}

/// Anything that is told by its notification alone.
pub fn notification(notification_id: &str) -> EventKey {
    EventKey::new(format!("notification/{notification_id}"))
}

/// One file of one status.
pub fn media(status_id: &str, attachment_id: &str) -> EventKey {
    EventKey::new(format!("{status_id}/{attachment_id}"))
}

/// The thread of a status: keyed by its first status. `root` is that one's id where the poller learnt it; without it the
/// status that is answered stands in, so that at least the answers to one status share a key.
pub fn conversation(status: &Value, root: Option<&str>) -> Option<Conversation> {
    let id = json::id(status, "/id")?;
    let parent = json::id(status, "/in_reply_to_id");
    let root = match (&parent, root) {
        (_, Some(root)) => Some(root.to_owned()),
        (None, None) => Some(id),
        (Some(_), None) => None,
    };
    let key = root.clone().or_else(|| parent.clone())?;
    let mut conversation =
        Conversation::new(KeyBasis::Thread, key).of_type(thread_type(json::text(status, "/visibility")));
    conversation.thread_id = root;
    conversation.in_reply_to = parent;
    conversation.subject = json::text(status, "/spoiler_text").map(connector_sdk::text::one_line);
    Some(conversation)
}

/// `direct` is a private message; everything else is seen by others.
pub fn thread_type(visibility: Option<&str>) -> ConversationType {
    match visibility {
        Some("direct") => ConversationType::Direct,
        _ => ConversationType::CommentThread,
    }
}

/// What has no thread is keyed by who did it.
pub fn by_sender(account_id: &str) -> Conversation {
    Conversation::new(KeyBasis::Sender, format!("account/{account_id}"))
}
