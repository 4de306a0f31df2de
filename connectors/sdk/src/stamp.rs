//! The part of the stamp that is the same everywhere: who and when, the event id, the conversation key.

use inlet_schemas::{Event, Timestamp};

use crate::key::event_id;
use crate::parse::Draft;

/// What the gateway knows and the connector does not.
#[derive(Clone, Debug)]
pub struct StampContext<'a> {
    pub tenant: &'a str,
    /// Name of the instance.
    pub connector: &'a str,
    pub received_at: Timestamp,
    /// Lower-case hex SHA-256 of the raw input.
    pub raw_sha256: &'a str,
}

/// Fills in the envelope. Pure: the same draft and context give the same event.
pub fn stamp(draft: Draft, cx: &StampContext<'_>) -> Box<Event> {
    let Draft { key, mut event, .. } = draft;
    event.id = event_id(cx.tenant, &event.provider, &event.account, event.kind.as_str(), &key);
    event.tenant = cx.tenant.to_owned();
    event.connector = cx.connector.to_owned();
    event.received_at = cx.received_at;
    if event.revision.is_none() && !key.revision.is_empty() {
        event.revision = Some(key.revision);
    }
    if event.conversation.key.is_empty() {
        event.conversation.key_basis = inlet_schemas::KeyBasis::Event;
        event.conversation.key = event.id.clone();
    }
    event.conversation.key = [cx.tenant, &event.provider, &event.account, &event.conversation.key].join("/");
    event.provenance.raw_sha256 = Some(cx.raw_sha256.to_owned());
    event
}
