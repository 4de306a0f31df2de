//! A connector between the drivers and a Kafka in memory.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{
    BuildContext, Connector, Cursor, Entry, Http, HttpFault, HttpRequest, HttpResponse, Intake, IntakeError, Io,
    RawEvent, Session, SessionCx, SourceClass, Start, StateStore, StreamId, Webhook, Wire, async_trait, fixture::Case,
};
use inlet::config::model::{Blobs, Instance as InstanceConfig, RoutingOption, StartOption};
use inlet::delivery::memory::{Answer, MemoryLane, MemoryPublisher, Script};
use inlet::intake::health::Health;
use inlet::intake::push::PushLine;
use inlet::intake::sources::{Source, SourceIntake, Stop, keep_running};
use inlet::intake::webhook::Hook;
use inlet::pipeline::blobs::BlobStore;
use inlet::pipeline::enrich::Enricher;
use inlet::pipeline::instance::Instance;
use inlet::pipeline::line::Line;
use inlet::telemetry::counters::{Metrics, Tally};

/// An input takes no longer than this, whatever it is.
const DEADLINE: Duration = Duration::from_secs(30);
/// All inputs of a case.
const LIMIT: Duration = Duration::from_secs(600);

/// What became of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub sent: usize,
    pub accepted: usize,
    /// Turned away at the door.
    pub refused: usize,
    /// Taken for a handshake or a question, and answered.
    pub answered: usize,
    pub published: usize,
    pub skipped: usize,
    /// With the id of one before, which a change that is not essential leaves as it is.
    pub duplicate: usize,
    pub dead_lettered: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, accepted, refused, answered, published, skipped, duplicate, dead_lettered } = self;
        write!(
            f,
            "{sent} sent: {refused} refused, {answered} answered, {accepted} accepted = {published} published + \
             {skipped} skipped + {duplicate} duplicate + {dead_lettered} dead-lettered"
        )
    }
}

pub struct World {
    entry: Entry,
    metrics: Arc<Metrics>,
    figures: Mutex<Figures>,
    dir: tempfile::TempDir,
}

