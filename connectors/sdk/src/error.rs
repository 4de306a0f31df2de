//! Errors that are orders to whoever gets them.

use std::time::Duration;

/// A configuration value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ConfigError {
    /// Dotted path within the connector's options (`folders[2].name`); empty for the options as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl ConfigError {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// A cause, in words that hold no secret.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// What the driver of an intake has to do.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Try again: after the given span where the provider named one, else with the driver's own back-off.
    #[error("{source}")]
    Retry { after: Option<Duration>, source: SourceError },
    /// The credentials are refused or a scope is missing. Stops the instance's intake with a health event; tried again slowly.
    #[error("credentials refused: {0}")]
    Unauthorised(String),
    /// The source no longer knows the position (UIDVALIDITY change). The driver of a poll asks `begin` again
    /// and marks what comes as `resync`, up to the first page behind which nothing more waits; a session begins anew by itself.
    #[error("the source no longer knows the cursor: {0}")]
    CursorLost(String),
    /// Nothing that waiting would mend (a folder that does not exist). Stops the intake with a health event; tried again slowly.
    #[error("{0}")]
    Broken(String),
    /// More bytes than may be taken. Of a fetch order: it ends in `attachment.failed` with the state `too_large`; of
    /// any other intake it is [`Broken`](Self::Broken).
    #[error("{0}")]
    TooLarge(String),
}

impl IntakeError {
    /// A transient fault; the driver backs off.
    pub fn retry(source: impl Into<SourceError>) -> Self {
        Self::Retry { after: None, source: source.into() }
    }

    /// A transient fault that the provider put a time to (Retry-After).
    pub fn retry_after(after: Duration, source: impl Into<SourceError>) -> Self {
        Self::Retry { after: Some(after), source: source.into() }
    }
}
