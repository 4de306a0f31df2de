//! `inlet spool`: what a spool holds, and bringing an orphan's input to Kafka.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Subcommand};
use connector_sdk::{Entry, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, block_on, output, stop_signal};
use crate::config;
use crate::delivery::push::KafkaPublisher;
use crate::gateway::{GOODBYE_LIMIT, start_seen, topics_beside};
use crate::pipeline::blobs::BlobStore;
use crate::spool::service::SpoolService;
use crate::spool::{DATABASE, DIRECTORY, SpoolError, SpoolSettings, Summary, exists, summary};
use crate::telemetry::counters::Metrics;

/// How often the progress is drawn.
const TICK: Duration = Duration::from_millis(200);
/// How long Kafka may be away before that is said.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
pub enum Command {
    /// What a spool holds; also while a gateway runs with it
    Status(Where),
    /// Bring a spool's input to Kafka: one that no gateway runs with any longer. Ends when it is empty
    Drain(Drain),
}

#[derive(Args)]
pub struct Where {
    /// The spool: its database, its directory, or the data_dir above it
    #[arg(value_name = "PATH", required_unless_present = "config")]
    path: Option<PathBuf>,
    /// Configuration file whose data_dir it is in
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Drain {
    /// The spool: its database, its directory, or the data_dir above it
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Configuration file that says where Kafka and the blob store are
    #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
    config: PathBuf,
    /// Give up when it is not empty after so many seconds; without it: never
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub fn run(command: &Command, entries: &'static [Entry]) -> Result<(), Failure> {
    match command {
        Command::Status(options) => status(options, entries),
        Command::Drain(options) => drain(options, entries),
    }
}

fn status(options: &Where, entries: &'static [Entry]) -> Result<(), Failure> {
    let dir = match (&options.path, &options.config) {
        (Some(path), _) => directory(path)?,
        (None, Some(file)) => directory(&config::load(file, entries)?.config.data_dir)?,
        (None, None) => return Err(Failure::wrong_use("say which: PATH, or -c FILE")),
    };
    let summary = summary(&dir).map_err(failure)?;
    if options.json {
        return output::print(&(json(&dir, &summary).to_string() + "\n"));
    }
    output::print(&text(&dir, &summary))
}

fn text(dir: &Path, summary: &Summary) -> String {
    let mut text = format!(
        "spool: {}\nentries: {}\nbytes: {}\ndamaged: {}\nquarantined: {}\n",
        dir.display(),
        summary.entries,
        summary.bytes,
        summary.damaged,
        quarantined(dir)
    );
    if let Some(oldest) = summary.oldest_ms.and_then(Timestamp::from_unix_millis) {
        let age = crate::clock::now().since(oldest).as_secs();
        text.push_str(&format!("oldest: {oldest} ({age} s ago)\n"));
    }
    if !summary.instances.is_empty() {
        let name = |name: &str| if name.is_empty() { "(Inlet's own)".to_owned() } else { name.to_owned() };
        let rows: Vec<_> = summary.instances.iter().map(|(own, count)| vec![name(own), count.to_string()]).collect();
        text.push_str(&format!("\n{}", output::table(&["instance", "entries"], &rows)));
    }
    text
}

fn json(dir: &Path, summary: &Summary) -> serde_json::Value {
    let instances: serde_json::Map<_, _> =
        summary.instances.iter().map(|(name, count)| (name.clone(), (*count).into())).collect();
    serde_json::json!({
        "spool": dir,
        "entries": summary.entries,
        "bytes": summary.bytes,
        "oldest": summary.oldest_ms.and_then(Timestamp::from_unix_millis),
        "damaged": summary.damaged,
        "quarantined": quarantined(dir),
        "instances": instances,
    })
}

/// Directories of damaged databases beside a spool.
fn quarantined(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("quarantine-")).count()
}

fn drain(options: &Drain, entries: &'static [Entry]) -> Result<(), Failure> {
    let loaded = config::load(&options.config, entries)?;
    let dir = directory(&options.path)?;
    let config = loaded.config;
    let settings = config.kafka.settings(&config.topics);
    block_on(async {
        let blobs = BlobStore::open(&config.blobs, &config.data_dir).map_err(Failure::failed)?;
        let kafka = KafkaPublisher::start_patient(&settings).map_err(|error| Failure::failed(error.to_string()))?;
        let kafka = Arc::new(kafka);
        let limits = SpoolSettings { dir, max_bytes: u64::MAX, max_age: Duration::MAX };
        let deadline = config.ingress.limits.deadline.0;
        // What running gateways have published meanwhile is left out, and they are told what is drained.
        let metrics = Arc::new(Metrics::default());
        let (seen, sharing) = start_seen(&config, &settings, &metrics, kafka.clone()).map_err(Failure::failed)?;
        let mut service = SpoolService::open(limits, kafka, seen, deadline).map_err(failure)?;
        let total = service.spool.found().entries;
        // Kafka may never have been there while the gateway ran: then neither were the topics.
        topics_beside(settings.clone());
        service.drain(blobs, metrics);
        let emptied = follow(&service, total, options.timeout.map(Duration::from_secs)).await;
        let figures = service.spool.clone();
        service.stop().await;
        if let Some(sharing) = sharing {
            sharing.end(GOODBYE_LIMIT).await;
        }
        let count = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        let (drained, left) = (count(&figures.figures().drained), count(&figures.figures().entries));
        let dead = count(&figures.figures().dead_lettered);
        println!("{drained} on Kafka ({dead} of them as dead letters), {left} left");
        match emptied {
            Ok(()) if left == 0 => Ok(()),
            Ok(()) => Err(Failure::failed("not empty; run it again")),
            Err(reason) => Err(Failure::failed(format!("{reason}; what is left stays in the spool"))),
        }
    })
}

/// Until it is empty; shows how far it is.
async fn follow(service: &SpoolService, total: u64, limit: Option<Duration>) -> Result<(), String> {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    let figures = service.spool.figures();
    let progress = async {
        let mut quiet = (0, tokio::time::Instant::now());
        loop {
            let (drained, left) = (figures.drained.load(Ordering::Relaxed), figures.entries.load(Ordering::Relaxed));
            bar.set_position(drained.min(total));
            if left == 0 {
                return;
            }
            if drained != quiet.0 {
                quiet = (drained, tokio::time::Instant::now());
            } else if quiet.1.elapsed() > SILENCE {
                eprintln!("Kafka takes nothing yet; {left} wait");
                quiet.1 = tokio::time::Instant::now();
            }
            tokio::time::sleep(TICK).await;
        }
    };
    let limited = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = progress => Ok(()),
        () = limited => Err("not empty in time".to_owned()),
        () = stop_signal() => Err("stopped".to_owned()),
    };
    bar.finish_and_clear();
    ended
}

/// The directory of the spool that a path means.
fn directory(path: &Path) -> Result<PathBuf, Failure> {
    let of_file = path.file_name().is_some_and(|name| name == DATABASE).then(|| path.parent().map(Path::to_owned));
    let candidates = [of_file.flatten(), Some(path.join(DIRECTORY)), Some(path.to_owned())];
    candidates
        .into_iter()
        .flatten()
        .find(|dir| exists(dir))
        .ok_or_else(|| Failure::wrong_use(format!("{}: no {DATABASE} there", path.display())))
}

fn failure(error: SpoolError) -> Failure {
    Failure::failed(error.to_string())
}
