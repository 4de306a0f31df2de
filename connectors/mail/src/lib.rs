//! From the bytes of a mail to unified events: pure, total, and the same whichever way the mail came (IMAP, LMTP, a
//! provider's webhook or API, an import). Connectors that take mail in share this crate; it is no connector itself.
//!
//! ```text
//! bytes ─▶ header ─▶ mime ─▶ body, report ─▶ class, thread, auth ─▶ event
//! ```
//!
//! * A mail's id is a content key over the author's part ([`id`]), so that one mail keeps its id over every way.
//! * Decoding never fails: wrong labels, damaged encodings and broken structures give text that is lossy at worst, and
//!   the event says so.
//! * mail-parser finds where the parts are; headers, file names, dates, transfer encodings and charsets are read here from
//!   the bytes, because what senders write is often not what the standards say (words cut within characters, wrong labels,
//!   missing semicolons), and the event has to tell text that was lost from text that was not.
//! * Nothing is judged: bounces, automatic mail, spam and authentication results are marked, never dropped.

pub mod address;
pub mod auth;
pub mod body;
pub mod charset;
pub mod class;
pub mod date;
pub mod event;
pub mod files;
pub mod flowed;
pub mod header;
pub mod id;
pub mod mime;
pub mod params;
pub mod quote;
pub mod report;
pub mod thread;
pub mod transfer;
pub mod words;

pub use event::{MailInput, PROVIDER, parse};
