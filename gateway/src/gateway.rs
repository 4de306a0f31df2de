//! A running gateway, put together from a configuration: lanes, line, drivers, listeners; and how it ends.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_sdk::{FetchIo, Http, Intake, Shape};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, KafkaStatus};
use crate::config::LoadedConfig;
use crate::config::model::{Config, Role};
use crate::delivery::LinkState;
use crate::delivery::push::KafkaPublisher;
use crate::delivery::replay::{InstanceRef, Replay, ReplayHandle};
use crate::delivery::settings::KafkaSettings;
use crate::delivery::topics;
use crate::ingress::routes::Ingress;
use crate::ingress::server::{ServerLimits, serve};
use crate::intake::fetch::{Fetcher, Fetchers, follow};
use crate::intake::health::{Health, State};
use crate::intake::push::PushLine;
use crate::intake::sources::{Source, SourceIntake, supervise};
use crate::intake::webhook::Hook;
use crate::io::download::Downloader;
use crate::io::http::Client;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::enrich::Enricher;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::Line;
use crate::seen::{Seen, Sharing};
use crate::spool::SpoolSettings;
use crate::spool::service::SpoolService;
use crate::telemetry::counters::Metrics;

/// The admin listener is for one operator at a time, and a scraper.
const ADMIN_LIMITS: ServerLimits =
    ServerLimits { connections: 64, head_bytes: 16 << 10, head_time: Duration::from_secs(10) };

/// For telling the other replicas the last ids at the end.
const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// What the sources may take to end and to settle: longer than their own limit, so that only a bug reaches it.
const SOURCES_LIMIT: Duration = Duration::from_secs(12);

