//! What a connector is made of, and how it enters the list.

use std::sync::Arc;
use std::time::Duration;

use include_dir::Dir;
use inlet_schemas::{Channel, Timestamp};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{ConfigError, IntakeError};
use crate::fetch::Fetch;
use crate::history::History;
use crate::import::Import;
use crate::parse::Parse;
use crate::poll::{Cursor, Poll, StreamId};
use crate::session::Session;
use crate::upkeep::{Probe, Upkeep};
use crate::webhook::Webhook;

/// One kind of connector: its name, its options, and how an instance is built of them.
pub trait ConnectorKind {
    /// Name in configuration (`connector: imap`), lower case.
    const NAME: &'static str;
    /// One line for `inlet connectors`.
    const SUMMARY: &'static str;
    const CHANNEL: Channel;
    /// Which shapes an instance may have, for listing.
    const SHAPES: &'static [Shape];
    /// README, example, kinds and fixtures: [`crate::assets!`].
    const ASSETS: Assets;

    /// The instance's `options`; with `deny_unknown_fields`.
    type Config: DeserializeOwned + JsonSchema;

    /// Checks the options and builds an instance. Never connects.
    fn build(config: Self::Config, cx: &BuildContext) -> Result<Connector, ConfigError>;
}

/// What `build` is told about the instance.
#[derive(Clone, Debug, Default)]
pub struct BuildContext {
    /// The instance's name in configuration.
    pub instance: String,
    /// `ingress.public_url` without a slash at the end, where configured.
    pub public_url: Option<String>,
}

/// A built instance: its parts by shape.
pub struct Connector {
    pub parse: Arc<dyn Parse>,
    pub intakes: Vec<Intake>,
    pub fetch: Option<Arc<dyn Fetch>>,
    pub upkeep: Option<Box<dyn Upkeep>>,
    pub probe: Option<Arc<dyn Probe>>,
    pub source: SourceClass,
    /// Whether this version reads a position (of a stream): for positions that people set. Fails as the intake would.
    pub check_cursor: Option<CheckCursor>,
    /// What the source has kept: for `inlet backfill` and `inlet audit`.
    pub history: Option<Box<dyn History>>,
    /// For `inlet import`.
    pub import: Option<Arc<dyn Import>>,
}

/// See [`Connector::check_cursor`].
pub type CheckCursor = fn(&StreamId, &Cursor) -> Result<(), IntakeError>;

impl Connector {
    /// An instance with these intakes and nothing else.
    pub fn new(parse: Arc<dyn Parse>, intakes: Vec<Intake>, source: SourceClass) -> Self {
        Self {
            parse,
            intakes,
            fetch: None,
            upkeep: None,
            probe: None,
            source,
            check_cursor: None,
            history: None,
            import: None,
        }
    }
}

/// One way in.
pub enum Intake {
    Webhook(Arc<dyn Webhook>),
    Poll(Box<dyn Poll>),
    Session(Box<dyn Session>),
}

/// Name of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    Webhook,
    Poll,
    Session,
    Fetch,
    Upkeep,
}

impl Shape {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Poll => "poll",
            Self::Session => "session",
            Self::Fetch => "fetch",
            Self::Upkeep => "upkeep",
        }
    }
}

/// What a source does with input that we do not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceClass {
    /// Can be read again from a cursor: pauses while Kafka is away; exactly once.
    Replay,
    /// The provider sends again for so long.
    Redeliver { horizon: Duration },
    /// Nobody sends it again.
    Ephemeral,
}

/// What a new source does with history.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Start {
    #[default]
    Now,
    Beginning,
    Since(Timestamp),
}

/// A connector's files, compiled in.
#[derive(Clone, Copy)]
pub struct Assets {
    pub readme: &'static str,
    /// `config.example.yaml`: an instance's `options` with comments.
    pub example: &'static str,
    /// `kinds.toml`: see [`crate::kinds`].
    pub kinds: &'static str,
    /// `fixtures/<case>/…`: see [`crate::fixture`].
    pub fixtures: &'static Dir<'static>,
}

/// The calling crate's [`Assets`].
#[macro_export]
macro_rules! assets {
    () => {{
        // What `include_dir!` expands to names its crate, which callers need not depend on.
        use $crate::include_dir;
        static FIXTURES: $crate::include_dir::Dir<'static> =
            $crate::include_dir::include_dir!("$CARGO_MANIFEST_DIR/fixtures");
        $crate::Assets {
            readme: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")),
            example: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.yaml")),
            kinds: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/kinds.toml")),
            fixtures: &FIXTURES,
        }
    }};
}

/// A connector kind in the list, its configuration type erased.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub channel: fn() -> Channel,
    pub shapes: &'static [Shape],
    pub assets: Assets,
    /// JSON Schema of `options`.
    pub schema: fn() -> Value,
    /// Builds an instance from its `options`.
    pub build: fn(&Value, &BuildContext) -> Result<Connector, ConfigError>,
}

impl Entry {
    pub const fn of<K: ConnectorKind>() -> Self {
        Self {
            name: K::NAME,
            summary: K::SUMMARY,
            channel: || K::CHANNEL,
            shapes: K::SHAPES,
            assets: K::ASSETS,
            schema: || schemars::schema_for!(K::Config).to_value(),
            build: build::<K>,
        }
    }
}

/// What `inlet quickstart` shows of a list of connectors.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// `instances:` in YAML.
    pub instances: &'static str,
    /// Commands to try; `{ingress}`, `{admin}`, `{bootstrap}` and `{topic}` are filled in.
    pub try_out: &'static str,
}

fn build<K: ConnectorKind>(options: &Value, cx: &BuildContext) -> Result<Connector, ConfigError> {
    let config = serde_path_to_error::deserialize::<_, K::Config>(options).map_err(|error| {
        let path = error.path().to_string();
        ConfigError::new(if path == "." { String::new() } else { path }, error.into_inner().to_string())
    })?;
    K::build(config, cx)
}
