//! Asterisk over the manager interface (AMI): facts about the legs of calls as they happen, and one summary a call.
//!
//! ```text
//! session  banner, log-in, events ─▶ one raw event a fact            (session.rs, login.rs)
//!          which channels are one call, which has ended ─▶ one more  (tracker.rs: a plain state machine)
//! parse    one frame → a fact about a leg                            (parse.rs)
//!          the frames of a call → answered, missed, voicemail, lost  (summary.rs, story.rs)
//! ```

mod catalog;
mod id;
mod login;
mod number;
mod parse;
mod session;
mod story;
mod summary;
mod tracker;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use connector_sdk::net::Security;
use connector_sdk::schemas::Channel;
use connector_sdk::{
    Assets, BuildContext, ConfigError, Connector, ConnectorKind, Intake, Secret, Shape, SourceClass, assets,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The Asterisk connector.
pub struct Asterisk;

/// `provider` of every event.
pub(crate) const PROVIDER: &str = "asterisk";

const PORT_PLAIN: u16 = 5038;
const PORT_TLS: u16 = 5039;
/// Largest `settle_seconds`: a summary that comes later helps nobody.
const SETTLE_MAX_SECONDS: u64 = 300;
/// Largest `max_call_hours`.
const CALL_MAX_HOURS: u64 = 7 * 24;

/// How the user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// MD5 challenge: the secret does not cross the network.
    Md5,
    /// The secret as it is.
    Plain,
}

/// Options of an instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Host name or address of the PBX.
    pub host: String,
    /// Port of the manager interface; 5039 with TLS, 5038 without, unless set.
    #[serde(default)]
    pub port: Option<u16>,
    /// `tls` (the default), or `plain` for loopback and trusted networks.
    #[serde(default = "security")]
    pub security: Security,
    /// PEM file with the certificates to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// User in manager.conf.
    pub username: String,
    /// Its secret.
    pub secret: Secret,
    /// How the user proves who it is: by an MD5 challenge, or with the secret as it is.
    #[serde(default = "auth")]
    pub auth: Auth,
    /// Name of the PBX in events (`account`); the host unless set. Keep it when the host changes, so that ids stay the same.
    #[serde(default)]
    pub name: Option<String>,
    /// Classes of events to ask for.
    #[serde(default = "events")]
    pub events: String,
    /// Filters for this session as of `Action: Filter` (`!Event: RTCPSent`); the user needs the write right `system` for
    /// it, so `eventfilter` in manager.conf is the better place.
    #[serde(default)]
    pub filters: Vec<String>,
    /// Endpoints that lead outside, by the channel's name without technology and number (`trunk` of
    /// `PJSIP/trunk-0000001a`); `*` stands for anything.
    #[serde(default = "trunks")]
    pub trunks: Vec<String>,
    /// Contexts of the dialplan in which calls from outside begin; `*` stands for anything.
    #[serde(default = "inbound_contexts")]
    pub inbound_contexts: Vec<String>,
    /// Country code in digits, to bring national numbers to E.164; without it they stay as written.
    #[serde(default)]
    pub country_code: Option<String>,
    /// What stands before a national number.
    #[serde(default = "trunk_prefix")]
    pub trunk_prefix: String,
    /// What stands before an international number.
    #[serde(default = "international_prefix")]
    pub international_prefix: String,
    /// Whether numbers without any prefix begin with the country code (`4930123456`), as many SIP carriers send them.
    #[serde(default)]
    pub digits_are_international: bool,
    /// Seconds between a call's last hang-up and its summary, for CDR and voicemail events that come late.
    #[serde(default = "settle_seconds")]
    pub settle_seconds: u64,
    /// Seconds of silence after which the PBX is asked whether it is there.
    #[serde(default = "ping_seconds")]
    pub ping_seconds: u64,
    /// Hours after which a call whose end was not seen is given up as lost.
    #[serde(default = "max_call_hours")]
    pub max_call_hours: u64,
}

fn security() -> Security {
    Security::Tls
}

fn auth() -> Auth {
    Auth::Md5
}

fn events() -> String {
    "call,agent,cdr,dialplan".into()
}

fn trunks() -> Vec<String> {
    vec!["*trunk*".into()]
}

fn inbound_contexts() -> Vec<String> {
    ["from-trunk*", "from-pstn*", "from-did*"].map(str::to_owned).to_vec()
}