/// A running gateway.
pub struct Gateway {
    pub ingress: Option<SocketAddr>,
    pub admin: SocketAddr,
    ready: Arc<AtomicBool>,
    routes: Arc<Ingress>,
    config: Config,
    publisher: Arc<KafkaPublisher>,
    spool: Option<SpoolService>,
    stop_sources: CancellationToken,
    stop_ingress: CancellationToken,
    stop_admin: CancellationToken,
    replay: Option<Arc<SharedReplay>>,
    sharing: Option<Sharing>,
    /// The supervisor of the sources.
    sources: Option<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// The replay lane, which `/api/status` looks at until it is shut down.
type SharedReplay = std::sync::Mutex<Option<ReplayHandle>>;

/// What drivers there are, sorted by shape.
#[derive(Default)]
struct Drivers {
    hooks: HashMap<String, Arc<Hook>>,
    sources: Vec<Source>,
    fetchers: Fetchers,
}

impl Gateway {
    /// Starts everything. Kafka may be away: it is waited for, beside.
    pub async fn start(loaded: LoadedConfig) -> Result<Self, String> {
        let config = loaded.config.clone();
        let settings = config.kafka.settings(&config.topics);
        let metrics = Arc::new(Metrics::default());
        let blobs = BlobStore::open(&config.blobs, &config.data_dir)?;
        let (publisher, mut spool) = push_lane(&config, &settings)?;
        let line = Arc::new(Line {
            enricher: Enricher { blobs: blobs.clone(), detect_language: config.detect_language },
            inline_max_bytes: config.inline_max.0,
        });
        let (seen, sharing) = start_seen(&config, &settings, &metrics, publisher.clone())?;
        if let Some(Err(error)) = spool.as_ref().map(|spool| spool.teach(&seen)) {
            tracing::warn!(%error, "what the spool holds is not known to the index; its redeliveries may appear twice");
        }
        let push = PushLine {
            line,
            publisher: match &spool {
                Some(spool) => spool.publisher.clone(),
                None => publisher.clone(),
            },
            seen: seen.clone(),
        };
        let health = Health::new(push.clone());
        let client = Client::new()?;
        let drivers = drivers(loaded, &config, &metrics, &client, &blobs);
        topics_beside(settings.clone());
        if let Some(spool) = &mut spool {
            spool.drain(blobs, metrics.clone());
        }

        let stop_sources = CancellationToken::new();
        let mut tasks = Vec::new();
        let (mut replay, mut sources) = (None, None);
        if config.roles.contains(&Role::Sources) && !drivers.sources.is_empty() {
            let (handle, task) = start_sources(&settings, drivers.sources, &push, &health, &stop_sources)?;
            replay = Some(Arc::new(SharedReplay::new(Some(handle))));
            sources = Some(task);
        }
        if config.roles.contains(&Role::Fetches) && !drivers.fetchers.is_empty() {
            tasks.push(tokio::spawn(follow(settings.clone(), drivers.fetchers, push.clone(), stop_sources.clone())));
        }

        let routes = Arc::new(Ingress::new(&config.ingress, drivers.hooks, push, metrics.clone())?);
        for hook in routes.hooks.values() {
            health.of(&hook.instance, Shape::Webhook).set(State::Running, "", "");
        }
        let ready = Arc::new(AtomicBool::new(false));
        let (stop_ingress, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let mut ingress = None;
        if config.roles.contains(&Role::Ingress) {
            let (address, task) = listen_ingress(&config, routes.clone(), stop_ingress.clone()).await?;
            ingress = Some(address);
            tasks.push(task);
        }
        let answers = Admin {
            metrics,
            health,
            lanes: lanes_status(replay.clone(), seen),
            kafka: kafka_status(publisher.clone()),
            spool: spool.as_ref().map(|spool| spool.spool.clone()),
            ready: ready.clone(),
            started_at: crate::clock::now(),
        };
        let (admin, task) = listen_admin(&config, Arc::new(answers), stop_admin.clone()).await?;
        tasks.push(task);
        ready.store(true, Ordering::Relaxed);
        Ok(Self {
            ingress,
            admin,
            ready,
            routes,
            config,
            publisher,
            spool,
            stop_sources,
            stop_ingress,
            stop_admin,
            replay,
            sharing,
            sources,
            tasks,
        })
    }

    /// Ends it: unready → serve on until load balancers know → refuse new → settle → flush. True = all of it in time.
    pub async fn stop(self) -> bool {
        let grace = self.config.shutdown.grace.0;
        let end = async {
            self.ready.store(false, Ordering::Relaxed);
            // Sources have no load balancer to wait for.
            self.stop_sources.cancel();
            tokio::time::sleep(self.config.shutdown.propagation.0).await;
            self.routes.closing.store(true, Ordering::Relaxed);
            self.stop_ingress.cancel();
            self.spool.iter().for_each(SpoolService::close);
            // What the sources submitted needs the lane to commit it: the lane ends after them.
            if let Some(mut sources) = self.sources
                && tokio::time::timeout(SOURCES_LIMIT, &mut sources).await.is_err()
            {
                tracing::warn!("the sources did not end in time; what they submitted is read again");
                sources.abort();
            }
            let replay = self.replay.and_then(|replay| taken(&replay));
            if let Some(replay) = replay
                && !replay.shutdown().await
            {
                tracing::warn!("the replay lane did not end in time; the next owner reads from the committed cursors");
            }
            self.stop_admin.cancel();
            for task in self.tasks {
                // A task that panicked has said so; the others must still end.
                let _ = task.await;
            }
            if let Some(sharing) = self.sharing {
                sharing.end(GOODBYE_LIMIT).await;
            }
            match self.spool {
                Some(spool) => spool.stop().await,
                None => drop(self.publisher.flush(grace).await),
            }
        };
        tokio::time::timeout(grace, end).await.is_ok()
    }
}

/// The seen index; whoever takes push input shares it with the other replicas.
fn start_seen(
    config: &Config,
    settings: &KafkaSettings,
    metrics: &Metrics,
    kafka: Arc<KafkaPublisher>,
) -> Result<(Arc<Seen>, Option<Sharing>), String> {
    let (window, max_ids) = (config.seen.window.0, config.seen.max_ids);
    if !config.roles.iter().any(|role| matches!(role, Role::Ingress | Role::Fetches)) {
        return Ok((Arc::new(Seen::local(window, max_ids, metrics.seen.clone())), None));
    }
    let seen = Arc::new(Seen::shared(window, max_ids, metrics.seen.clone()));
    let sharing = Sharing::start(&seen, settings, kafka, window)?;
    Ok((seen, Some(sharing)))
}

/// Kafka's end of the push lane, and the spool before it where there is one.
fn push_lane(config: &Config, settings: &KafkaSettings) -> Result<(Arc<KafkaPublisher>, Option<SpoolService>), String> {
    let deadline = config.ingress.limits.deadline.0;
    let Some(spool) = SpoolSettings::of(config) else {
        let publisher = KafkaPublisher::start(settings, deadline).map_err(|e| e.to_string())?;
        return Ok((Arc::new(publisher), None));
    };
    let publisher = Arc::new(KafkaPublisher::start_patient(settings).map_err(|e| e.to_string())?);
    let spool = SpoolService::open(spool, publisher.clone(), deadline).map_err(|e| e.to_string())?;
    Ok((publisher, Some(spool)))
}

/// Builds the drivers of every instance.
fn drivers(loaded: LoadedConfig, config: &Config, metrics: &Metrics, client: &Client, blobs: &BlobStore) -> Drivers {
    let http: Arc<dyn Http> = Arc::new(client.clone());
    let download = Arc::new(Downloader { client: client.clone(), blobs: blobs.clone() });
    let mut drivers = Drivers::default();
    for (name, entry, connector) in loaded.connectors {
        let Some(own) = config.instances.get(&name) else { continue };
        let instance = Arc::new(Instance {
            counters: Arc::new(metrics.instance(&name, entry.name)),
            name: name.clone(),
            connector: entry.name,
            parse: connector.parse,
            source: connector.source,
            config: own.clone(),
        });
        let io = crate::io::for_instance(client, &config.data_dir, &name);
        let source = |intake| Source::new(instance.clone(), io.clone(), intake);
        for intake in connector.intakes {
            match intake {
                Intake::Webhook(webhook) => {
                    let hook = Hook::new(instance.clone(), webhook, http.clone());
                    drivers.hooks.insert(name.clone(), Arc::new(hook));
                }
                intake => drivers.sources.push(source(SourceIntake::Intake(intake))),
            }
        }
        if let Some(upkeep) = connector.upkeep {
            drivers.sources.push(source(SourceIntake::Upkeep(upkeep)));
        }
        if let Some(fetch) = connector.fetch {
            let io = FetchIo { http: http.clone(), download: download.clone(), now: crate::clock::now() };
            drivers.fetchers.insert(name, Fetcher { instance, fetch, io });
        }
    }
    drivers
}

/// Creates or checks the topics as soon as Kafka is there.
fn topics_beside(settings: KafkaSettings) {
    tokio::spawn(async move {
        let mut told = false;
        let waiting = |error: &topics::TopicsError| {
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "Kafka is not there yet; waiting for it");
            }
        };
        match topics::ensure_when_up(&settings, waiting).await {
            Ok(findings) => findings.iter().for_each(report),
            Err(error) => tracing::error!(%error, "topics cannot be checked"),
        }
    });
}

