//! What a connector is: the shapes that it can have and the tools that connectors share.
//!
//! A connector turns a provider's bytes into unified events and nothing else. Whatever waits, retries, acknowledges,
//! counts or stores belongs to the gateway's drivers. The line that every input goes along:
//!
//! ```text
//! provider ─bytes─▶ intake ─RawEvent─▶ admit ─▶ parse ─Parsed─▶ enrich ─▶ stamp ─▶ deliver ─Safe─▶ settle
//! ```
//!
//! * [`Webhook`]: they call us. [`Poll`]: we ask. [`Session`]: we stay connected. [`Fetch`]: go and get it.
//! * [`Parse`] is pure (no I/O, no clock, no randomness) and total (never panics, never loses).
//! * This crate knows no Kafka, no HTTP server and no provider.

pub mod body;
pub mod connector;
pub mod error;
pub mod fetch;
pub mod fixture;
pub mod headers;
pub mod history;
#[cfg(feature = "html")]
pub mod html;
pub mod import;
pub mod io;
pub mod json;
pub mod key;
pub mod kinds;
pub mod net;
pub mod oauth;
pub mod parse;
pub mod phone;
pub mod poll;
pub mod raw;
pub mod redact;
pub mod secret;
pub mod session;
pub mod stamp;
pub mod text;
pub mod upkeep;
pub mod verify;
pub mod webhook;

pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use include_dir;
pub use inlet_schemas as schemas;
pub use inlet_schemas::Timestamp;

pub use connector::{Assets, BuildContext, Connector, ConnectorKind, Demo, Entry, Intake, Shape, SourceClass, Start};
pub use error::{ConfigError, IntakeError, SourceError};
pub use fetch::{Download, Downloaded, Fetch, FetchIo, FetchOrder, FetchedMedia};
pub use headers::{HeaderFault, Headers};
pub use history::{History, Listed, Reach};
pub use import::Import;
pub use io::{Http, HttpFault, HttpRequest, HttpResponse, Io, StateStore};
pub use key::EventKey;
pub use oauth::{OAuthConfig, TokenSource};
pub use parse::{Blob, Draft, Parse, Parsed, Rejected, Skipped};
pub use poll::{Cursor, Item, Page, Poll, StreamId};
pub use raw::{RawEvent, Wire};
pub use secret::Secret;
pub use session::{Session, SessionCx, SessionHost, Ticket};
pub use upkeep::{Probe, ProbeReport, Upkeep};
pub use webhook::{AddressRate, Admission, KeyRef, Keys, Mount, Outcome, Refusal, RefusalKind, Reply, Webhook};
