//! `inlet import`: mails and messages from files, as if the instance had read them itself.

mod files;
mod jsonl;
mod lines;
mod mbox;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use connector_sdk::import::{Format, Import, Message};
use connector_sdk::key::sha256_hex;
use connector_sdk::{Bytes, Cursor, StreamId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::files::Files;
use self::jsonl::Jsonl;
use self::mbox::Mbox;
use super::feed::{Feed, Given, Rate, Sums, Supply};
use super::progress::{Progress, Unit};
use super::{Job, JobError, check_topics};
use crate::delivery::replay::RESERVED_PREFIX;
use crate::delivery::replay::job::JobLane;

/// Header of raw events: the file and the place in it.
const PLACE_HEADER: &str = "inlet-place";
/// Version of the position.
const VERSION: u32 = 1;
/// Of a file, what tells it from another one under the same name.
const HEAD_BYTES: u64 = 4096;
/// Characters of hashes in positions and job names.
const HASH_CHARS: usize = 12;

/// How messages lie in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One file with many mails
    Mbox,
    /// A folder with cur and new
    Maildir,
    /// A mail, or a folder of mails, in files .eml
    Eml,
    /// One JSON value a line
    Jsonl,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mbox => "mbox",
            Self::Maildir => "maildir",
            Self::Eml => "eml",
            Self::Jsonl => "jsonl",
        }
    }

    fn format(self) -> Format {
        match self {
            Self::Jsonl => Format::Json,
            Self::Mbox | Self::Maildir | Self::Eml => Format::Mail,
        }
    }

    /// Whether it is one file, with offsets as positions.
    fn is_one_file(self) -> bool {
        matches!(self, Self::Mbox | Self::Jsonl)
    }
}

/// What to import, and how.
pub struct Options {
    pub kind: Kind,
    pub path: PathBuf,
    /// Take one `>` away from quoted `From ` lines of an mbox.
    pub unquote: bool,
    /// Inputs a second; 0: no limit.
    pub rate: u32,
    /// Not from where an earlier run stopped, but from the beginning.
    pub again: bool,
}

/// One message as it was found.
#[derive(Debug)]
struct Found {
    /// Cut at the cap.
    bytes: Bytes,
    whole_bytes: Option<u64>,
    stored_at: Option<Timestamp>,
    /// For people: file and place.
    place: String,
    /// From where to go on behind it.
    behind: Value,
    progress: u64,
}

/// Reads messages from files. Blocks.
trait Reader: Send {
    fn next(&mut self) -> io::Result<Option<Found>>;
}

/// Where an import stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    v: u32,
    /// An offset, or the name of the last file.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    at: Value,
    items: u64,
    #[serde(default)]
    done: bool,
    /// Hash of the file's first bytes, and how many those were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<(String, u64)>,
}

/// Runs it to its end.
pub async fn run(job: &Job, options: &Options, stop: &CancellationToken) -> Result<Sums, JobError> {
    let import = taken(job, options.kind)?;
    let path = options.path.canonicalize().map_err(|error| unreadable(&options.path, &error))?;
    let name = name(options.kind, &path);
    check_topics(&job.settings).await?;
    let mut lane = JobLane::start(&job.settings, &job.instance.name, &name)?;
    let mut supply = Messages { import, options, path, place: Place::default(), reader: None };
    let (unit, total) = supply.measure()?;
    let mut progress = Progress::new(unit, Some(total));
    let (rate, mut sums) = (Rate::new(options.rate), Sums::default());
    let feed = Feed {
        job,
        lane: &mut lane,
        stream: &StreamId::new(name),
        rate: &rate,
        again: options.again,
        progress: &mut progress,
        sums: &mut sums,
        stop,
    };
    let done = feed.run(&mut supply).await;
    lane.stop().await;
    done.map(|()| sums)
}

fn taken(job: &Job, kind: Kind) -> Result<Arc<dyn Import>, JobError> {
    let (instance, connector) = (&job.instance.name, job.instance.connector);
    let Some(import) = &job.connector.import else {
        return Err(JobError::WrongUse(format!("{instance} ({connector}) takes nothing from files")));
    };
    if import.formats().contains(&kind.format()) {
        return Ok(import.clone());
    }
    let takes: Vec<_> = import.formats().iter().map(|format| format.as_str()).collect();
    let text = format!("{instance} ({connector}) takes {}, not {}", takes.join(" and "), kind.as_str());
    Err(JobError::WrongUse(text))
}