fn report(finding: &topics::Finding) {
    match finding.severity() {
        topics::Severity::Note => tracing::info!("{finding}"),
        topics::Severity::Warning => tracing::warn!("{finding}"),
        topics::Severity::Error => tracing::error!("{finding}"),
    }
}

fn start_sources(
    settings: &KafkaSettings,
    sources: Vec<Source>,
    push: &PushLine,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(ReplayHandle, JoinHandle<()>), String> {
    let shards = settings.topics.cursors.partitions;
    let mut refs: HashMap<String, bool> = HashMap::new();
    for source in &sources {
        *refs.entry(source.instance.name.clone()).or_default() |= source.replay;
        health.of(&source.instance, source.shape()).set(State::Standby, "", "");
    }
    let refs = refs.into_iter().map(|(name, replay)| InstanceRef { name, replay }).collect();
    let (_, refs) = tokio::sync::watch::channel(refs);
    let (announce, owned) = tokio::sync::mpsc::channel(usize::try_from(shards).unwrap_or(1).max(1));
    let handle = Replay::start(settings, refs, announce).map_err(|e| e.to_string())?;
    let task = tokio::spawn(supervise(sources, shards, push.clone(), health.clone(), owned, stop.clone()));
    Ok((handle, task))
}

async fn bind(address: SocketAddr, field: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{field}: {address} is in use by another process; choose another port")
        }
        _ => format!("{field}: cannot listen on {address}: {error}"),
    })
}

async fn listen_ingress(
    config: &Config,
    routes: Arc<Ingress>,
    stop: CancellationToken,
) -> Result<(SocketAddr, JoinHandle<()>), String> {
    let listener = bind(config.ingress.listen, "ingress.listen").await?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let limits = &config.ingress.limits;
    let limits = ServerLimits {
        connections: limits.connections,
        head_bytes: limits.headers.0,
        head_time: limits.read_timeout.0,
    };
    let handler = move |request, peer: SocketAddr| {
        let routes = routes.clone();
        async move { routes.answer(request, peer.ip()).await }
    };
    let task = tokio::spawn(serve(listener, limits, stop, config.shutdown.grace.0, handler));
    Ok((address, task))
}

async fn listen_admin(
    config: &Config,
    admin: Arc<Admin>,
    stop: CancellationToken,
) -> Result<(SocketAddr, JoinHandle<()>), String> {
    let listener = bind(config.admin.listen, "admin.listen").await?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let handler = move |request, _| {
        let answer = admin.answer(&request);
        async move { answer }
    };
    // Whoever scrapes must not hold up the end.
    let task = tokio::spawn(serve(listener, ADMIN_LIMITS, stop, Duration::from_secs(1), handler));
    Ok((address, task))
}

fn kafka_status(publisher: Arc<KafkaPublisher>) -> Arc<dyn Fn() -> KafkaStatus + Send + Sync> {
    Arc::new(move || match publisher.link() {
        LinkState::Up { since } => KafkaStatus { up: true, since: Some(since), reason: None },
        LinkState::Down { since, reason } => KafkaStatus { up: false, since: Some(since), reason: Some(reason) },
    })
}

fn taken(replay: &SharedReplay) -> Option<ReplayHandle> {
    replay.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}

fn lanes_status(replay: Option<Arc<SharedReplay>>, seen: Arc<Seen>) -> crate::admin::LanesStatus {
    Arc::new(move || {
        let replay = replay.as_ref().and_then(|replay| {
            let handle = replay.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            handle.as_ref().map(ReplayHandle::status)
        });
        serde_json::json!({ "replay": replay, "seen": seen.status() })
    })
}
