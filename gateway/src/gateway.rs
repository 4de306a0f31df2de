//! A running gateway, put together from a configuration: lanes, line, drivers, listeners; and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connector_sdk::Shape;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, KafkaStatus};
use crate::config::model::{Config, Role, Shutdown};
use crate::config::{ConfigErrors, LoadedConfig};
use crate::delivery::LinkState;
use crate::delivery::push::KafkaPublisher;
use crate::delivery::replay::{InstanceRef, Replay, ReplayHandle};
use crate::delivery::settings::KafkaSettings;
use crate::delivery::topics;
use crate::drivers::{Builder, Changes, Drivers};
use crate::ingress::routes::{Hooks, Ingress};
use crate::ingress::server::{ServerLimits, serve};
use crate::ingress::threads::Threads;
use crate::intake::fetch::Workers;
use crate::intake::health::{Health, State};
use crate::intake::orders::follow;
use crate::intake::push::PushLine;
use crate::intake::sources::{Source, supervise};
use crate::io::http::Client;
use crate::pipeline::blobs::BlobStore;
use crate::pipeline::enrich::Enricher;
use crate::pipeline::line::Line;
use crate::reload::{LastReload, needs_restart};
use crate::seen::{Seen, Sharing};
use crate::spool::SpoolSettings;
use crate::spool::service::SpoolService;
use crate::telemetry::counters::Metrics;

/// How long a reload waits for a source that leaves; it is told to end at once before that.
const LEAVE_LIMIT: Duration = Duration::from_secs(12);
/// The admin listener is for one operator at a time, and a scraper.
const ADMIN_LIMITS: ServerLimits = ServerLimits {
    connections: 64,
    head_bytes: 16 << 10,
    head_time: Duration::from_secs(10),
    idle_time: Duration::from_secs(75),
};

/// The part of the grace period behind `propagation` that requests under way may take.
const DRAIN_SHARE: f64 = 0.5;

/// For telling the other replicas the last ids at the end.
pub(crate) const GOODBYE_LIMIT: Duration = Duration::from_secs(3);
/// What the sources may take to end and to settle: longer than their own limit, so that only a bug reaches it.
const SOURCES_LIMIT: Duration = Duration::from_secs(12);

/// A running gateway.
pub struct Gateway {
    pub ingress: Option<SocketAddr>,
    pub admin: SocketAddr,
    ready: Arc<AtomicBool>,
    routes: Arc<Ingress>,
    config: Config,
    /// The whole file as it was read.
    sections: serde_json::Value,
    drivers: Drivers,
    builder: Builder,
    push: PushLine,
    health: Health,
    workers: Option<Workers>,
    sources: Option<Sources>,
    last_reload: LastReload,
    publisher: Arc<KafkaPublisher>,
    spool: Option<SpoolService>,
    stop_sources: CancellationToken,
    stop_ingress: CancellationToken,
    stop_admin: CancellationToken,
    replay: Arc<SharedReplay>,
    sharing: Option<Sharing>,
    tasks: Vec<JoinHandle<()>>,
    admin_task: JoinHandle<()>,
}

/// The replay lane, which `/api/status` looks at until it is shut down.
type SharedReplay = std::sync::Mutex<Option<ReplayHandle>>;

/// The sources of this process, once there are any.
struct Sources {
    list: watch::Sender<Arc<Vec<Source>>>,
    refs: watch::Sender<Vec<InstanceRef>>,
    /// Their supervisor.
    task: JoinHandle<()>,
}

