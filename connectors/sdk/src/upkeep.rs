//! Work beside the line: subscriptions and renewals, and the read-only probe of `inlet check --connect`.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::IntakeError;
use crate::io::Io;

/// Keeps something at the provider alive (subscriptions, watch renewals). Runs on the instance's owner only.
#[async_trait]
pub trait Upkeep: Send {
    /// Does what is due; returns the time until the next call.
    async fn keep(&mut self, io: &Io) -> Result<Duration, IntakeError>;
}

/// Tries the credentials without changing anything at the provider.
#[async_trait]
pub trait Probe: Send + Sync {
    async fn probe(&self, io: &Io) -> Result<ProbeReport, IntakeError>;
}

/// What a probe saw, one fact a line (`INBOX: 1,204 mails, UIDVALIDITY 17`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeReport {
    pub lines: Vec<String>,
}
