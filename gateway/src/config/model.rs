//! The configuration's shape. Doc comments become the reference in `docs/configuration.md`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use connector_sdk::{Secret, Start, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use super::switch::Switch;
pub use super::units::{Rate, Size, Span};
use crate::delivery::settings::{KafkaSection, TopicsSection};

/// The whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: KafkaSection,
    /// Inlet's topics.
    #[serde(default)]
    pub topics: TopicsSection,
    /// Where providers and browsers reach Inlet.
    #[serde(default)]
    pub ingress: Ingress,
    /// Health, metrics and status for operators; never expose it.
    #[serde(default)]
    pub admin: Admin,
    /// What this process does: `ingress` (webhooks and forms), `sources` (poll and session), `fetches` (media).
    #[serde(default = "all_roles")]
    pub roles: Vec<Role>,
    /// Directory for the spool, blobs (by default) and rotated tokens. Every process needs its own.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Where attachments and oversize events are stored.
    #[serde(default)]
    pub blobs: Blobs,
    /// Where push input is safe while Kafka does not take it, on the local disk under `data_dir`; `off`: it is refused then, with 503.
    #[serde(default)]
    pub spool: Switch<Spool>,
    /// The longest absence of Kafka that must lose nothing. With the spool off, `inlet check` names the instances whose provider gives up sooner.
    #[serde(default = "default_outage_budget")]
    pub outage_budget: Span,
    /// How many processes run with this configuration. More than one need a blob store that all of them reach.
    #[serde(default = "default_replicas")]
    pub replicas: u32,
    /// Events above this size travel as claim checks: the whole is a blob, the record refers to it.
    #[serde(default = "default_inline_max")]
    pub inline_max: Size,
    /// How redeliveries of webhooks are recognised.
    #[serde(default)]
    pub seen: SeenSection,
    /// Whether redacted raw inputs are kept on the topic `topics.raw` (7 days), so that `inlet replay` can parse them anew:
    /// `on` or `off`. About doubles what goes to Kafka.
    #[serde(default)]
    pub raw: OnOff,
    /// Detect the language of inbound texts (`routing.language`). Adds about half to the CPU of an input.
    #[serde(default)]
    pub detect_language: bool,
    /// Logging.
    #[serde(default)]
    pub log: Log,
    /// Traces by OTLP; off unless an endpoint is given.
    #[serde(default)]
    pub tracing: Tracing,
    /// How a stop goes.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// The channels, by a name of your choice.
    #[serde(default)]
    pub instances: BTreeMap<String, Instance>,
}

impl Config {
    /// An instance, with what the file says for all of them.
    pub fn instance(&self, name: &str) -> Option<Instance> {
        let own = self.instances.get(name)?;
        Some(Instance { raw: own.raw.or(Some(self.raw)), ..own.clone() })
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Ingress,
    Sources,
    Fetches,
}

fn all_roles() -> Vec<Role> {
    vec![Role::Ingress, Role::Sources, Role::Fetches]
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("inlet-data")
}

fn default_outage_budget() -> Span {
    Span(std::time::Duration::from_secs(24 * 3600))
}

fn default_replicas() -> u32 {
    1
}

fn default_inline_max() -> Size {
    Size(512 << 10)
}

/// The public listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingress {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// The URL under which providers reach this listener (`https://inlet.example.com`); signatures over the URL need it.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed: addresses or networks (`10.0.0.0/8`).
    pub trusted_proxies: Vec<String>,
    /// Limits on what strangers may send.
    pub limits: Limits,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Limits of the public listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Body as sent; above it 413. A connector may have its own (a form with files).
    pub body: Size,
    /// Body after decompression; above it 413.
    pub body_decompressed: Size,
    /// All header lines together.
    pub headers: Size,
    /// Time for the head of a request, and for its body each.
    pub read_timeout: Span,
    /// How long a connection may be kept open without a request; longer than load balancers keep theirs, or they find it
    /// closed at the moment of using it.
    pub idle_timeout: Span,
    /// Time until an input must be safe; above it 503 with Retry-After. With a spool Kafka has three fifths of it, then the input goes into the spool.
    pub deadline: Span,
    /// Open connections; further ones wait in the listen queue.
    pub connections: usize,
    /// Requests being worked on at once; above it 503 with Retry-After. Half of it is kept for the instances, each its
    /// part, so that one that floods leaves the others theirs; the same goes for the memory of bodies, and for the
    /// accounts of an instance.
    pub in_flight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: Size(4 << 20),
            body_decompressed: Size(16 << 20),
            headers: Size(32 << 10),
            read_timeout: Span(std::time::Duration::from_secs(15)),
            idle_timeout: Span(std::time::Duration::from_secs(75)),
            deadline: Span(std::time::Duration::from_millis(2500)),
            connections: 10_000,
            in_flight: 4096,
        }
    }
}

/// The operators' listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address to listen on.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)) }
    }
}

/// The blob store.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Blobs {
    /// `file:///path` or `s3://bucket/prefix`; default: `blobs` under `data_dir`.
    pub url: Option<String>,
    /// Settings of the store as the S3 client names them (`aws_endpoint`, `aws_access_key_id`, `aws_secret_access_key`, `aws_region`, `aws_allow_http`).
    pub options: BTreeMap<String, Secret>,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnOff {
    #[default]
    On,
    Off,
}

