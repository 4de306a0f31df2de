//! What one signed Slack webhook costs on the line alone: admit → parse → stamp → records → settled → reply, with a lane
//! that takes everything at once. No HTTP, no Kafka: for finding out where time goes (`perf record`, `callgrind`).
//!
//! `cargo bench -p inlet-tests --bench line [-- INPUTS]`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use connector_sdk::{
    Headers, Http, HttpFault, HttpRequest, HttpResponse, Intake, RawEvent, Timestamp, Wire, async_trait,
};
use inlet::config::load_str;
use inlet::delivery::{PublishError, Publisher};
use inlet::intake::push::PushLine;
use inlet::intake::webhook::Hook;
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::enrich::Enricher;
use inlet::pipeline::instance::Instance;
use inlet::pipeline::line::Line;
use inlet::pipeline::record::Record;
use inlet::telemetry::counters::Metrics;
// As the gateway's binary has it.
use mimalloc as _;

const CONFIG: &str = "kafka: { brokers: [\"localhost:9092\"] }\ndata_dir: \"@DATA@\"\n\
                      instances: { slack: { connector: slack, options: { signing_secret: bench-secret } } }\n";
const INPUTS: usize = 20_000;
const DEADLINE: Duration = Duration::from_secs(2);
const BODY: &str = include_str!("event.json");

/// Takes everything, and counts it.
#[derive(Default)]
struct Takes {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

#[async_trait]
impl Publisher for Takes {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        self.records.fetch_add(records.len(), Ordering::Relaxed);
        self.bytes.fetch_add(records.iter().map(Record::wire_bytes).sum(), Ordering::Relaxed);
        Ok(())
    }
}

struct NoHttp;

#[async_trait]
impl Http for NoHttp {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Transport { host: "bench".to_owned(), reason: "there is no network here".to_owned() })
    }
}

fn main() -> Result<()> {
    let inputs = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(INPUTS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(inputs))
}

async fn run(inputs: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let text = CONFIG.replace("@DATA@", &dir.path().display().to_string());
    let mut loaded = load_str("bench.yaml", &text, connectors::all()).map_err(|errors| anyhow!("{errors}"))?;
    let config = loaded.config.clone();
    let (name, entry, connector) = loaded.connectors.remove(0);
    let name: String = name;
    let metrics = Metrics::default();
    let instance = Arc::new(Instance {
        counters: Arc::new(metrics.instance(&name, entry.name)),
        connector: entry.name,
        parse: connector.parse,
        source: connector.source,
        config: config.instances.get(&name).context("the instance")?.clone(),
        name,
    });
    let webhook = connector.intakes.into_iter().find_map(|intake| match intake {
        Intake::Webhook(webhook) => Some(webhook),
        Intake::Poll(_) | Intake::Session(_) => None,
    });
    let hook = Hook::new(instance, webhook.context("a webhook")?, Arc::new(NoHttp));
    let blobs = BlobStore::open(&config.blobs, dir.path()).map_err(|e| anyhow!(e))?;
    let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 512 << 10 };
    let publisher = Arc::new(Takes::default());
    let push = PushLine { line: Arc::new(line), publisher: publisher.clone(), seen: Arc::default() };
    let now = inlet::clock::now();
    let requests: Vec<RawEvent> = (0..inputs).map(|number| request(&hook, number, now)).collect();
    let begun = Instant::now();
    for request in requests {
        let reply = hook.handle(request, &push, DEADLINE).await;
        anyhow::ensure!(reply.status == 200, "answered {}", reply.status);
    }
    let nanos = begun.elapsed().as_nanos() as usize / inputs;
    let (records, bytes) = (publisher.records.load(Ordering::Relaxed), publisher.bytes.load(Ordering::Relaxed));
    anyhow::ensure!(records >= inputs, "{records} records of {inputs} inputs");
    println!("{inputs} inputs, {} bytes a record, {nanos} ns an input", bytes / records);
    Ok(())
}

fn request(hook: &Hook, number: usize, now: Timestamp) -> RawEvent {
    let body = BODY.trim_end().replace("@NUMBER@", &format!("{number:012}"));
    let body = body.replace("@MICROS@", &format!("{number:06}"));
    let mut raw = RawEvent::new(Wire::Http, body, now);
    raw.method = "POST".to_owned();
    raw.uri = "https://bench.example/in/slack".to_owned();
    let mut headers = Headers::default();
    headers.push("host", "bench.example");
    headers.push("content-type", "application/json");
    raw.headers = headers;
    hook.webhook.sign(&mut raw, now);
    raw
}
