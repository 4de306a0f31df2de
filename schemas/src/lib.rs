//! The unified event of Inlet (schema v1, draft): one shape for whatever a customer does on any channel.
//!
//! These Rust types are the source of truth; `schemas/v1/event.schema.json` is generated from them ([`schema::event_schema`]).
//! Field names are snake_case, times are RFC 3339 UTC, enums are open (an unknown value survives as `Other`), and a
//! reader ignores fields that it does not know. Absent values are left out of the JSON, never written as `null`.

mod open_enum;

pub mod attachment;
pub mod call;
pub mod content;
pub mod conversation;
pub mod event;
pub mod identity;
pub mod json;
pub mod kind;
pub mod provenance;
pub mod routing;
pub mod schema;
pub mod time;

pub use attachment::{Attachment, BlobRef, Disposition, FetchState};
pub use call::{Call, CallDirection, CallOutcome, CallState, Party};
pub use content::{ContactCard, FormField, Location, OrderItem, Part, Product, TextFormat};
pub use conversation::{Conversation, ConversationType, KeyBasis, Quoted, Referral, Target};
pub use event::{Erasure, Event, Notice, SCHEMA_VERSION, UnsupportedPart};
pub use identity::{Actor, Identity, Recipient, Role, scheme};
pub use json::Json;
pub use kind::{Channel, Direction, Kind};
pub use provenance::{AuthResult, Automation, Charset, Dedupe, DeliveryReport, Provenance, Spam, Truncation};
pub use routing::{Language, Routing};
pub use time::Timestamp;
