//! One case and the instance that it is run against.

use std::sync::Arc;

use connector_sdk::fixture::{Case, Expect};
use connector_sdk::key::sha256_hex;
use connector_sdk::stamp::{StampContext, stamp};
use connector_sdk::{Admission, BuildContext, Connector, Draft, Intake, Keys, RawEvent, Webhook, Wire};
use inlet_schemas::Event;
use serde_json::Value;

use crate::folder::Folder;

/// Tenant in every stamped event of the suite.
pub(crate) const TENANT: &str = "default";

/// A case of a connector.
#[derive(Clone)]
pub(crate) struct Subject {
    pub folder: Arc<Folder>,
    pub case: Arc<Case>,
}

impl Subject {
    /// The instance that the case describes.
    pub fn build(&self) -> Result<Connector, String> {
        self.build_with(&self.case.options())
    }

    /// An instance with other options.
    pub fn build_with(&self, options: &Value) -> Result<Connector, String> {
        let cx = BuildContext {
            instance: self.folder.entry.name.to_owned(),
            public_url: Some(self.case.public_url().to_owned()),
        };
        (self.folder.entry.build)(options, &cx).map_err(|e| format!("the case's config does not build: {e}"))
    }

    /// Whether the case is a request that `admit` has to judge.
    pub fn is_request(&self) -> bool {
        self.case.raw.wire == Wire::Http
    }

    /// Whether the case's input reaches `parse`.
    pub fn is_input(&self) -> bool {
        self.case.file.admit == Expect::Accept
    }

    /// The event as the gateway would publish it.
    pub fn stamp(&self, draft: Draft, raw: &RawEvent) -> Event {
        let cx = StampContext {
            tenant: TENANT,
            connector: self.folder.entry.name,
            received_at: raw.received_at,
            raw_sha256: &sha256_hex(&raw.body),
        };
        *stamp(draft, &cx)
    }
}

/// The instance's webhook; a case with `input.http` needs one.
pub(crate) fn webhook(connector: &Connector) -> Result<&dyn Webhook, String> {
    connector
        .intakes
        .iter()
        .find_map(|intake| match intake {
            Intake::Webhook(webhook) => Some(&**webhook),
            _ => None,
        })
        .ok_or_else(|| "an `input.http` needs a webhook, but this config builds none".to_owned())
}

/// What `admit` says of a request at a moment; a key that it asks for is an error, since cases bring none.
pub(crate) fn admit(webhook: &dyn Webhook, raw: &RawEvent, now: inlet_schemas::Timestamp) -> Result<Admission, String> {
    match webhook.admit(raw, &Keys::default(), now) {
        Admission::Need(key) => Err(format!("admit asks for the key document {}, which no case can give yet", key.url)),
        admission => Ok(admission),
    }
}
