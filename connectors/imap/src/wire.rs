//! A mail as a raw event: the bytes as the server gave them, and in headers of Inlet's own where they were found.

use connector_sdk::{Bytes, RawEvent, Timestamp, Wire};

use crate::config::Settings;
use crate::id::Mark;

/// Folder, as configured.
pub const FOLDER: &str = "inlet-folder";
pub const UID: &str = "inlet-uid";
pub const UIDVALIDITY: &str = "inlet-uidvalidity";
/// INTERNALDATE, RFC 3339.
pub const INTERNAL_DATE: &str = "inlet-internal-date";
/// `true` on mails that are read again because the folder's UIDs changed.
pub const RESYNC: &str = "inlet-resync";
/// `true` on mails that were there before the instance and are read because `start` asks for them.
pub use connector_sdk::raw::BACKFILL_HEADER as BACKFILL;
/// Size in bytes of a mail over the cap, of which the body holds the headers only.
pub const ONLY_HEADERS_OF: &str = "inlet-only-headers-of";
/// Why the server's answer for this mail could not be read; the body is empty then.
pub const UNREADABLE: &str = "inlet-unreadable";

/// What was fetched of one mail.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub uid: u32,
    pub internal_date: Option<Timestamp>,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Whole(Bytes),
    /// Over the cap.
    HeadersOf {
        size_bytes: u64,
        headers: Bytes,
    },
    /// There, but not to be had.
    Unreadable(String),
}

/// Makes the raw event of a mail.
pub fn raw_event(
    settings: &Settings,
    folder: &str,
    uidvalidity: u32,
    mark: Option<Mark>,
    mail: Fetched,
    now: Timestamp,
) -> RawEvent {
    let (body, extra) = match mail.content {
        Content::Whole(bytes) => (bytes, None),
        Content::HeadersOf { size_bytes, headers } => (headers, Some((ONLY_HEADERS_OF, size_bytes.to_string()))),
        Content::Unreadable(reason) => (Bytes::new(), Some((UNREADABLE, reason))),
    };
    let mut raw = RawEvent::new(Wire::Mail, body, now);
    raw.uri =
        format!("imap://{}:{}/{folder};UIDVALIDITY={uidvalidity}/;UID={}", settings.host, settings.port, mail.uid);
    raw.headers.push(FOLDER, folder.to_owned());
    raw.headers.push(UID, mail.uid.to_string());
    raw.headers.push(UIDVALIDITY, uidvalidity.to_string());
    if let Some(date) = mail.internal_date {
        raw.headers.push(INTERNAL_DATE, date.to_string());
    }
    match mark {
        Some(Mark::Resync) => raw.headers.push(RESYNC, "true"),
        Some(Mark::Backfill) => raw.headers.push(BACKFILL, "true"),
        None => {}
    }
    if let Some((name, value)) = extra {
        raw.headers.push(name, value);
    }
    raw
}
