//! `inlet cursors`: the positions of replay sources, as they are stored on Kafka.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use connector_sdk::{Cursor, Entry, Start, StreamId};
use serde_json::{Value, json};

use super::{Failure, block_on, output};
use crate::config::{self, LoadedConfig};
use crate::delivery::replay::codec::moved_to;
use crate::delivery::replay::manage::{self, ManageError, Resharded};
use crate::delivery::replay::{CursorKey, StoredCursor, list_cursors};
use crate::delivery::settings::KafkaSettings;
use crate::intake::position::Position;

#[derive(Subcommand)]
pub enum Command {
    /// List all positions
    List(Common),
    /// Show the positions of one instance whole
    Show {
        #[command(flatten)]
        common: Common,
        /// Instance
        instance: String,
        /// Only this stream
        stream: Option<String>,
    },
    /// Set a position; the connector checks it
    Set {
        #[command(flatten)]
        common: Common,
        /// Instance
        instance: String,
        /// Stream, as `list` shows it
        stream: String,
        /// The position, as `show` shows it
        cursor: String,
        /// For a stream that has no position yet
        #[arg(long)]
        new: bool,
        /// Also while gateways run: the owner is fenced and goes on from there
        #[arg(long)]
        force: bool,
    },
    /// Take positions away: the streams begin anew, as `start` of their instance says
    Reset {
        #[command(flatten)]
        common: Common,
        /// Instance
        instance: String,
        /// Only this stream; without it, all of the instance
        stream: Option<String>,
        /// Also while gateways run: the owner is fenced and begins anew
        #[arg(long)]
        force: bool,
    },
    /// Move all positions to another number of partitions, or to another topic
    Reshard {
        #[command(flatten)]
        common: Common,
        /// How many partitions
        #[arg(long)]
        partitions: i32,
        /// Another topic, which is made; without it partitions are added to the present one
        #[arg(long, value_name = "NAME")]
        topic: Option<String>,
    },
}

#[derive(Args)]
pub struct Common {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        Self::failed(error.to_string())
    }
}

type Positions = BTreeMap<CursorKey, StoredCursor>;

pub fn run(command: &Command, entries: &'static [Entry]) -> Result<(), Failure> {
    match command {
        Command::List(common) => list(common, entries),
        Command::Show { common, instance, stream } => show(common, entries, instance, stream.as_deref()),
        Command::Set { common, instance, stream, cursor, new, force } => {
            let loaded = config::load(&common.config, entries)?;
            let key = CursorKey::new(instance, StreamId::new(stream));
            let cursor = checked(&loaded, &key, cursor)?;
            let positions = read(&settings(&loaded))?;
            if !new && !positions.contains_key(&key) {
                let text =
                    format!("{}; with --new it is set all the same", no_position(&positions, instance, Some(stream)));
                return Err(Failure::failed(text));
            }
            manage::store(&settings(&loaded), instance, &[(key, Some(cursor))], *force)?;
            done(
                common,
                &json!({ "set": [[instance, stream]] }),
                &format!("{instance} goes on from there (stream {stream})"),
            )
        }
        Command::Reset { common, instance, stream, force } => {
            reset(common, entries, instance, stream.as_deref(), *force)
        }
        Command::Reshard { common, partitions, topic } => {
            let loaded = config::load(&common.config, entries)?;
            let moved =
                block_on(async { Ok(manage::reshard(&settings(&loaded), topic.as_deref(), *partitions).await?) })?;
            done(common, &json!(moved), &resharded(&moved))
        }
    }
}

fn settings(loaded: &LoadedConfig) -> KafkaSettings {
    loaded.config.kafka.settings(&loaded.config.topics)
}

/// Marks left out.
fn read(settings: &KafkaSettings) -> Result<Positions, Failure> {
    let listed = block_on(async { list_cursors(settings).await.map_err(|error| Failure::failed(error.to_string())) })?;
    let moved = listed.iter().find_map(|(key, stored)| moved_to(key, &stored.cursor));
    if let Some((topic, partitions)) = moved {
        let name = &settings.topics.cursors.name;
        return Err(Failure::failed(format!(
            "the positions of topic {name} were moved: set topics.cursors.name: {topic} and topics.cursors.partitions: {partitions}"
        )));
    }
    Ok(listed)
}

fn as_json(key: &CursorKey, stored: &StoredCursor) -> Value {
    json!({
        "instance": key.instance,
        "stream": key.stream,
        "cursor": stored.cursor,
        "stored_at": stored.at,
        "partition": stored.partition,
    })
}

fn list(common: &Common, entries: &'static [Entry]) -> Result<(), Failure> {
    let loaded = config::load(&common.config, entries)?;
    let positions = read(&settings(&loaded))?;
    if common.json {
        let all: Vec<_> = positions.iter().map(|(key, stored)| as_json(key, stored)).collect();
        return output::print(&format!("{:#}\n", Value::Array(all)));
    }
    if positions.is_empty() {
        return output::print("no positions are stored\n");
    }
    let rows: Vec<_> = positions
        .iter()
        .map(|(key, stored)| {
            let known = loaded.config.instances.contains_key(&key.instance);
            vec![
                format!("{}{}", key.instance, if known { "" } else { " (not configured)" }),
                key.stream.to_string(),
                stored.at.map_or_else(|| "?".to_owned(), |at| at.to_string()),
                connector_sdk::text::cut(&stored.cursor.0.to_string(), CURSOR_SHOWN_BYTES).0.to_owned(),
            ]
        })
        .collect();
    output::print(&output::table(&["INSTANCE", "STREAM", "STORED", "CURSOR"], &rows))
}

