//! A driver's side of a session: takes what is submitted, keeps cursors, remembers what it was told.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod server;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_imap::Imap;
use connector_sdk::{
    BuildContext, Connector, ConnectorKind, Cursor, Http, HttpFault, HttpRequest, HttpResponse, Intake, IntakeError,
    Io, Outcome, Parse, RawEvent, Session, SessionCx, SessionHost, Start, StateStore, StreamId, Ticket, Timestamp,
    async_trait,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing that these tests wait for takes longer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What the host was given.
#[derive(Default)]
pub struct Host {
    inner: Mutex<Inner>,
    /// Inputs from this number on are not taken.
    pub refuse_from: Mutex<Option<usize>>,
}

#[derive(Default)]
struct Inner {
    cursors: HashMap<StreamId, Cursor>,
    taken: Vec<(StreamId, RawEvent)>,
    health: Vec<(Option<StreamId>, String)>,
    connected: usize,
}

#[async_trait]
impl SessionHost for Host {
    async fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        self.inner.lock().unwrap().cursors.get(stream).cloned()
    }

    async fn store_cursor(&self, stream: &StreamId, cursor: Cursor) -> Result<(), IntakeError> {
        self.inner.lock().unwrap().cursors.insert(stream.clone(), cursor);
        Ok(())
    }

    async fn submit(&self, stream: &StreamId, raw: RawEvent, cursor_after: Option<Cursor>) -> Ticket {
        let (outcome, ticket) = Ticket::new();
        let mut inner = self.inner.lock().unwrap();
        let refused = self.refuse_from.lock().unwrap().is_some_and(|from| inner.taken.len() >= from);
        let _ = outcome.send(if refused {
            Outcome::NotSafeNow { retry_after: Duration::from_millis(1) }
        } else {
            inner.taken.push((stream.clone(), raw));
            inner.cursors.extend(cursor_after.map(|cursor| (stream.clone(), cursor)));
            Outcome::Safe { event_ids: Vec::new() }
        });
        ticket
    }

    async fn connected(&self) {
        self.inner.lock().unwrap().connected += 1;
    }

    async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        self.inner.lock().unwrap().health.push((stream.cloned(), reason.to_owned()));
    }

    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-01-31T12:00:00Z").unwrap()
    }
}

impl Host {
    pub fn count(&self) -> usize {
        self.inner.lock().unwrap().taken.len()
    }

    pub fn connected_count(&self) -> usize {
        self.inner.lock().unwrap().connected
    }

    pub fn taken(&self) -> Vec<RawEvent> {
        self.inner.lock().unwrap().taken.iter().map(|(_, raw)| raw.clone()).collect()
    }

    pub fn uids(&self, stream: &str) -> Vec<u32> {
        let inner = self.inner.lock().unwrap();
        let of_stream = inner.taken.iter().filter(|(of, _)| of.0 == stream);
        of_stream.map(|(_, raw)| raw.headers.get("inlet-uid").unwrap().parse().unwrap()).collect()
    }

    pub fn cursor_of(&self, stream: &str) -> Option<Value> {
        self.inner.lock().unwrap().cursors.get(&StreamId::new(stream)).map(|cursor| cursor.0.clone())
    }

    pub fn health_of(&self, stream: &str) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let of_stream = inner.health.iter().filter(|(of, _)| of.as_ref().is_some_and(|of| of.0 == stream));
        of_stream.map(|(_, reason)| reason.clone()).collect()
    }
}

/// No HTTP and no state, for instances without OAuth.
pub struct Nothing;

#[async_trait]
impl Http for Nothing {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        Err(HttpFault::Forbidden { host: "none".to_owned(), reason: "no HTTP in this test".to_owned() })
    }
}

/// Keeps state in memory.
#[derive(Default)]
pub struct Memory(pub Mutex<HashMap<String, Vec<u8>>>);

#[async_trait]
impl StateStore for Memory {
    async fn load(&self, name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
    async fn save(&self, name: &str, bytes: &[u8]) -> Result<(), IntakeError> {
        self.0.lock().unwrap().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}

pub fn no_io() -> Io {
    Io { http: Arc::new(Nothing), state: Arc::new(Memory::default()) }
}

/// Builds an instance from its options.
pub fn build(options: &Value) -> Connector {
    let config = serde_json::from_value(options.clone()).expect("options");
    Imap::build(config, &BuildContext::default()).expect("instance")
}

pub fn parser(options: &Value) -> Arc<dyn Parse> {
    build(options).parse
}

/// A session that runs until it is stopped or ends by itself.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), IntakeError>>,
}

/// Starts the session of an instance.
pub fn start(options: &Value, host: &Arc<Host>, start: Start, io: Io) -> Running {
    let mut intakes = build(options).intakes;
    let Some(Intake::Session(session)) = intakes.pop() else { panic!("the instance has no session") };
    run(session, host, start, io)
}

/// Runs a session once.
pub fn run(mut session: Box<dyn Session>, host: &Arc<Host>, start: Start, io: Io) -> Running {
    let stop = CancellationToken::new();
    let cx = SessionCx::new(host.clone(), start, io, stop.clone());
    let task = tokio::spawn(async move { session.run(cx).await });
    Running { stop, task }
}

impl Running {
    /// Stops the session in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.ended().await.expect("a stopped session ends well");
    }

    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the session's own end without a limit: for tests whose clock is not the real one.
    pub async fn ended_whenever(self) -> Result<(), IntakeError> {
        self.task.await.expect("the session does not panic")
    }

    /// Waits for the session's own end.
    pub async fn ended(self) -> Result<(), IntakeError> {
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("the session ends in time")
            .expect("the session does not panic")
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(10);
    let waited = tokio::time::timeout(LIMIT, async {
        while !holds() {
            tokio::time::sleep(PAUSE).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {LIMIT:?} for {what}");
}

/// Runs a session again and again, as the driver does, until the condition holds.
pub async fn drive(options: &Value, host: &Arc<Host>, what: &str, mut holds: impl FnMut() -> bool) -> usize {
    let mut intakes = build(options).intakes;
    let Some(Intake::Session(session)) = intakes.pop() else { panic!("no session") };
    let session: Arc<tokio::sync::Mutex<Box<dyn Session>>> = Arc::new(tokio::sync::Mutex::new(session));
    let mut runs = 0;
    let mut current: Option<Running> = None;
    until(what, || {
        if current.as_ref().is_none_or(Running::has_ended) {
            runs += 1;
            let again = Again(session.clone());
            current = Some(run(Box::new(again), host, Start::Beginning, no_io()));
        }
        holds()
    })
    .await;
    runs
}

/// The same session over several runs: it remembers what broke its connections.
struct Again(Arc<tokio::sync::Mutex<Box<dyn Session>>>);

#[connector_sdk::async_trait]
impl Session for Again {
    async fn run(&mut self, cx: connector_sdk::SessionCx) -> Result<(), IntakeError> {
        self.0.lock().await.run(cx).await
    }
}