fn trunk_prefix() -> String {
    "0".into()
}

fn international_prefix() -> String {
    "00".into()
}

fn settle_seconds() -> u64 {
    5
}

fn ping_seconds() -> u64 {
    30
}

fn max_call_hours() -> u64 {
    12
}

/// A checked [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub ca_file: Option<PathBuf>,
    pub username: String,
    pub secret: Secret,
    pub auth: Auth,
    pub account: String,
    pub events: String,
    pub filters: Vec<String>,
    pub numbers: number::Numbers,
    pub timing: Timing,
}

/// Every span that a session waits; of their own so that tests need not wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// For the banner and each answer of the log-in.
    pub login: Duration,
    /// Silence before a ping.
    pub ping: Duration,
    /// For the answer to a ping.
    pub pong: Duration,
    /// Between the last hang-up and the summary.
    pub settle: Duration,
    /// Age at which a call is given up.
    pub max_call: Duration,
}

/// Time for the banner and for each answer of the log-in; Asterisk's own `authtimeout` is 30 s.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the answer to a ping.
const PONG_TIMEOUT: Duration = Duration::from_secs(15);

impl Options {
    fn check(config: Config) -> Result<Self, ConfigError> {
        let within = |path: &str, value: u64, max: u64| {
            if (1..=max).contains(&value) {
                return Ok(value);
            }
            Err(ConfigError::new(path, format!("must be between 1 and {max}")))
        };
        let tls = match config.security {
            Security::Tls => true,
            Security::Plain => false,
            Security::Starttls => {
                return Err(ConfigError::new("security", "AMI knows no STARTTLS; use `tls` (port 5039) or `plain`"));
            }
        };
        // A line break would let a value smuggle another action into the log-in.
        let lines = [("username", &config.username), ("events", &config.events)];
        let filters = config.filters.iter().map(|filter| ("filters", filter));
        let secret = config.secret.expose().to_owned();
        for (path, value) in lines.into_iter().chain(filters).chain([("secret", &secret)]) {
            if value.is_empty() || value.contains(['\r', '\n']) {
                return Err(ConfigError::new(path, "must be one line and not empty"));
            }
        }
        if config.country_code.as_ref().is_some_and(|code| code.is_empty() || !code.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(ConfigError::new("country_code", "must be digits without `+`, such as 49"));
        }
        let hours = within("max_call_hours", config.max_call_hours, CALL_MAX_HOURS)?;
        Ok(Self {
            port: config.port.unwrap_or(if tls { PORT_TLS } else { PORT_PLAIN }),
            tls,
            ca_file: config.ca_file,
            username: config.username,
            secret: config.secret,
            auth: config.auth,
            account: config.name.unwrap_or_else(|| config.host.clone()),
            host: config.host,
            events: config.events,
            filters: config.filters,
            numbers: number::Numbers {
                country_code: config.country_code,
                trunk_prefix: config.trunk_prefix,
                international_prefix: config.international_prefix,
                digits_are_international: config.digits_are_international,
                trunks: config.trunks,
                inbound_contexts: config.inbound_contexts,
            },
            timing: Timing {
                login: LOGIN_TIMEOUT,
                ping: Duration::from_secs(within("ping_seconds", config.ping_seconds, 3600)?),
                pong: PONG_TIMEOUT,
                settle: Duration::from_secs(within("settle_seconds", config.settle_seconds, SETTLE_MAX_SECONDS)?),
                max_call: Duration::from_secs(hours * 3600),
            },
        })
    }
}

impl ConnectorKind for Asterisk {
    const NAME: &'static str = "asterisk";
    const SUMMARY: &'static str = "Asterisk over AMI: calls ringing, answered, missed, voicemail, queues, transfers";
    const CHANNEL: Channel = Channel::Voice;
    const SHAPES: &'static [Shape] = &[Shape::Session];
    const ASSETS: Assets = assets!();

    type Config = Config;

    fn build(config: Config, _: &BuildContext) -> Result<Connector, ConfigError> {
        let options = Arc::new(Options::check(config)?);
        let parse = Arc::new(parse::Parser::new(Arc::clone(&options)));
        let session = Box::new(session::AmiSession::new(Arc::clone(&options)));
        let mut connector = Connector::new(parse, vec![Intake::Session(session)], SourceClass::Ephemeral);
        connector.probe = Some(Arc::new(session::LoginProbe::new(options)));
        Ok(connector)
    }
}