impl World {
    pub fn new(entry: &Entry) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { entry: *entry, metrics: Arc::default(), figures: Mutex::default(), dir }
    }

    /// The case's instance gets the inputs, and then the case's own, which must still become what it is.
    pub fn run(&self, case: &Case, inputs: Vec<RawEvent>) {
        let cx = BuildContext { instance: self.entry.name.to_owned(), public_url: Some(case.public_url().to_owned()) };
        let connector = (self.entry.build)(&case.options(), &cx).expect("the case's config builds");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let blobs = BlobStore::open(&Blobs::default(), self.dir.path()).expect("a store");
        let line = Line { enricher: Enricher { blobs, detect_language: false }, inline_max_bytes: 512 << 10 };
        let publisher = Arc::new(MemoryPublisher::default());
        let push = PushLine { line: Arc::new(line), publisher, seen: Arc::default() };
        self.figures().sent += inputs.len();
        let Connector { parse, intakes, source, .. } = connector;
        let hook = intakes.into_iter().find_map(|intake| match intake {
            Intake::Webhook(webhook) => Some(webhook),
            _ => None,
        });
        let class = if hook.is_none() { source } else { SourceClass::Ephemeral };
        let instance = Arc::new(Instance {
            name: self.entry.name.to_owned(),
            connector: self.entry.name,
            parse,
            source: class,
            config: config(self.entry.name),
            counters: self.metrics.instance(self.entry.name, self.entry.name).into(),
        });
        runtime.block_on(async {
            match hook.filter(|_| case.raw.wire == Wire::Http) {
                Some(webhook) => self.call(instance, webhook, &push, case, inputs).await,
                None => self.hand_in(instance, push, case, inputs).await,
            }
        });
    }

    pub fn figures(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures.lock().expect("no panic while held")
    }

    fn tally(&self) -> Tally {
        self.metrics.instance(self.entry.name, self.entry.name).tally()
    }

    /// By HTTP, freshly signed.
    async fn call(
        &self,
        instance: Arc<Instance>,
        webhook: Arc<dyn Webhook>,
        push: &PushLine,
        case: &Case,
        inputs: Vec<RawEvent>,
    ) {
        let hook = Hook::new(instance, webhook.clone(), Arc::new(Nothing));
        let begun = self.tally();
        for mut raw in inputs {
            let before = self.tally().accepted;
            webhook.sign(&mut raw, inlet::clock::now());
            let reply = hook.handle(raw.clone(), push, DEADLINE).await;
            assert!(reply.status < 500, "{}: {} for {:?}", case.name, reply.status, raw.body);
            match (self.tally().accepted - before, reply.status) {
                (1, _) => {}
                (0, 400..) => self.figures().refused += 1,
                (0, _) => self.figures().answered += 1,
                (times, _) => panic!("{}: counted {times} times", case.name),
            }
        }
        let ended = self.tally();
        self.note(&begun, &ended);
        let mut good = case.raw.clone();
        webhook.sign(&mut good, inlet::clock::now());
        assert!(hook.handle(good, push, DEADLINE).await.status < 400, "{}: the source does not go on", case.name);
        assert_eq!(self.tally().accepted, ended.accepted + 1);
    }

    /// By a session of the instance's class: with positions for sources that are replayed, in the queue for others.
    async fn hand_in(&self, instance: Arc<Instance>, push: PushLine, case: &Case, inputs: Vec<RawEvent>) {
        let begun = self.tally();
        let (done, told) = tokio::sync::oneshot::channel();
        let session = Teller { inputs, good: case.raw.clone(), metrics: instance.clone(), done: Some(done) };
        let io = Io { http: Arc::new(Nothing), state: Arc::new(Nothing) };
        let source = Source::new(instance, io, SourceIntake::Intake(Intake::Session(Box::new(session))));
        let lane = MemoryLane::new(Script::always(Answer::Taken));
        let (stop, ownership) = (Stop::default(), lane.own(0));
        let health = Health::new(PushLine { publisher: Arc::new(MemoryPublisher::default()), ..push.clone() });
        let running = tokio::spawn(keep_running(source, ownership, push, health, stop.clone()));
        let ended = tokio::time::timeout(LIMIT, told).await.expect("in time").expect("the session goes on to its end");
        self.note(&begun, &ended);
        stop.please.cancel();
        running.await.expect("no panic reaches the driver");
        assert_eq!(self.tally().accepted, ended.accepted + 1, "{}: and the good one", case.name);
        assert_eq!((self.tally().in_flight(), self.tally().returned), (0, 0), "{}", case.name);
    }

    fn note(&self, begun: &Tally, ended: &Tally) {
        assert_eq!((ended.in_flight(), ended.returned), (0, 0));
        let mut figures = self.figures();
        figures.accepted += (ended.accepted - begun.accepted) as usize;
        figures.published += (ended.published - begun.published) as usize;
        figures.skipped += (ended.skipped - begun.skipped) as usize;
        figures.duplicate += (ended.duplicate - begun.duplicate) as usize;
        figures.dead_lettered += (ended.dead_lettered - begun.dead_lettered) as usize;
    }
}

/// Hands its inputs in, one after the other; tells the counts once they are settled, and hands in a good one.
struct Teller {
    inputs: Vec<RawEvent>,
    good: RawEvent,
    metrics: Arc<Instance>,
    done: Option<tokio::sync::oneshot::Sender<Tally>>,
}

impl Teller {
    async fn tell(cx: &SessionCx, raws: Vec<RawEvent>, first: usize) {
        let stream = StreamId::new("hostile");
        let mut tickets = Vec::new();
        for (number, raw) in (first..).zip(raws) {
            tickets.push(cx.submit(&stream, raw, Some(Cursor(number.into()))).await);
        }
        for ticket in tickets {
            assert!(ticket.outcome().await.is_safe(), "not settled");
        }
    }
}

#[async_trait]
impl Session for Teller {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        cx.connected().await;
        let inputs = std::mem::take(&mut self.inputs);
        let count = inputs.len();
        Self::tell(&cx, inputs, 0).await;
        let counted = self.metrics.counters.tally();
        Self::tell(&cx, vec![self.good.clone()], count).await;
        if let Some(done) = self.done.take() {
            // Whoever waits has a limit of their own.
            let _ = done.send(counted);
        }
        cx.stopping().cancelled().await;
        Ok(())
    }
}

fn config(connector: &str) -> InstanceConfig {
    InstanceConfig {
        connector: connector.to_owned(),
        tenant: "tenant".to_owned(),
        accounts: None,
        start: StartOption(Start::Beginning),
        raw: None,
        routing: RoutingOption::default(),
        rate: None,
        lag: Default::default(),
        fetch: Default::default(),
        options: serde_json::Map::new(),
    }
}

/// No network, no state.
struct Nothing;

#[async_trait]
impl Http for Nothing {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Transport { host: "nowhere".into(), reason: "there is no network here".into() })
    }
}

#[async_trait]
impl StateStore for Nothing {
    async fn load(&self, _: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: &[u8]) -> Result<(), IntakeError> {
        Ok(())
    }
}
