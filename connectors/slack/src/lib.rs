//! Slack: Events API, interactivity and slash commands by webhook; files with the bot token.
//!
//! What comes in which form is in `wire`, how each becomes an event in `parse` and its neighbours.

mod events;
mod fetch;
mod files;
mod id;
mod interact;
mod message;
mod parse;
mod redact;
mod rest;
mod skipped;
mod text;
mod webhook;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::Channel;
use connector_sdk::verify::Secrets;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Slack sends an event again at once, after about a minute and after about five; then never.
const RETRY_HORIZON: Duration = Duration::from_secs(5 * 60);

/// What to do with `app_mention` events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppMention {
    /// Published as `message.created` under the id of the message itself, so that the `message` event of the same
    /// message is recognised as a repeat.
    #[default]
    Publish,
    /// Skipped: right where the app also gets the `message` events of every channel it is mentioned in.
    Skip,
}

/// Options of a `slack` instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The app's signing secret (*Basic Information → App Credentials*); two of them while it is being rotated.
    pub signing_secret: Secrets,
    /// The bot token (`xoxb-…`) with scope `files:read`. Without it files are named but not stored.
    #[serde(default)]
    pub bot_token: Option<Secret>,
    /// Further ids whose messages are the business's own: apps (`A…`), bots (`B…`), users (`U…`, `W…`). The app itself
    /// is recognised without being listed.
    #[serde(default)]
    pub own_ids: Vec<String>,
    /// `publish` or `skip` the `app_mention` events, which repeat what `message` events say.
    #[serde(default)]
    pub app_mention: AppMention,
}

/// A Slack app.
pub struct Slack {
    signing_secret: Secrets,
    bot_token: Option<Secret>,
    own_ids: Vec<String>,
    app_mention: AppMention,
}

impl ConnectorKind for Slack {
    const NAME: &'static str = "slack";
    const SUMMARY: &'static str = "Slack: messages, threads, files, reactions, buttons and commands of an app";
    const CHANNEL: Channel = Channel::Chat;
    const SHAPES: &'static [Shape] = &[Shape::Webhook, Shape::Fetch];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, _cx: &BuildContext) -> Result<Connector, ConfigError> {
        if config.bot_token.as_ref().is_some_and(|token| token.expose().starts_with("xapp-")) {
            return Err(ConfigError::new("bot_token", "is an app-level token; files need the bot token (xoxb-…)"));
        }
        if let Some(at) = config.own_ids.iter().position(|id| !is_own_id(id)) {
            return Err(ConfigError::new(format!("own_ids[{at}]"), "must be an id that starts with A, B, U or W"));
        }
        let Config { signing_secret, bot_token, own_ids, app_mention } = config;
        let reads_files = bot_token.is_some();
        let slack = Arc::new(Slack { signing_secret, bot_token, own_ids, app_mention });
        let source = SourceClass::Redeliver { horizon: RETRY_HORIZON };
        let mut connector = Connector::new(slack.clone(), vec![Intake::Webhook(slack.clone())], source);
        if reads_files {
            connector.fetch = Some(slack.clone());
            connector.probe = Some(slack);
        }
        Ok(connector)
    }
}

fn is_own_id(id: &str) -> bool {
    id.len() > 1 && id.starts_with(['A', 'B', 'U', 'W']) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}
