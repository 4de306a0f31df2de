//! Looks whether Telegram still sends updates here. Whoever holds the token can take the webhook away (`deleteWebhook`, or
//! another program that polls): nobody is told, and Telegram drops what it could not deliver within a day.
//!
//! Source: core.telegram.org/bots/api#getwebhookinfo.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{IntakeError, Io, Upkeep, async_trait};
use serde::Deserialize;
use serde_json::json;

use crate::Telegram;

/// Well below the day for which Telegram keeps what it cannot deliver.
const EVERY: Duration = Duration::from_secs(5 * 60);

/// What `getWebhookInfo` answers.
#[derive(Deserialize)]
pub struct WebhookInfo {
    /// Empty where none is set.
    pub url: String,
    #[serde(default)]
    pub pending_update_count: u64,
    #[serde(default)]
    pub last_error_message: Option<String>,
}

impl WebhookInfo {
    pub async fn of(telegram: &Telegram, io: &Io) -> Result<Self, IntakeError> {
        telegram.ask(&*io.http, "getWebhookInfo", &json!({})).await
    }

    /// In one line, as the server says it.
    pub fn last_error(&self) -> Option<String> {
        self.last_error_message.as_deref().filter(|text| !text.is_empty()).map(connector_sdk::text::one_line)
    }
}

/// The webhook as something that can be lost.
pub struct Subscription(pub Arc<Telegram>);

#[async_trait]
impl Upkeep for Subscription {
    async fn keep(&mut self, io: &Io) -> Result<Duration, IntakeError> {
        let webhook = WebhookInfo::of(&self.0, io).await?;
        let waiting = webhook.pending_update_count;
        if webhook.url.is_empty() {
            return Err(IntakeError::Broken(format!(
                "the bot has no webhook, {waiting} updates wait; call setWebhook with this instance's URL (Telegram \
                 drops what waits for a day)"
            )));
        }
        match webhook.last_error() {
            // It delivers in order: while it fails, all wait.
            Some(error) if waiting > 0 => Err(IntakeError::retry_after(
                EVERY,
                format!("Telegram could not deliver, {waiting} updates wait: {error}"),
            )),
            _ => Ok(EVERY),
        }
    }
}