impl Gateway {
    /// Starts everything. Kafka may be away: it is waited for. Its topics are the caller's affair (`topics_beside`).
    pub async fn start(loaded: LoadedConfig) -> Result<Self, String> {
        let mut gateway = Self::prepare(&loaded).await?;
        let (drivers, _) = Drivers::build(loaded, &gateway.drivers, &gateway.builder)?;
        // Now that the instances' counters are there.
        if let Some(spool) = &mut gateway.spool {
            spool.drain(gateway.builder.blobs.clone(), gateway.builder.metrics.clone());
        }
        gateway.take_over(drivers).await?;
        if gateway.has(Role::Ingress) {
            let (address, task) =
                listen_ingress(&gateway.config, gateway.routes.clone(), gateway.stop_ingress.clone()).await?;
            gateway.ingress = Some(address);
            gateway.tasks.push(task);
        }
        gateway.ready.store(true, Ordering::Relaxed);
        Ok(gateway)
    }

    /// The lanes, the stores and the operators' listener; no instance yet.
    async fn prepare(loaded: &LoadedConfig) -> Result<Self, String> {
        let (config, sections) = (loaded.config.clone(), loaded.sections.clone());
        let settings = config.kafka.settings(&config.topics);
        let metrics = Arc::new(Metrics::default());
        let blobs = BlobStore::open(&config.blobs, &config.data_dir)?;
        let publisher = Arc::new(kafka_end(&config, &settings)?);
        let line = Arc::new(Line {
            enricher: Enricher { blobs: blobs.clone(), detect_language: config.detect_language },
            inline_max_bytes: config.inline_max.0,
        });
        let (seen, sharing) = start_seen(&config, &settings, &metrics, publisher.clone())?;
        let spool = open_spool(&config, publisher.clone(), seen.clone())?;
        let push = PushLine {
            line,
            publisher: match &spool {
                Some(spool) => spool.publisher.clone(),
                None => publisher.clone(),
            },
            seen: seen.clone(),
        };
        let health = Health::new(push.clone());
        let left = blobs.sweep();
        if left > 0 {
            tracing::info!(left, "unfinished downloads of processes that died were removed");
        }
        let builder =
            Builder { metrics: metrics.clone(), client: Client::new()?, blobs, data_dir: config.data_dir.clone() };
        let routes = Arc::new(Ingress::new(&config.ingress, Hooks::default(), push.clone(), metrics.clone())?);
        let (replay, last_reload) = (Arc::<SharedReplay>::default(), LastReload::default());
        let ready = Arc::new(AtomicBool::new(false));
        let (stop_ingress, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let answers = Admin {
            metrics,
            health: health.clone(),
            lanes: lanes_status(replay.clone(), seen),
            kafka: kafka_status(publisher.clone()),
            spool: spool.as_ref().map(|spool| spool.spool.clone()),
            ready: ready.clone(),
            started_at: crate::clock::now(),
            reload: last_reload.clone(),
        };
        let (admin, admin_task) = listen_admin(&config, Arc::new(answers), stop_admin.clone()).await?;
        Ok(Self {
            ingress: None,
            admin,
            ready,
            routes,
            config,
            sections,
            drivers: Drivers::default(),
            builder,
            push,
            health,
            workers: None,
            sources: None,
            last_reload,
            publisher,
            spool,
            stop_sources: CancellationToken::new(),
            stop_ingress,
            stop_admin,
            replay,
            sharing,
            tasks: Vec::new(),
            admin_task,
        })
    }

    fn has(&self, role: Role) -> bool {
        self.config.roles.contains(&role)
    }

    /// Takes another configuration: only the instances that it changes start again, and what they have in hand is settled
    /// first. An error leaves everything as it is, and says why. The outcome is logged and shown in `/api/status`.
    pub async fn reload(&mut self, loaded: Result<LoadedConfig, ConfigErrors>) {
        let outcome = match loaded {
            Ok(loaded) => self.change(loaded).await,
            Err(errors) => Err(errors.to_string()),
        };
        self.last_reload.note(&outcome);
    }

    async fn change(&mut self, loaded: LoadedConfig) -> Result<Changes, String> {
        let fields = needs_restart(&self.sections, &loaded.sections);
        if !fields.is_empty() {
            return Err(format!("{} cannot change while it runs: restart to take it", fields.join(", ")));
        }
        let (config, sections) = (loaded.config.clone(), loaded.sections.clone());
        let (drivers, changes) = Drivers::build(loaded, &self.drivers, &self.builder)?;
        if !changes.is_empty() {
            self.take_over(drivers).await?;
            changes.removed.iter().for_each(|name| self.health.remove(name));
        }
        (self.config, self.sections) = (config, sections);
        Ok(changes)
    }

    /// Puts other drivers in the place of those of before.
    async fn take_over(&mut self, next: Drivers) -> Result<(), String> {
        self.routes.replace(next.hooks());
        if self.has(Role::Ingress) {
            for hook in next.hooks().values() {
                self.health.of(&hook.instance, Shape::Webhook).set(State::Running, "", "");
            }
        }
        let settings = self.config.kafka.settings(&self.config.topics);
        match &self.workers {
            Some(workers) => workers.replace(next.fetchers()),
            None if self.has(Role::Fetches) && !next.fetchers().is_empty() => {
                let workers = Workers::reporting(next.fetchers(), self.push.clone(), Some(self.health.clone()));
                self.tasks.push(tokio::spawn(follow(settings.clone(), workers.clone(), self.stop_sources.clone())));
                self.workers = Some(workers);
            }
            None => {}
        }
        if self.has(Role::Sources) {
            self.take_over_sources(&settings, &next).await?;
        }
        self.drivers = next;
        Ok(())
    }

    async fn take_over_sources(&mut self, settings: &KafkaSettings, next: &Drivers) -> Result<(), String> {
        let leaving = self.drivers.leaving(next);
        for source in next.leaving(&self.drivers) {
            self.health.of(&source.instance, source.shape()).set(State::Standby, "", "");
        }
        let Some(sources) = &self.sources else {
            if !next.sources().is_empty() {
                self.start_sources(settings, next)?;
            }
            return Ok(());
        };
        // A lane stays until the sources that use it have settled what they submitted.
        let mut refs = next.refs();
        refs.extend(self.drivers.refs());
        sources.refs.send_replace(refs);
        sources.list.send_replace(Arc::new(next.sources()));
        for source in leaving {
            // Whoever runs it holds this.
            let ended = tokio::time::timeout(LEAVE_LIMIT, source.intake.lock()).await;
            if ended.is_err() {
                tracing::warn!(instance = %source.instance.name, "the source of before did not end in time");
            }
        }
        sources.refs.send_replace(next.refs());
        Ok(())
    }

    fn start_sources(&mut self, settings: &KafkaSettings, drivers: &Drivers) -> Result<(), String> {
        let shards = settings.topics.cursors.partitions;
        let (refs, refs_seen) = watch::channel(drivers.refs());
        let (list, list_seen) = watch::channel(Arc::new(drivers.sources()));
        let (announce, owned) = tokio::sync::mpsc::channel(usize::try_from(shards).unwrap_or(1).max(1));
        let handle = Replay::start(settings, refs_seen, announce).map_err(|e| e.to_string())?;
        *self.replay.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(handle);
        let (push, health, stop) = (self.push.clone(), self.health.clone(), self.stop_sources.clone());
        let task = tokio::spawn(supervise(list_seen, shards, push, health, owned, stop));
        self.sources = Some(Sources { list, refs, task });
        Ok(())
    }

    /// Ends it: unready → serve on until load balancers know → refuse new → settle → flush. True = all of it in time.
    pub async fn stop(self) -> bool {
        let grace = self.config.shutdown.grace.0;
        let began = Instant::now();
        let end = async {
            self.ready.store(false, Ordering::Relaxed);
            // Sources have no load balancer to wait for.
            self.stop_sources.cancel();
            let sources = async {
                // What the sources submitted needs the lane to commit it: the lane ends after them.
                if let Some(Sources { mut task, .. }) = self.sources
                    && tokio::time::timeout(SOURCES_LIMIT, &mut task).await.is_err()
                {
                    tracing::warn!("the sources did not end in time; what they submitted is read again");
                    task.abort();
                }
                if let Some(replay) = taken(&self.replay)
                    && !replay.shutdown().await
                {
                    tracing::warn!(
                        "the replay lane did not end in time; the next owner reads from the committed cursors"
                    );
                }
            };
            let ingress = async {
                tokio::time::sleep(self.config.shutdown.propagation.0).await;
                self.routes.closing.store(true, Ordering::Relaxed);
                self.stop_ingress.cancel();
                self.spool.iter().for_each(SpoolService::close);
            };
            tokio::join!(sources, ingress);
            for task in self.tasks {
                // A task that panicked has said so; the others must still end.
                let _ = task.await;
            }
            // Until now operators could watch.
            self.stop_admin.cancel();
            let _ = self.admin_task.await;
            let spooled = self.spool.is_some();
            if let Some(spool) = self.spool {
                spool.stop().await;
            }
            // What the drain has brought to Kafka last is told too.
            if let Some(sharing) = self.sharing {
                sharing.end(GOODBYE_LIMIT).await;
            }
            let left = grace.saturating_sub(began.elapsed());
            if !spooled && !self.publisher.flush(left).await {
                let records = self.publisher.in_flight();
                tracing::warn!(records, "Kafka has not confirmed everything at the end");
            }
        };
        tokio::time::timeout(grace, end).await.is_ok()
    }
}

/// The seen index; whoever takes push input shares it with the other replicas.
pub(crate) fn start_seen(
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

/// Kafka's end of the push lane. With a spool before it, it never gives records up.
fn kafka_end(config: &Config, settings: &KafkaSettings) -> Result<KafkaPublisher, String> {
    let publisher = match SpoolSettings::of(config) {
        None => KafkaPublisher::start(settings, config.ingress.limits.deadline.0),
        Some(_) => KafkaPublisher::start_patient(settings),
    };
    publisher.map_err(|error| error.to_string())
}

/// The spool before Kafka's end, where there is one.
fn open_spool(config: &Config, kafka: Arc<KafkaPublisher>, seen: Arc<Seen>) -> Result<Option<SpoolService>, String> {
    let Some(spool) = SpoolSettings::of(config) else { return Ok(None) };
    let opened = SpoolService::open(spool, kafka, seen, config.ingress.limits.deadline.0);
    opened.map(Some).map_err(|error| error.to_string())
}

/// How long requests under way may take to end, once new ones are refused: what is left of the grace period but for a
/// part that the rest of the stop needs.
fn drain_time(shutdown: &Shutdown) -> Duration {
    shutdown.grace.0.saturating_sub(shutdown.propagation.0).mul_f64(DRAIN_SHARE)
}

/// Creates or checks the topics as soon as Kafka is there.
pub(crate) fn topics_beside(settings: KafkaSettings) {
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
        idle_time: limits.idle_timeout.0,
    };
    let handler = move |request, peer: SocketAddr| {
        let routes = routes.clone();
        // In its place from the beginning: it is large, and hyper would move it twice.
        Box::pin(async move {
            let answering = std::pin::pin!(routes.answer(request, peer.ip()));
            answering.await
        })
    };
    let threads = Threads::start().map_err(|e| format!("no threads for the ingress: {e}"))?;
    let task = tokio::spawn(serve(listener, limits, stop, drain_time(&config.shutdown), threads, handler));
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
    let task = tokio::spawn(serve(listener, ADMIN_LIMITS, stop, Duration::from_secs(1), Threads::here(), handler));
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

fn lanes_status(replay: Arc<SharedReplay>, seen: Arc<Seen>) -> crate::admin::LanesStatus {
    Arc::new(move || {
        let handle = replay.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let replay = handle.as_ref().map(ReplayHandle::status);
        serde_json::json!({ "replay": replay, "seen": seen.status() })
    })
}