/// The same files go on where they stopped; others are another job.
fn name(kind: Kind, path: &Path) -> String {
    let hash = &sha256_hex(path.as_os_str().as_encoded_bytes())[..HASH_CHARS];
    let file = file_name(path).replace('/', "_");
    format!("{RESERVED_PREFIX}import:{}:{file}:{hash}", kind.as_str())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn unreadable(path: &Path, error: &io::Error) -> JobError {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::NotADirectory => JobError::WrongUse(text),
        _ => JobError::Failed(text),
    }
}

/// The messages of files as inputs.
struct Messages<'a> {
    import: Arc<dyn Import>,
    options: &'a Options,
    path: PathBuf,
    place: Place,
    reader: Option<Box<dyn Reader>>,
}

impl Messages<'_> {
    /// How much there is, and in what.
    fn measure(&self) -> Result<(Unit, u64), JobError> {
        if self.options.kind.is_one_file() {
            let size = std::fs::metadata(&self.path).map_err(|error| unreadable(&self.path, &error))?.len();
            return Ok((Unit::Bytes, size));
        }
        let (_, total) = self.files(None).map_err(|error| unreadable(&self.path, &error))?;
        Ok((Unit::Messages, total))
    }

    fn files(&self, after: Option<&str>) -> io::Result<(Files, u64)> {
        let max_bytes = self.import.max_bytes();
        match self.options.kind {
            Kind::Maildir => Files::maildir(&self.path, after, max_bytes),
            _ => Files::eml(&self.path, after, max_bytes),
        }
    }

    fn open(&self) -> io::Result<Box<dyn Reader>> {
        let (offset, max_bytes) = (self.place.at.as_u64().unwrap_or(0), self.import.max_bytes());
        Ok(match self.options.kind {
            Kind::Mbox => Box::new(Mbox::open(&self.path, offset, max_bytes, self.options.unquote)?),
            Kind::Jsonl => Box::new(Jsonl::open(&self.path, offset, max_bytes)?),
            Kind::Maildir | Kind::Eml => Box::new(self.files(self.place.at.as_str())?.0),
        })
    }

    /// A file that was begun must be the same one still.
    fn check_head(&mut self) -> Result<(), JobError> {
        if !self.options.kind.is_one_file() {
            return Ok(());
        }
        let head = |bytes| head(&self.path, bytes).map_err(|error| unreadable(&self.path, &error));
        match &self.place.head {
            Some((hash, bytes)) if head(*bytes)?.0 != *hash => Err(JobError::WrongUse(format!(
                "{} is not the file of which {} messages were imported before; --again starts anew",
                self.path.display(),
                self.place.items
            ))),
            Some(_) => Ok(()),
            None => {
                self.place.head = Some(head(HEAD_BYTES)?);
                Ok(())
            }
        }
    }
}

fn head(path: &Path, bytes: u64) -> io::Result<(String, u64)> {
    let mut start = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut start)?;
    Ok((sha256_hex(&start)[..HASH_CHARS].to_owned(), start.len() as u64))
}

#[async_trait(?Send)]
impl Supply for Messages<'_> {
    async fn seek(&mut self, position: Option<&Cursor>) -> Result<(), JobError> {
        self.place = match position {
            Some(position) => serde_json::from_value(position.0.clone()).map_err(|error| {
                JobError::Failed(format!("the import's position cannot be read ({error}); --again starts anew"))
            })?,
            None => Place { v: VERSION, ..Place::default() },
        };
        if self.place.items > 0 {
            let done = if self.place.done { ", to its end" } else { "" };
            eprintln!(
                "{} messages were imported before{done}; going on from there (--again starts anew)",
                self.place.items
            );
        }
        self.place.done = false;
        self.check_head()?;
        self.reader = Some(self.open().map_err(|error| unreadable(&self.path, &error))?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Given>, JobError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let found = tokio::task::block_in_place(|| reader.next()).map_err(|error| unreadable(&self.path, &error))?;
        let Some(Found { bytes, whole_bytes, stored_at, place, behind, progress }) = found else { return Ok(None) };
        let format = self.options.kind.format();
        let message = Message { format, bytes, whole_bytes, stored_at, now: crate::clock::now() };
        let mut raw = self.import.raw(message);
        raw.headers.set(PLACE_HEADER, place);
        self.place.at = behind;
        self.place.items += 1;
        Ok(Some(Given { raw, after: Cursor(json!(self.place)), progress }))
    }

    fn finished(&self) -> Cursor {
        Cursor(json!(Place { done: true, ..self.place.clone() }))
    }
}
