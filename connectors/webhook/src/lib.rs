//! Any JSON source whose behaviour is a recipe: how a request proves its origin, where its id is, and a jq mapping into
//! the unified event. Recipes are shipped (`recipes/<name>/recipe.yaml`), read from a directory, or written inline.

mod fetch;
mod handshake;
mod id;
mod import;
mod jq;
mod parse;
mod recipe;
mod verify;
mod webhook;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::Channel;
use connector_sdk::verify::Secrets;
use connector_sdk::{Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass};
use schemars::JsonSchema;
use serde::Deserialize;

use recipe::RecipeChoice;

/// The connector kind `webhook`.
#[derive(Clone, Copy, Debug)]
pub struct WebhookConnector;

/// Options of an instance: which recipe, and the secrets that it needs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of a recipe (`standard_webhooks`, `github`, `typeform`, or one of `recipes_dir`), or a recipe itself.
    #[serde(default)]
    pub recipe: RecipeChoice,
    /// Directory with more recipes, each `<name>/recipe.yaml`; they win over shipped ones of the same name.
    #[serde(default)]
    pub recipes_dir: Option<PathBuf>,
    /// Signing secret, token or password, as the recipe's scheme needs it. Give both, the new one first, while it is
    /// being rotated.
    #[serde(default)]
    pub secret: Option<Secrets>,
    /// User name, for the scheme `basic`.
    #[serde(default)]
    pub username: Option<String>,
    /// What receives the events at this source (a workspace, a form, a shop). Part of every event's id: give each
    /// source of the same recipe its own, unless its event ids are unique everywhere.
    #[serde(default = "default_account")]
    pub account: String,
    /// Hosts from which attachments are downloaded by https, beside the recipe's own (`files.example.com`,
    /// `*.example.com`, `files.example.com:8443`). Attachments elsewhere stay links.
    #[serde(default)]
    pub attachment_hosts: Vec<String>,
    /// Bearer token for those downloads.
    #[serde(default)]
    pub attachment_token: Option<Secret>,
}

fn default_account() -> String {
    "default".to_owned()
}

impl ConnectorKind for WebhookConnector {
    const NAME: &'static str = "webhook";
    const SUMMARY: &'static str = "any JSON webhook, by recipe: signature scheme, jq mapping, handshake";
    const CHANNEL: Channel = Channel::Chat;
    const SHAPES: &'static [Shape] = &[Shape::Webhook, Shape::Fetch];
    const ASSETS: Assets = connector_sdk::assets!();

    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        if config.account.trim().is_empty() {
            return Err(ConfigError::new("account", "must not be empty"));
        }
        let (name, recipe) = config.recipe.load(config.recipes_dir.as_deref())?;
        let verifier = verify::Verifier::build(&recipe.verify, config.secret.clone(), config.username.clone())
            .map_err(|error| recipe::located(&name, error))?;
        let program = jq::Program::compile(&recipe.map)
            .map_err(|error| recipe::located(&name, ConfigError::new("map", error.to_string())))?;
        let hosts: Vec<String> = recipe
            .attachment_hosts
            .iter()
            .chain(&config.attachment_hosts)
            .map(|host| host.trim().to_ascii_lowercase())
            .collect();
        if let Some(bad) = hosts.iter().position(|host| !is_host(host)) {
            let message = "must be a host name, with a port where it is not 443";
            return Err(ConfigError::new(format!("attachment_hosts[{bad}]"), message));
        }
        let source = match recipe.redelivers_for_hours {
            Some(hours) => SourceClass::Redeliver { horizon: Duration::from_secs(u64::from(hours) * 3600) },
            None => SourceClass::Ephemeral,
        };
        let handshake = recipe
            .handshake
            .clone()
            .map(handshake::Handshake::check)
            .transpose()
            .map_err(|error| recipe::located(&name, error))?;
        let verifier = Arc::new(verifier);
        let fetch = fetch::FileFetch::new(hosts.clone(), config.attachment_token.clone());
        let parser = parse::Parser::new(&name, recipe, program, config.account, hosts, &verifier)?;
        let webhook = webhook::Endpoint::new(verifier, handshake);
        let mut connector = Connector::new(Arc::new(parser), vec![Intake::Webhook(Arc::new(webhook))], source);
        connector.fetch = Some(Arc::new(fetch));
        connector.import = Some(Arc::new(import::JsonImport));
        Ok(connector)
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    !name.is_empty() && !name.contains(['/', '@']) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}
