//! The event itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attachment::Attachment;
use crate::attachment::BlobRef;
use crate::call::Call;
use crate::content::Part;
use crate::conversation::{Conversation, KeyBasis, Quoted, Referral, Target};
use crate::identity::{Actor, Recipient};
use crate::json::Json;
use crate::kind::{Channel, Direction, Kind};
use crate::provenance::{DeliveryReport, Provenance};
use crate::routing::Routing;
use crate::time::Timestamp;

/// Version of this schema, in every event.
pub const SCHEMA_VERSION: &str = "1";

/// What Inlet itself reports in `connector.health` and `connector.gap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// Of `connector.health`: `stopped` (it cannot run until somebody acts), `degraded` (it runs, something is wrong),
    /// `running` (well again), `standby` or `starting` (no longer this replica's to say, or not known yet); of
    /// `connector.gap`: `gap`.
    pub state: String,
    /// Which part of the instance, where it is not the whole: a stream (a folder), or `fetch` for the downloads of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    pub reason: String,
    /// What an operator can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// What is to be erased. Inlet has erased its own copies, except the events on this topic, which go with its retention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Erasure {
    /// Events of this conversation; empty where none is known any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_ids: Vec<String>,
    /// Whose content is to be erased, as written in the events' identities: also what is older than these events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A provider's event that this version does not model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnsupportedPart {
    /// The provider's name of the type.
    pub provider_type: String,
    /// The provider's part as it came (secrets masked).
    pub raw: Value,
}

/// One thing that happened, on any channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Deterministic: the same input gives the same id, by whichever replica, instance or way it came.
    pub id: String,
    pub schema_version: String,
    pub kind: Kind,
    pub channel: Channel,
    /// Who carries the channel.
    pub provider: String,
    /// Name of the configured instance that took it in.
    pub connector: String,
    /// The mailbox, page, number or workspace that received it.
    pub account: String,
    /// The account's name in the account directory, where it is known there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// From the account directory or the instance; `unassigned` where neither knows the account.
    pub tenant: String,
    pub direction: Direction,
    /// By the provider's clock.
    pub occurred_at: Timestamp,
    /// By Inlet's clock.
    pub received_at: Timestamp,
    /// W3C traceparent of the intake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The provider's own order within the conversation, where it has one; compare as a number where both are digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_sequence: Option<String>,
    /// Which revision of the message this is, for edits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Actor>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
    pub conversation: Conversation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<Referral>,
    /// Plain text of the whole, always present where the event has content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Part>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// Reports about the target's delivery, in receipts and bounces: one a recipient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivery: Vec<DeliveryReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported: Option<UnsupportedPart>,
    #[serde(default, skip_serializing_if = "Routing::is_empty")]
    pub routing: Routing,
    pub provenance: Provenance,
    /// What the provider said beyond the fields above, as it came (secrets masked). Not to be relied on across providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_data: Option<Json>,
    /// Set when the event was too large for a record: the whole event is the JSON in this blob, and
    /// `text`, `content`, `attachments` and `provider_data` are left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_check: Option<BlobRef>,
}

impl Event {
    /// An event with what every event has; `id`, `connector`, `tenant` and `received_at` are the stamp's to fill in.
    pub fn new(
        kind: Kind,
        channel: Channel,
        provider: &str,
        account: impl Into<String>,
        occurred_at: Timestamp,
    ) -> Self {
        Self {
            id: String::new(),
            schema_version: SCHEMA_VERSION.to_owned(),
            kind,
            channel,
            provider: provider.to_owned(),
            connector: String::new(),
            account: account.into(),
            account_name: None,
            tenant: String::new(),
            direction: Direction::Inbound,
            occurred_at,
            received_at: occurred_at,
            trace: None,
            provider_sequence: None,
            revision: None,
            sender: None,
            recipients: Vec::new(),
            conversation: Conversation::new(KeyBasis::Account, ""),
            target: None,
            quoted: None,
            referral: None,
            text: None,
            content: Vec::new(),
            attachments: Vec::new(),
            call: None,
            delivery: Vec::new(),
            notice: None,
            erasure: None,
            unsupported: None,
            routing: Routing::default(),
            provenance: Provenance::default(),
            provider_data: None,
            claim_check: None,
        }
    }
}
