//! Mastodon and servers with its client API: notifications by polling, edits and deletions of mentions by looking again.
//!
//! ```text
//! poll  notifications  → one raw event each, oldest first, nothing skipped (poll.rs, walk.rs)
//!       mentions       → what changed in the mentions seen lately (recheck.rs)
//! parse                → unified events (parse.rs: what happened; status.rs: what was said)
//! fetch                → media from allowed hosts (fetch.rs)
//! ```

mod api;
mod cursor;
mod fetch;
mod history;
mod id;
mod parse;
mod poll;
mod recheck;
mod status;
mod walk;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::Channel;
use connector_sdk::{
    Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass, assets,
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// The fediverse connector.
pub struct Mastodon;

/// `provider` of every event.
pub(crate) const PROVIDER: &str = "mastodon";

/// Smallest pause between questions: the API allows 300 requests in five minutes for everything that the account does.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Largest number of mentions that are looked at again; bounds the cursor.
const RECHECK_MAX: usize = 400;

/// Options of an instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server's address, such as `https://mastodon.example`.
    pub base_url: String,
    /// Access token with the scopes `read:accounts`, `read:notifications` and `read:statuses`.
    pub token: Secret,
    /// Domain of the account's handle where it is another than the server's (`@shop@example.com` served by
    /// `social.example.com`).
    #[serde(default)]
    pub domain: Option<String>,
    /// Notification types that the server is asked to leave out (`follow`, `favourite`, …).
    #[serde(default)]
    pub exclude_types: Vec<String>,
    /// Hosts from which media may be fetched, beside the server's own; `*.example.com` stands for every host below it.
    /// Media elsewhere stays a link.
    #[serde(default)]
    pub media_hosts: Vec<String>,
    /// Seconds between two questions when nothing is new; at least 5.
    #[serde(default = "interval_seconds")]
    pub interval_seconds: u64,
    /// How many of the latest mentions are watched for edits and deletions; 0 switches it off, at most 400.
    #[serde(default = "recheck_mentions")]
    pub recheck_mentions: usize,
    /// Seconds between two looks at them; at least 5.
    #[serde(default = "recheck_seconds")]
    pub recheck_seconds: u64,
}

fn interval_seconds() -> u64 {
    30
}

fn recheck_mentions() -> usize {
    100
}

fn recheck_seconds() -> u64 {
    300
}

/// A checked [`Config`].
pub(crate) struct Options {
    /// Without a slash at the end.
    pub base_url: String,
    pub host: String,
    pub token: Secret,
    /// Domain of local handles.
    pub domain: String,
    pub exclude_types: Vec<String>,
    pub media_hosts: Vec<String>,
    pub interval: Duration,
    pub recheck_mentions: usize,
    pub recheck_every: Duration,
}

impl Options {
    fn check(config: Config) -> Result<Self, ConfigError> {
        let bad_url =
            |what: &str| ConfigError::new("base_url", format!("{what}; write it as https://mastodon.example"));
        let url = Url::parse(&config.base_url).map_err(|e| bad_url(&format!("is no URL ({e})")))?;
        if !matches!(url.scheme(), "https" | "http") || url.path() != "/" || url.query().is_some() {
            return Err(bad_url("must be http(s), a host and nothing behind it"));
        }
        let host = url.host_str().ok_or_else(|| bad_url("names no host"))?.to_owned();
        let seconds = |path: &str, value: u64| {
            let span = Duration::from_secs(value);
            if span < INTERVAL_MIN {
                return Err(ConfigError::new(path, format!("must be at least {} seconds", INTERVAL_MIN.as_secs())));
            }
            Ok(span)
        };
        if config.recheck_mentions > RECHECK_MAX {
            return Err(ConfigError::new("recheck_mentions", format!("must be at most {RECHECK_MAX}")));
        }
        for (at, pattern) in config.media_hosts.iter().enumerate() {
            if pattern.trim_start_matches("*.").contains(['*', '/', ':']) || pattern.is_empty() {
                return Err(ConfigError::new(
                    format!("media_hosts[{at}]"),
                    "must be a host name or `*.` and a domain, without scheme, port or path",
                ));
            }
        }
        Ok(Self {
            base_url: config.base_url.trim_end_matches('/').to_owned(),
            domain: config.domain.unwrap_or_else(|| host.clone()).to_ascii_lowercase(),
            host,
            token: config.token,
            exclude_types: config.exclude_types,
            media_hosts: config.media_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            interval: seconds("interval_seconds", config.interval_seconds)?,
            recheck_mentions: config.recheck_mentions,
            recheck_every: seconds("recheck_seconds", config.recheck_seconds)?,
        })
    }
}

impl ConnectorKind for Mastodon {
    const NAME: &'static str = "mastodon";
    const SUMMARY: &'static str = "Mastodon: mentions, replies, boosts, favourites, follows, edits and deletions";
    const CHANNEL: Channel = Channel::Social;
    const SHAPES: &'static [Shape] = &[Shape::Poll, Shape::Fetch];
    const ASSETS: Assets = assets!();

    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        let options = Arc::new(Options::check(config)?);
        let parse = Arc::new(parse::Parser::new(Arc::clone(&options)));
        let poll = Box::new(poll::Poller::new(Arc::clone(&options)));
        let mut connector = Connector::new(parse, vec![Intake::Poll(poll)], SourceClass::Replay);
        connector.fetch = Some(Arc::new(fetch::MediaFetch::new(Arc::clone(&options))));
        connector.history = Some(Box::new(history::NotificationHistory::new(Arc::clone(&options))));
        connector.check_cursor = Some(poll::check_cursor);
        connector.probe = Some(Arc::new(poll::AccountProbe::new(options)));
        Ok(connector)
    }
}