/// Of a position in the list; `show` has the whole.
const CURSOR_SHOWN_BYTES: usize = 100;

fn show(common: &Common, entries: &'static [Entry], instance: &str, stream: Option<&str>) -> Result<(), Failure> {
    let loaded = config::load(&common.config, entries)?;
    let positions = read(&settings(&loaded))?;
    let found = of(&positions, instance, stream);
    if found.is_empty() {
        return Err(Failure::failed(no_position(&positions, instance, stream)));
    }
    let all: Vec<_> = found.iter().map(|(key, stored)| as_json(key, stored)).collect();
    output::print(&format!("{:#}\n", Value::Array(all)))
}

fn of<'a>(positions: &'a Positions, instance: &str, stream: Option<&str>) -> Vec<(&'a CursorKey, &'a StoredCursor)> {
    let wanted = |key: &CursorKey| key.instance == instance && stream.is_none_or(|stream| key.stream.0 == stream);
    positions.iter().filter(|(key, _)| wanted(key)).collect()
}

fn no_position(positions: &Positions, instance: &str, stream: Option<&str>) -> String {
    let streams: Vec<_> = of(positions, instance, None).iter().map(|(key, _)| key.stream.to_string()).collect();
    match (stream, streams.is_empty()) {
        (Some(stream), false) => {
            format!("{instance} has no position in stream {stream}; it has in {}", streams.join(", "))
        }
        _ => format!("{instance} has no position; `inlet cursors list` shows all"),
    }
}

/// Parsed, and accepted by the connector where it can tell.
fn checked(loaded: &LoadedConfig, key: &CursorKey, text: &str) -> Result<Cursor, Failure> {
    let wrong = |reason: String| Failure::wrong_use(format!("{text}: {reason}"));
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("is no JSON ({error})")))?;
    let Some((_, _, connector)) = loaded.connectors.iter().find(|(name, ..)| *name == key.instance) else {
        return Err(Failure::wrong_use(format!("no instance '{}' in the configuration", key.instance)));
    };
    let cursor = Cursor(value);
    if let Some(check) = connector.check_cursor.filter(|_| !key.is_reserved()) {
        // A poll's driver may have wrapped it.
        let own = Position::read(cursor.clone()).cursor;
        check(&key.stream, &own).map_err(|error| wrong(format!("the connector does not read it: {error}")))?;
    }
    Ok(cursor)
}

fn reset(
    common: &Common,
    entries: &'static [Entry],
    instance: &str,
    stream: Option<&str>,
    force: bool,
) -> Result<(), Failure> {
    let loaded = config::load(&common.config, entries)?;
    let positions = read(&settings(&loaded))?;
    let keys: Vec<CursorKey> = of(&positions, instance, stream).iter().map(|(key, _)| (*key).clone()).collect();
    if keys.is_empty() {
        return Err(Failure::failed(no_position(&positions, instance, stream)));
    }
    let changes: Vec<_> = keys.iter().map(|key| (key.clone(), None)).collect();
    manage::store(&settings(&loaded), instance, &changes, force)?;
    let streams: Vec<_> = keys.iter().map(|key| key.stream.to_string()).collect();
    let what = consequence(&loaded, instance, keys.iter().all(CursorKey::is_reserved));
    let reset: Vec<_> = streams.iter().map(|stream| json!([instance, stream])).collect();
    done(
        common,
        &json!({ "reset": reset, "then": what }),
        &format!("{instance}: {} without position: {what}", streams.join(", ")),
    )
}

/// What will be read again.
fn consequence(loaded: &LoadedConfig, instance: &str, only_jobs: bool) -> String {
    if only_jobs {
        return "the next run of the job begins anew; what it reads again comes with the same ids".to_owned();
    }
    match loaded.config.instances.get(instance).map(|instance| &instance.start.0) {
        None => "the instance is not configured; nothing reads it".to_owned(),
        Some(Start::Beginning) => {
            "start is `beginning`: everything that the source still has is read again; repeats have the same ids".to_owned()
        }
        Some(Start::Since(at)) => {
            format!("start is `since {at}`: everything since then is read again; repeats have the same ids")
        }
        Some(Start::Now) => {
            "start is `now`: reading goes on with what comes after the next start; what came in between is left out, and \
             `inlet backfill` can fetch it"
                .to_owned()
        }
    }
}

fn resharded(moved: &Resharded) -> String {
    format!(
        "{} positions moved, {} were in place; now set topics.cursors.name: {} and topics.cursors.partitions: {} in every \
         gateway's configuration, then start them",
        moved.moved, moved.kept, moved.topic, moved.partitions
    )
}

fn done(common: &Common, value: &Value, text: &str) -> Result<(), Failure> {
    if common.json { output::print(&format!("{value:#}\n")) } else { output::print(&format!("{text}\n")) }
}
