//! The scripted manager interface, and a host that collects what the session hands on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connector_sdk::{
    Cursor, Http, HttpFault, HttpRequest, HttpResponse, Parse, Secret, SessionHost, Start, StateStore, Ticket,
    Timestamp,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::number::Numbers;
use crate::parse::Parser;
use crate::{Auth, Timing};

/// Longest that any condition of these tests is waited for.
pub const LIMIT: Duration = Duration::from_secs(20);
pub const SETTLE: Duration = Duration::from_millis(30);

/// Collects what the session hands on; takes it only as permits allow.
pub struct Host {
    pub taken: Mutex<Vec<RawEvent>>,
    pub changed: Notify,
    pub permits: Semaphore,
    pub connected: AtomicUsize,
    pub health: Mutex<Vec<String>>,
}

impl Host {
    pub fn new() -> Arc<Self> {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }

    pub fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            changed: Notify::new(),
            permits: Semaphore::new(permits),
            connected: AtomicUsize::new(0),
            health: Mutex::default(),
        })
    }

    pub async fn until<T>(&self, what: &str, find: impl Fn(&[RawEvent]) -> Option<T>) -> T {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = find(&self.taken.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{what} did not come in time"))
    }

    pub async fn summary(&self) -> RawEvent {
        self.until("a summary", |taken| taken.iter().find(|raw| raw.headers.get(wire::ITEM).is_some()).cloned()).await
    }

    pub fn events(&self) -> Vec<String> {
        let taken = self.taken.lock().unwrap();
        let name = |raw: &RawEvent| raw.headers.get(wire::ITEM).map(str::to_owned);
        taken.iter().map(|raw| name(raw).or(Frame::read(&raw.body).event().map(str::to_owned)).unwrap()).collect()
    }
}

#[async_trait]
impl SessionHost for Host {
    async fn cursor(&self, _: &StreamId) -> Option<Cursor> {
        None
    }
    async fn store_cursor(&self, _: &StreamId, _: Cursor) -> Result<(), IntakeError> {
        panic!("an ephemeral source has no cursor");
    }
    async fn submit(&self, _: &StreamId, raw: RawEvent, cursor: Option<Cursor>) -> Ticket {
        assert_eq!(cursor, None);
        self.permits.acquire().await.unwrap().forget();
        self.taken.lock().unwrap().push(raw);
        self.changed.notify_waiters();
        Ticket::new().1
    }
    async fn connected(&self) {
        self.connected.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
    async fn health(&self, _: Option<&StreamId>, reason: &str) {
        self.health.lock().unwrap().push(reason.to_owned());
        self.changed.notify_waiters();
    }
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }
}

/// A session never calls out by HTTP and keeps no state.
pub struct Nothing;

#[async_trait]
impl Http for Nothing {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        panic!("no HTTP");
    }
}

#[async_trait]
impl StateStore for Nothing {
    async fn load(&self, _: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        panic!("no state");
    }
    async fn save(&self, _: &str, _: &[u8]) -> Result<(), IntakeError> {
        panic!("no state");
    }
}

/// The server's side of one connection.
pub struct Server {
    pub stream: TcpStream,
    pub unread: Vec<u8>,
}

impl Server {
    pub async fn accept(listener: &TcpListener) -> Self {
        let accept = tokio::time::timeout(LIMIT, listener.accept()).await.expect("no connection in time");
        let mut server = Self { stream: accept.unwrap().0, unread: Vec::new() };
        server.send(b"Asterisk Call Manager/11.0.0\r\n").await;
        server
    }

    /// Takes the plain log-in, and the question for running channels, which is answered with `listed`.
    pub async fn logged_in(listener: &TcpListener, listed: &[u8]) -> Self {
        let mut server = Self::accept(listener).await;
        server.answer("Login", "Response: Success\r\nMessage: Authentication accepted").await;
        server.answer("CoreShowChannels", "Response: Success\r\nEventList: start").await;
        server.send(listed).await;
        server.send(b"Event: CoreShowChannelsComplete\r\nEventList: Complete\r\n\r\n").await;
        server
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next action; `None` at the end of the connection.
    pub async fn action(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                    let frame = Frame::read(&self.unread[..end]);
                    self.unread.drain(..end + 4);
                    return Some(frame);
                }
                if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("no action in time")
    }

    /// Waits for an action and answers it.
    pub async fn answer(&mut self, action: &str, response: &str) -> Frame {
        let frame = self.action().await.expect("the connection ended");
        assert_eq!(frame.get("Action"), Some(action));
        let id = frame.get("ActionID").unwrap().to_owned();
        self.send(format!("{response}\r\nActionID: {id}\r\n\r\n").as_bytes()).await;
        frame
    }
}

pub fn options(port: u16) -> Options {
    Options {
        host: "127.0.0.1".into(),
        port,
        tls: false,
        ca_file: None,
        username: "inlet".into(),
        secret: Secret::new("amp111"),
        auth: Auth::Plain,
        account: "office".into(),
        events: "call,agent,cdr,dialplan".into(),
        filters: Vec::new(),
        numbers: Numbers {
            country_code: None,
            trunk_prefix: "0".into(),
            international_prefix: "00".into(),
            digits_are_international: true,
            trunks: vec!["*trunk*".into()],
            inbound_contexts: Vec::new(),
        },
        timing: Timing { login: LIMIT, ping: LIMIT, pong: LIMIT, settle: SETTLE, max_call: Duration::from_secs(3600) },
    }
}

pub struct Bench {
    pub listener: TcpListener,
    pub options: Options,
    pub host: Arc<Host>,
    pub stopping: CancellationToken,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(Host::new()).await
    }

    pub async fn with(host: Arc<Host>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = options(listener.local_addr().unwrap().port());
        Self { listener, options, host, stopping: CancellationToken::new() }
    }

    pub fn session(&self) -> AmiSession {
        AmiSession::new(Arc::new(self.options.clone()))
    }

    /// Runs one connection; gives the session back with its result.
    pub fn run(&self, mut session: AmiSession) -> JoinHandle<(AmiSession, Result<(), IntakeError>)> {
        let io = Io { http: Arc::new(Nothing), state: Arc::new(Nothing) };
        let cx = SessionCx::new(Arc::clone(&self.host) as _, Start::Now, io, self.stopping.clone());
        tokio::spawn(async move {
            let result = session.run(cx).await;
            (session, result)
        })
    }

    pub async fn end(
        running: JoinHandle<(AmiSession, Result<(), IntakeError>)>,
    ) -> (AmiSession, Result<(), IntakeError>) {
        tokio::time::timeout(LIMIT, running).await.expect("the session did not end in time").unwrap()
    }

    pub fn call(&self, raw: &RawEvent) -> connector_sdk::schemas::Event {
        let mut parsed = Parser::new(Arc::new(self.options.clone())).parse(raw);
        assert_eq!((parsed.events.len(), parsed.rejected.len()), (1, 0));
        *parsed.events.remove(0).event
    }
}
