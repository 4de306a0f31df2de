//! Hints to which conversation an event belongs. Inlet gives hints; the consumer decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Actor;
use crate::open_enum::open_enum;
use crate::time::Timestamp;

open_enum! {
    /// What the conversation key was made of.
    KeyBasis {
        /// The provider's own conversation or thread id.
        Thread = "thread",
        /// The provider's channel, room or chat.
        Channel = "channel",
        /// A call id.
        Call = "call",
        /// One form submission.
        Submission = "submission",
        /// A mail thread by its first Message-ID.
        MailThread = "mail_thread",
        /// Fallback: the sender's identity.
        Sender = "sender",
        /// Fallback: the event's own id.
        Event = "event",
        /// Fallback: the account as a whole.
        Account = "account",
    }
}

open_enum! {
    /// What sort of place the conversation is.
    ConversationType {
        Direct = "direct",
        Group = "group",
        Channel = "channel",
        CommentThread = "comment_thread",
        MailThread = "mail_thread",
        Call = "call",
        Form = "form",
        System = "system",
    }
}

/// Where the event belongs, as far as the input tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversation {
    /// Kafka key: equal for all events of one conversation. Connectors set the provider's part;
    /// the stamp puts tenant, provider and account before it.
    pub key: String,
    pub key_basis: KeyBasis,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub conversation_type: Option<ConversationType>,
    /// The provider's own id of the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// The provider's id of the channel, room or chat around the thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// The provider's id of what the conversation hangs under: the post of a comment thread, the item of a review.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The provider's id of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<String>,
    /// Message ids of the ancestors, oldest first (mail: References).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The subject without reply and forward prefixes, white space folded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalized_subject: Option<String>,
    /// The part behind `+` of the address that received the mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plus_token: Option<String>,
    /// Ticket markers found in subject or body (`[#1234]`), as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_markers: Vec<String>,
}

impl Conversation {
    pub fn new(key_basis: KeyBasis, key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            key_basis,
            conversation_type: None,
            thread_id: None,
            channel_id: None,
            parent_id: None,
            title: None,
            in_reply_to: None,
            references: Vec::new(),
            subject: None,
            normalized_subject: None,
            plus_token: None,
            ticket_markers: Vec::new(),
        }
    }

    pub fn of_type(mut self, conversation_type: ConversationType) -> Self {
        self.conversation_type = Some(conversation_type);
        self
    }
}

/// What an edit, deletion, reaction, receipt or stored attachment is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Inlet's id of the event that it changes, where it can be derived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The provider's message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The provider's call id, where the target is a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The attachment's provider id, where the target is one attachment of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<String>,
}

/// The message that this one quotes, as far as the input shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quoted {
    /// The provider's message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Plain text of the quoted message, or of the passage that was quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How the customer came to write: an advertisement, a link, a share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Referral {
    /// `ad`, `link`, `share`, `post`, `qr_code`, or the provider's word.
    pub source: String,
    /// The provider's id of the advertisement or post.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the business put into the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl Target {
    pub fn message(id: impl Into<String>) -> Self {
        Self { message_id: Some(id.into()), ..Self::default() }
    }
}
