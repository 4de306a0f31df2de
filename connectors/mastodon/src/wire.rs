//! The parts of the client API's entities that the connector reads, and the headers that the poller adds.
//!
//! Source: mastodon/documentation, pages *Notification*, *Status*, *Account*, *MediaAttachment*, *Poll*.

use serde::Deserialize;

/// Header: which of [`Item`] the body is. Absent = a notification.
pub const ITEM: &str = "inlet-item";
/// Header: handle of the account whose feed it is (`shop@mastodon.example`).
pub const ACCOUNT: &str = "inlet-account";
/// Header: the server's id of that account.
pub const ACCOUNT_ID: &str = "inlet-account-id";
/// Header: id of the first status of the thread, where the poller asked for it.
pub const THREAD_ROOT: &str = "inlet-thread-root";

/// What the body of a raw event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Notification,
    /// A status whose text changed since it was seen.
    Edited,
    /// A status that the server no longer has: [`Tombstone`].
    Deleted,
}

impl Item {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "notification",
            Self::Edited => "status_edited",
            Self::Deleted => "status_deleted",
        }
    }

    pub fn of(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("notification") => Some(Self::Notification),
            Some("status_edited") => Some(Self::Edited),
            Some("status_deleted") => Some(Self::Deleted),
            Some(_) => None,
        }
    }
}

/// What is remembered of a status that is gone; the body of an [`Item::Deleted`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Tombstone {
    /// The status's id.
    pub id: String,
    /// Its conversation, as made when it was seen.
    pub conversation: String,
    pub visibility: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Author's handle as the API wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to_id: Option<String>,
    /// What the server answered when asked for it.
    pub status_code: u16,
}

/// Orders ids as the server does: longer is later, then by text. Holds for counters, snowflakes and ULIDs.
pub fn id_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn ids_beyond_any_integer_keep_their_order() {
        assert_eq!(id_order("9", "10"), Ordering::Less);
        assert_eq!(id_order("103186126728896492", "103186126728896491"), Ordering::Greater);
        assert_eq!(id_order("01HZ8PVQ3Z0000000000000001", "01HZ8PVQ3Z0000000000000002"), Ordering::Less);
    }
}
