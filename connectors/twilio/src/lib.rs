//! Twilio: SMS, MMS, WhatsApp, RCS and Messenger in, delivery receipts, and the callbacks of voice calls.
//!
//! Source: Twilio's webhook reference pages and the request validators of its SDKs.

mod fetch;
mod id;
mod parse;
mod webhook;
mod wire;

use std::sync::Arc;

use connector_sdk::schemas::Channel;
use connector_sdk::verify::Secrets;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Provider's name in events.
pub(crate) const PROVIDER: &str = "twilio";

/// The connector kind `twilio`.
#[derive(Clone, Copy, Debug)]
pub struct Twilio;

/// Options of an instance: the credentials of one Twilio account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Auth token of the account that owns the numbers (a subaccount has its own). Give both, the new one first, while
    /// it is being rotated.
    pub auth_token: Secrets,
    /// Account SID (`AC…`). When set, callbacks of any other account are refused.
    #[serde(default)]
    pub account_sid: Option<String>,
    /// API key for downloading media and recordings; the account SID and auth token are used when it is absent.
    #[serde(default)]
    pub api_key: Option<ApiKey>,
    /// File format in which recordings are downloaded.
    #[serde(default)]
    pub recording_format: RecordingFormat,
    /// Caller numbers by which carriers write a withheld number.
    #[serde(default = "withheld_numbers")]
    pub withheld_numbers: Vec<String>,
}

/// An API key of the account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Key SID (`SK…`).
    pub sid: String,
    /// Its secret.
    pub secret: Secret,
}

/// File format of a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordingFormat {
    /// Compressed, about a quarter of WAV.
    #[default]
    Mp3,
    Wav,
}

impl RecordingFormat {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
        }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/x-wav",
        }
    }
}

/// ANONYMOUS and UNAVAILABLE spelled on a telephone's keys.
fn withheld_numbers() -> Vec<String> {
    ["+266696687", "+86282452253"].map(str::to_owned).to_vec()
}

impl ConnectorKind for Twilio {
    const NAME: &'static str = "twilio";
    const SUMMARY: &'static str = "SMS, MMS and WhatsApp messages, delivery receipts and call events through Twilio";
    const CHANNEL: Channel = Channel::Sms;
    const SHAPES: &'static [Shape] = &[Shape::Webhook, Shape::Fetch];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        check_sid("account_sid", "AC", config.account_sid.as_deref())?;
        check_sid("api_key.sid", "SK", config.api_key.as_ref().map(|key| key.sid.as_str()))?;
        let config = Arc::new(config);
        let parse = Arc::new(parse::Parser::new(config.clone()));
        let webhook = Arc::new(webhook::Callback::new(config.clone()));
        // By default a callback is repeated only when no connection came about, and at most for 15 seconds.
        let mut connector = Connector::new(parse, vec![Intake::Webhook(webhook)], SourceClass::Ephemeral);
        connector.fetch = Some(Arc::new(fetch::MediaFetch::new(config)));
        Ok(connector)
    }
}

/// A SID is its two-letter prefix and letters or digits; a token pasted in its place is found here.
fn check_sid(path: &str, prefix: &str, sid: Option<&str>) -> Result<(), ConfigError> {
    match sid {
        Some(sid) if !sid.starts_with(prefix) || !sid.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            Err(ConfigError::new(path, format!("must be a SID that begins with {prefix}")))
        }
        _ => Ok(()),
    }
}
