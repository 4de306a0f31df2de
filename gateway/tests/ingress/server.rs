//! A listener with one instance, whose Kafka is in memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connector_sdk::schemas::{Channel, Event, Kind, Timestamp};
use connector_sdk::{
    Admission, Draft, EventKey, Http, HttpFault, HttpRequest, HttpResponse, Keys, Parse, Parsed, RawEvent, Refusal,
    Reply, SourceClass, Webhook, async_trait,
};
use inlet::config::model::{Blobs, Ingress as IngressConfig, Instance as InstanceConfig, Limits, Rate, Size, Span};
use inlet::delivery::memory::MemoryPublisher;
use inlet::delivery::{PublishError, Publisher};
use inlet::ingress::routes::Ingress;
use inlet::ingress::server::{ServerLimits, serve};
use inlet::ingress::threads::Threads;
use inlet::intake::push::PushLine;
use inlet::intake::webhook::Hook;
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::enrich::Enricher;
use inlet::pipeline::instance::Instance;
use inlet::pipeline::line::Line;
use inlet::pipeline::record::Record;
use inlet::telemetry::counters::Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub const BODY_MAX: usize = 10_000;
pub const SECRET: &str = "s3cret-of-the-provider";
/// For what must come soon.
pub const SOON: Duration = Duration::from_secs(10);
/// For the head and the body of a request.
pub const READ_TIMEOUT: Duration = Duration::from_millis(400);

/// For requests under way at the end.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// Between two requests of a connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

pub struct Server {
    pub address: SocketAddr,
    pub ingress: Arc<Ingress>,
    pub publisher: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    pub stop: CancellationToken,
    pub ended: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

/// Takes records as soon as it is open.
pub struct Gate {
    pub taken: MemoryPublisher,
    open: tokio::sync::watch::Sender<bool>,
    pub waiting: AtomicU64,
}

impl Gate {
    pub fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    pub fn events(&self) -> Vec<Event> {
        self.taken.records().iter().map(|record| serde_json::from_slice(&record.value).expect("an event")).collect()
    }
}

#[async_trait]
impl Publisher for Gate {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.map_err(|_| PublishError::Unavailable("gone".into()))?;
        self.taken.publish(records).await
    }
}

/// The text of an event is what the parser saw of the request.
struct Echo;

impl Parse for Echo {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        if raw.body.starts_with(b"bad") {
            return Parsed::reject("bad", "by the test");
        }
        let account = raw.headers.get("x-account").unwrap_or("account");
        let mut event = Event::new(Kind::MessageCreated, Channel::Chat, "echo", account, Timestamp::UNIX_EPOCH);
        let forged = raw.headers.get("inlet-resync").unwrap_or("none");
        let peer = raw.peer.map(|peer| peer.to_string()).unwrap_or_default();
        let body = String::from_utf8_lossy(&raw.body);
        event.text = Some(format!("{} {} {peer} {forged} {} {body}", raw.method, raw.uri, body.len()));
        Parsed::one(Draft::new(EventKey::new(body), event))
    }
}

struct Door;

impl Webhook for Door {
    fn methods(&self) -> &[&'static str] {
        &["GET", "POST"]
    }

    fn admit(&self, request: &RawEvent, _: &Keys, _: Timestamp) -> Admission {
        match (request.method.as_str(), request.headers.get("x-signature")) {
            ("GET", _) => Admission::Answer(Reply::text(200, "a page")),
            (_, Some(SECRET)) => Admission::Accept,
            _ => Admission::Refuse(Refusal::signature("wrong or missing")),
        }
    }

    fn sign(&self, _: &mut RawEvent, _: Timestamp) {}
}

struct NoHttp;

#[async_trait]
impl Http for NoHttp {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Timeout { host: "nowhere".into(), seconds: 1 })
    }
}

fn config() -> IngressConfig {
    IngressConfig {
        trusted_proxies: vec!["127.0.0.1".to_owned()],
        limits: Limits {
            body: Size(BODY_MAX),
            body_decompressed: Size(2 * BODY_MAX),
            headers: Size(16 << 10),
            read_timeout: Span(READ_TIMEOUT),
            idle_timeout: Span(IDLE_TIMEOUT),
            deadline: Span(Duration::from_secs(5)),
            connections: 100,
            in_flight: 100,
        },
        ..IngressConfig::default()
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut config = config();
        change(&mut config.limits);
        let metrics = Arc::new(Metrics::default());
        let dir = tempfile::tempdir().expect("a directory");
        let blobs = BlobStore::open(&Blobs::default(), dir.path()).expect("a store");
        let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 512 << 10 };
        let publisher = Arc::new(Gate {
            taken: MemoryPublisher::default(),
            open: tokio::sync::watch::Sender::new(true),
            waiting: AtomicU64::new(0),
        });
        let push = PushLine { line: Arc::new(line), publisher: publisher.clone(), seen: Arc::default() };
        let hook = |name: &str, rate| {
            let instance = Arc::new(instance(name, rate, &metrics));
            (name.to_owned(), Arc::new(Hook::new(instance, Arc::new(Door), Arc::new(NoHttp))))
        };
        let slow = serde_json::from_str("\"2/min\"").expect("a rate");
        let hooks = [hook("door", None), hook("other", None), hook("slow", Some(slow))].into();
        let ingress = Arc::new(Ingress::new(&config, hooks, push, metrics.clone()).expect("valid"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has one");
        let limits = ServerLimits {
            connections: config.limits.connections,
            head_bytes: config.limits.headers.0,
            head_time: config.limits.read_timeout.0,
            idle_time: config.limits.idle_timeout.0,
        };
        let stop = CancellationToken::new();
        let routes = ingress.clone();
        let handler = move |request, peer: SocketAddr| {
            let routes = routes.clone();
            async move { routes.answer(request, peer.ip()).await }
        };
        let ended = tokio::spawn(serve(listener, limits, stop.clone(), DRAIN_LIMIT, Threads::here(), handler));
        Self { address, ingress, publisher, metrics, stop, ended, _dir: dir }
    }
}

fn instance(name: &str, rate: Option<Rate>, metrics: &Metrics) -> Instance {
    Instance {
        name: name.to_owned(),
        connector: "fake",
        parse: Arc::new(Echo),
        source: SourceClass::Redeliver { horizon: SOON },
        config: InstanceConfig {
            connector: "fake".to_owned(),
            tenant: "tenant".to_owned(),
            accounts: None,
            start: Default::default(),
            raw: None,
            routing: Default::default(),
            rate,
            fetch: Default::default(),
            lag: Default::default(),
            options: serde_json::Map::new(),
        },
        counters: metrics.instance(name, "fake").into(),
    }
}