/// The index of events that are published: a provider that sends again what is safe already is answered, and nothing is
/// published a second time. Replicas share it through the topic `topics.seen`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SeenSection {
    /// How long a published event is remembered; `topics.seen.retention` must not be shorter.
    pub window: Span,
    /// How many events are remembered at most, the newest; each takes 21 to 42 bytes of memory.
    pub max_ids: usize,
}

impl Default for SeenSection {
    fn default() -> Self {
        Self { window: Span(std::time::Duration::from_secs(24 * 60 * 60)), max_ids: 1_800_000 }
    }
}

/// The spool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// What it may hold; above it push input is refused with 503. Its files take up to a quarter more.
    pub max_bytes: Size,
    /// When the oldest input in it is older an alert is raised (`inlet_spool_over_age`, and the log). It is never dropped.
    pub max_age: Span,
}

impl Default for Spool {
    fn default() -> Self {
        Self { max_bytes: Size(4 << 30), max_age: Span(std::time::Duration::from_secs(3600)) }
    }
}

/// Logging.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `human` or `json`.
    pub format: LogFormat,
    /// Level or filter directives (`info`, `warn,inlet=debug`).
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

/// Traces.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tracing {
    /// OTLP over HTTP (`http://collector:4318/v1/traces`).
    pub otlp_endpoint: Option<String>,
}

/// How a stop goes: unready → serve for `propagation` → refuse new → settle → flush → exit, all within `grace`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long to keep serving after readiness is withdrawn, until load balancers know.
    pub propagation: Span,
    /// Upper bound of the whole stop.
    pub grace: Span,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { propagation: Span(std::time::Duration::ZERO), grace: Span(std::time::Duration::from_secs(25)) }
    }
}

/// One channel: an app credential with a connector.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Which connector; `inlet connectors` lists them.
    pub connector: String,
    /// Tenant of its events. With `accounts`, tenant of those that name none.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// Known accounts (mailbox, page, number, workspace). Where given, events of others get tenant `unassigned`.
    #[serde(default)]
    pub accounts: Option<BTreeMap<String, Account>>,
    /// What to do with a new source's history: `now`, `beginning`, or `since 2026-01-31` (or a full RFC 3339 time).
    #[serde(default)]
    #[schemars(with = "String")]
    pub start: StartOption,
    /// Whether its raw inputs are kept; default: as `raw` says for all.
    #[serde(default)]
    pub raw: Option<OnOff>,
    /// Department, queue, priority and tags of its events.
    #[serde(default)]
    pub routing: RoutingOption,
    /// Most inputs that its webhook takes, such as `100/s` or `2000/min`, in bursts of up to two seconds' worth; above it
    /// 429 with Retry-After (or what the provider understands). Default: no limit but the listener's.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// When it is an alarm that a stream is behind its source.
    #[serde(default)]
    pub lag: LagOption,
    /// How files are fetched that its messages refer to.
    #[serde(default)]
    pub fetch: FetchOption,
    /// Options of the connector; `inlet connectors NAME` explains them.
    #[serde(default)]
    pub options: Map<String, Value>,
}

/// Names of the options only: their values may be secrets.
impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("connector", &self.connector)
            .field("tenant", &self.tenant)
            .field("accounts", &self.accounts)
            .field("start", &self.start)
            .field("routing", &self.routing)
            .field("rate", &self.rate)
            .field("lag", &self.lag)
            .field("fetch", &self.fetch)
            .field("options", &self.options.keys().collect::<Vec<_>>())
            .finish()
    }
}

fn default_tenant() -> String {
    "default".into()
}

/// When a stream that is behind its source (the head of the mailbox against the cursor) raises a `connector.health`
/// event: more than `items` for longer than `after`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LagOption {
    /// Items that may wait.
    pub items: u64,
    /// For how long more of them may.
    pub after: Span,
}

impl Default for LagOption {
    fn default() -> Self {
        Self { items: 1000, after: Span(std::time::Duration::from_secs(300)) }
    }
}

/// How an instance's fetch orders are carried out. Files come by https from public addresses alone, so that a message
/// cannot make Inlet call into its operator's network.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FetchOption {
    /// Hosts of your own network that may be called all the same: names or addresses, without a port. They may have
    /// private addresses and speak plain http. Only for a server of your own that the instance works with.
    pub private_hosts: Vec<String>,
    /// Largest file; a connector may have a lower limit of its own. What is larger ends in `attachment.failed`.
    pub max_bytes: Size,
}

impl Default for FetchOption {
    fn default() -> Self {
        Self { private_hosts: Vec::new(), max_bytes: Size(1 << 30) }
    }
}

/// A known account.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// Its tenant; default: the instance's.
    pub tenant: Option<String>,
    /// Overrides the instance's routing.
    pub routing: Option<RoutingOption>,
}

/// Routing set by configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingOption {
    pub department: Option<String>,
    pub queue: Option<String>,
    pub priority: Option<String>,
    pub tags: Vec<String>,
}

/// `start`, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartOption(pub Start);

impl<'de> Deserialize<'de> for StartOption {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let start = match text.as_str() {
            "now" => Some(Start::Now),
            "beginning" => Some(Start::Beginning),
            other => other.strip_prefix("since ").and_then(|when| moment(when.trim())).map(Start::Since),
        };
        start.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("'{text}' is no start; write now, beginning, or since 2026-01-31"))
        })
    }
}

/// A date (its first moment, UTC) or an RFC 3339 time.
pub fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}
