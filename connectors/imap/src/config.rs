//! The instance's options and their checks.

use std::path::PathBuf;
use std::time::Duration;

use connector_sdk::net::Security;
use connector_sdk::{ConfigError, OAuthConfig, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

/// One connection is held for each folder; servers allow around 10 to 20 a user.
pub const MAX_FOLDERS: usize = 16;
/// Servers may log an idle client off after 30 minutes (RFC 2177).
const MAX_IDLE_RENEW_SECONDS: u64 = 29 * 60 - 1;
const MIN_MAIL_BYTES: u64 = 64 << 10;
/// The decoder's buffer ends at 512 MiB.
const MAX_MAIL_BYTES: u64 = 256 << 20;

const PORT_TLS: u16 = 993;
const PORT_PLAIN: u16 = 143;

/// Options of an IMAP instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Host name of the server; with TLS its certificate must be valid for it.
    pub host: String,
    /// Default: 993 with `tls`, else 143.
    #[serde(default)]
    pub port: Option<u16>,
    /// `tls` (default): TLS from the first byte; `starttls`: upgraded before the login; `plain`: for loopback and trusted networks only.
    #[serde(default = "default_security")]
    pub security: Security,
    /// PEM file with the certificates to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Login name, usually the address of the mailbox.
    pub user: String,
    /// How to log in.
    pub auth: Auth,
    /// Address of the mailbox, part of every event's identity: keep it when the login name changes. Default: `user`.
    #[serde(default)]
    pub account: Option<String>,
    /// Further addresses of the business. Mail from these, or from `account`, is marked as an echo of its own.
    #[serde(default)]
    pub own_addresses: Vec<String>,
    /// Folders to follow, one connection each (16 at most), by the names that mail programs show.
    #[serde(default = "default_folders")]
    pub folders: Vec<String>,
    /// Mails over this size are published with their headers only and an attachment marked `too_large`.
    #[serde(default = "default_max_mail_bytes")]
    pub max_mail_bytes: u64,
    /// How often to look where the server has no IDLE, in seconds.
    #[serde(default = "default_poll_seconds")]
    pub poll_seconds: u64,
    /// After how many seconds an IDLE is renewed (1 to 1739). Routers and some servers drop quiet connections early.
    #[serde(default = "default_idle_renew_seconds")]
    pub idle_renew_seconds: u64,
    /// Set to false for servers whose IDLE tells nothing (163, QQ): then `poll_seconds` counts.
    #[serde(default = "default_idle")]
    pub idle: bool,
}

/// How to log in: exactly one of these.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The password, or an app password where the provider has them.
    #[serde(default)]
    pub password: Option<Secret>,
    /// OAuth 2.0 (Gmail, Exchange Online): access tokens are fetched with the refresh token.
    #[serde(default)]
    pub xoauth2: Option<OAuthConfig>,
}

fn default_security() -> Security {
    Security::Tls
}
fn default_folders() -> Vec<String> {
    vec!["INBOX".to_owned()]
}
fn default_max_mail_bytes() -> u64 {
    64 << 20
}
fn default_poll_seconds() -> u64 {
    60
}
fn default_idle_renew_seconds() -> u64 {
    9 * 60
}
fn default_idle() -> bool {
    true
}

/// What to log in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    Password(Secret),
    Xoauth2(OAuthConfig),
}

/// Checked options.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub ca_file: Option<PathBuf>,
    pub user: String,
    pub credentials: Credentials,
    pub account: String,
    /// Lower case, `account` included where it is an address.
    pub own_addresses: Vec<String>,
    pub folders: Vec<String>,
    pub max_mail_bytes: u64,
    pub poll: Duration,
    pub idle_renew: Duration,
    pub idle: bool,
}

