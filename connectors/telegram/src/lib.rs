//! Telegram Bot API: updates by webhook or by long polling, one parse for both; files with the bot token.
//!
//! Source: core.telegram.org/bots/api; for the server's behaviour tdlib/telegram-bot-api `WebhookActor.cpp`, `Client.cpp`.

mod actions;
mod api;
mod fetch;
mod id;
mod media;
mod members;
mod message;
mod parse;
mod people;
mod poll;
mod text;
mod upkeep;
mod webhook;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::Channel;
use connector_sdk::verify::Secrets;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Telegram drops an update that could not be delivered within this time.
const RETRY_HORIZON: Duration = Duration::from_secs(24 * 3600);
/// Characters of a webhook's secret token, at most.
const SECRET_TOKEN_MAX: usize = 256;

/// How updates come in. Telegram allows one way at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Telegram calls `/in/{instance}`.
    #[default]
    Webhook,
    /// Inlet asks with `getUpdates`; needs no public address.
    Poll,
}

/// Options of a `telegram` instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `webhook` or `poll`. Telegram serves one of them at a time and answers the other with 409.
    #[serde(default)]
    pub mode: Mode,
    /// The `secret_token` that was given to `setWebhook` (1–256 characters of `A-Za-z0-9_-`); two of them while it is
    /// being rotated. Needed for `mode: webhook`.
    #[serde(default)]
    pub secret_token: Option<Secrets>,
    /// The bot's token from @BotFather. Needed for `mode: poll`, for storing files, and for noticing that
    /// the webhook was taken away.
    #[serde(default)]
    pub bot_token: Option<Secret>,
    /// The bot's id: the digits before the colon of its token. Needed where `bot_token` is left out.
    #[serde(default)]
    pub bot_id: Option<u64>,
    /// Ids of users who answer for the business in groups: their messages become `outbound_echo`.
    #[serde(default)]
    pub own_user_ids: Vec<u64>,
    /// Kinds of updates to ask for in `mode: poll`; all by default. Telegram remembers the list.
    #[serde(default)]
    pub allowed_updates: Option<Vec<String>>,
    /// Address of the Bot API; another one for a Bot API server of your own.
    #[serde(default = "default_api_url")]
    pub api_url: String,
}

fn default_api_url() -> String {
    api::PUBLIC_API.to_owned()
}

/// A Telegram bot.
pub struct Telegram {
    secret_token: Option<Secrets>,
    bot_token: Option<Secret>,
    bot_id: String,
    own_user_ids: Vec<String>,
    allowed_updates: Vec<String>,
    api_url: String,
}

impl ConnectorKind for Telegram {
    const NAME: &'static str = "telegram";
    const SUMMARY: &'static str = "Telegram: everything that a bot is told, by webhook or long polling";
    const CHANNEL: Channel = Channel::Chat;
    const SHAPES: &'static [Shape] = &[Shape::Webhook, Shape::Poll, Shape::Fetch, Shape::Upkeep];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, _cx: &BuildContext) -> Result<Connector, ConfigError> {
        let mode = config.mode;
        let telegram = Arc::new(Telegram::new(config)?);
        let (intake, source) = match mode {
            Mode::Webhook => (Intake::Webhook(telegram.clone()), SourceClass::Redeliver { horizon: RETRY_HORIZON }),
            Mode::Poll => (Intake::Poll(Box::new(poll::Updates(telegram.clone()))), SourceClass::Replay),
        };
        let mut connector = Connector::new(telegram.clone(), vec![intake], source);
        connector.check_cursor = (mode == Mode::Poll).then_some(poll::check_cursor);
        if telegram.bot_token.is_some() {
            connector.upkeep = (mode == Mode::Webhook).then(|| Box::new(upkeep::Subscription(telegram.clone())) as _);
            connector.fetch = Some(telegram.clone());
            connector.probe = Some(telegram);
        }
        Ok(connector)
    }
}

impl Telegram {
    fn new(config: Config) -> Result<Self, ConfigError> {
        let bot_id = bot_id(&config)?;
        match config.mode {
            Mode::Webhook if config.secret_token.is_none() => {
                return Err(ConfigError::new("secret_token", "is needed for mode: webhook"));
            }
            Mode::Poll if config.bot_token.is_none() => {
                return Err(ConfigError::new("bot_token", "is needed for mode: poll"));
            }
            _ => {}
        }
        if config.secret_token.as_ref().is_some_and(|secrets| !secrets.iter().all(is_secret_token)) {
            let what = "must be 1 to 256 characters of A-Z, a-z, 0-9, _ and -, as setWebhook demands";
            return Err(ConfigError::new("secret_token", what));
        }
        let allowed_updates = match config.allowed_updates {
            Some(kinds) => {
                if let Some(at) = kinds.iter().position(|kind| !wire::UPDATE_KINDS.contains(&kind.as_str())) {
                    let what = format!("is no kind of update: {}", wire::UPDATE_KINDS.join(", "));
                    return Err(ConfigError::new(format!("allowed_updates[{at}]"), what));
                }
                kinds
            }
            None => wire::UPDATE_KINDS.iter().map(|&kind| kind.to_owned()).collect(),
        };
        Ok(Self {
            secret_token: config.secret_token,
            bot_token: config.bot_token,
            bot_id,
            own_user_ids: config.own_user_ids.iter().map(u64::to_string).collect(),
            allowed_updates,
            api_url: api::base(&config.api_url)?,
        })
    }
}

/// The account: the bot's id, which stays when its token is changed.
fn bot_id(config: &Config) -> Result<String, ConfigError> {
    let of_token = config.bot_token.as_ref().map(|token| {
        let digits = token.expose().split_once(':').map(|(id, _)| id);
        let digits = digits.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
        digits
            .map(str::to_owned)
            .ok_or_else(|| ConfigError::new("bot_token", "must be the bot's id, a colon and a key"))
    });
    match (of_token.transpose()?, config.bot_id) {
        (Some(of_token), Some(given)) if of_token != given.to_string() => {
            Err(ConfigError::new("bot_id", format!("is not the bot of bot_token, which is {of_token}")))
        }
        (Some(of_token), _) => Ok(of_token),
        (None, Some(given)) => Ok(given.to_string()),
        (None, None) => Err(ConfigError::new("bot_id", "is needed where bot_token is left out")),
    }
}

fn is_secret_token(secret: &Secret) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    secret.expose().len() <= SECRET_TOKEN_MAX && secret.expose().bytes().all(allowed)
}
