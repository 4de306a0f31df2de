//! Who: identities are a set, because no provider promises an e-mail address or a phone number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::open_enum::open_enum;

/// Standard names for [`Identity::scheme`]; a provider's own ids use `<provider>_user_id` and the like.
pub mod scheme {
    /// An e-mail address, as given (case kept).
    pub const EMAIL: &str = "email";
    /// A phone number in E.164 (`+491511…`).
    pub const PHONE: &str = "phone";
    /// A number that could not be brought to E.164: an extension, a short code, national digits.
    pub const PHONE_RAW: &str = "phone_raw";
    pub const USER_ID: &str = "user_id";
    pub const USERNAME: &str = "username";
    /// `user@server` of the fediverse.
    pub const ACCT: &str = "acct";
    pub const URL: &str = "url";
    pub const BOT_ID: &str = "bot_id";
    /// An id that the provider gives a person for one page or app only.
    pub const PAGE_SCOPED_ID: &str = "page_scoped_id";
    /// Alphanumeric SMS sender.
    pub const SENDER_ID: &str = "sender_id";
}

/// One identifier of a person or system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// What `value` is; see [`scheme`].
    pub scheme: String,
    pub value: String,
    /// Who vouches for it (`provider`, `dkim`, …); absent where nobody does (a form field, a mail's From).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
}

impl Identity {
    /// An identity that nobody vouches for.
    pub fn claimed(scheme: &str, value: impl Into<String>) -> Self {
        Self { scheme: scheme.to_owned(), value: value.into(), verified_by: None }
    }

    /// An identity that the provider vouches for.
    pub fn by_provider(scheme: &str, value: impl Into<String>) -> Self {
        Self { scheme: scheme.to_owned(), value: value.into(), verified_by: Some("provider".to_owned()) }
    }
}

/// A person, bot or system that acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// Every identifier known from this input, the most stable first.
    pub identities: Vec<Identity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// BCP 47 where the provider gives it (`de`, `pt-BR`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_bot: Option<bool>,
}

impl Actor {
    pub fn new(identities: Vec<Identity>) -> Self {
        Self { identities, ..Self::default() }
    }

    pub fn named(mut self, name: Option<impl Into<String>>) -> Self {
        self.display_name = name.map(Into::into).filter(|name| !name.is_empty());
        self
    }
}

open_enum! {
    /// What a recipient is to the message.
    Role {
        To = "to",
        Cc = "cc",
        Bcc = "bcc",
        ReplyTo = "reply_to",
        /// Where the mail system says that it delivered the mail.
        DeliveredTo = "delivered_to",
        Mention = "mention",
    }
}

/// Somebody whom the message is addressed to or names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recipient {
    pub role: Role,
    #[serde(flatten)]
    pub actor: Actor,
}