impl Config {
    /// Every error names the option.
    pub fn check(self) -> Result<Settings, ConfigError> {
        let bad = |path: &str, message: String| Err(ConfigError::new(path, message));
        if self.host.is_empty() || self.host.contains(['/', ' ', ':']) {
            return bad("host", format!("'{}' is no host name; write it without scheme and port", self.host));
        }
        if self.user.is_empty() || self.user.contains(['\r', '\n', '\0']) {
            return bad("user", "must be the login name".to_owned());
        }
        if self.folders.is_empty() || self.folders.len() > MAX_FOLDERS {
            let count = self.folders.len();
            return bad(
                "folders",
                format!("{count} folders: 1 to {MAX_FOLDERS} are possible; use several instances for more"),
            );
        }
        for (index, folder) in self.folders.iter().enumerate() {
            let path = format!("folders[{index}]");
            if folder.is_empty() || folder.contains(['\r', '\n', '\0', '*', '%']) {
                return bad(&path, format!("'{folder}' is no folder name; patterns are not possible"));
            }
            if self.folders[..index].iter().any(|have| same_folder(have, folder)) {
                return bad(&path, format!("'{folder}' is listed twice"));
            }
        }
        if !(MIN_MAIL_BYTES..=MAX_MAIL_BYTES).contains(&self.max_mail_bytes) {
            let message = format!("{} is not between {MIN_MAIL_BYTES} and {MAX_MAIL_BYTES}", self.max_mail_bytes);
            return bad("max_mail_bytes", message);
        }
        if self.poll_seconds == 0 {
            return bad("poll_seconds", "must be at least 1".to_owned());
        }
        if !(1..=MAX_IDLE_RENEW_SECONDS).contains(&self.idle_renew_seconds) {
            let message = format!("{} is not between 1 and {MAX_IDLE_RENEW_SECONDS}", self.idle_renew_seconds);
            return bad("idle_renew_seconds", message);
        }
        if self.ca_file.is_some() && self.security == Security::Plain {
            return bad("ca_file", "has no use with security: plain".to_owned());
        }
        let credentials = self.auth.clone().check()?;
        Ok(self.settle(credentials))
    }

    fn settle(self, credentials: Credentials) -> Settings {
        let account = self.account.unwrap_or_else(|| self.user.clone());
        let own_addresses = self
            .own_addresses
            .iter()
            .chain([&account, &self.user])
            .map(|address| address.to_lowercase())
            .filter(|address| address.contains('@'))
            .collect();
        let default_port = if self.security == Security::Tls { PORT_TLS } else { PORT_PLAIN };
        Settings {
            port: self.port.unwrap_or(default_port),
            host: self.host,
            security: self.security,
            ca_file: self.ca_file,
            user: self.user,
            credentials,
            account,
            own_addresses,
            folders: self.folders,
            max_mail_bytes: self.max_mail_bytes,
            poll: Duration::from_secs(self.poll_seconds),
            idle_renew: Duration::from_secs(self.idle_renew_seconds),
            idle: self.idle,
        }
    }
}

impl Auth {
    fn check(self) -> Result<Credentials, ConfigError> {
        match (self.password, self.xoauth2) {
            (Some(password), None) => Ok(Credentials::Password(password)),
            (None, Some(oauth)) => {
                let endpoint = &oauth.token_endpoint;
                // A token endpoint on this machine needs no TLS; any other gets the refresh token over the network.
                if !endpoint.starts_with("https://") && !endpoint.starts_with("http://127.0.0.1") {
                    return Err(ConfigError::new("auth.xoauth2.token_endpoint", "must begin with https://"));
                }
                Ok(Credentials::Xoauth2(oauth))
            }
            (None, None) => Err(ConfigError::new("auth", "give `password` or `xoauth2`")),
            (Some(_), Some(_)) => Err(ConfigError::new("auth", "give either `password` or `xoauth2`, not both")),
        }
    }
}

/// `INBOX` is the same in any case.
fn same_folder(a: &str, b: &str) -> bool {
    a == b || a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX")
}
