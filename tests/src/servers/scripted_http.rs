//! An HTTP server whose answers the test writes, and which remembers what it was asked.

use crate::runtime::{block_on, spawn};
use crate::tls::Certificates;
use crate::wait;
use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use serde_json::Value;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const MAX_BODY_BYTES: usize = 64 << 20;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// Raw, without the question mark.
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).into_iter().next()
    }

    /// All values of a query parameter, decoded.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let pairs = url::form_urlencoded::parse(self.query.as_bytes());
        pairs.filter(|(key, _)| key == name).map(|(_, value)| value.into_owned()).collect()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body's end does not come.
    pub stalls: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), stalls: false }
    }

    /// Sends the body that it has and keeps the connection open.
    pub fn stalling(mut self) -> Self {
        self.stalls = true;
        self
    }

    pub fn json(value: &Value) -> Self {
        Self::status(200).header("content-type", "application/json").body(value.to_string())
    }

    pub fn html(text: impl Into<String>) -> Self {
        Self::status(200).header("content-type", "text/html; charset=utf-8").body(text.into())
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Script = Box<dyn Fn(&Recorded) -> Reply + Send + Sync>;

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<Recorded>>,
}

/// Listens until it is dropped.
pub struct ScriptedHttp {
    scheme: &'static str,
    host: &'static str,
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for ScriptedHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedHttp").field("port", &self.port).finish_non_exhaustive()
    }
}

impl ScriptedHttp {
    pub fn start(script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let shared = Arc::new(Shared { script: Mutex::new(Box::new(script)), requests: Mutex::default() });
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).context("listen")?;
        let port = listener.local_addr()?.port();
        let app = Router::new().fallback(serve).with_state(shared.clone());
        let task = spawn(async move {
            // It only ends when its task is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { scheme: "http", host: "127.0.0.1", port, shared, task })
    }

    /// The same by https, as `localhost`.
    pub fn start_tls(
        certificates: &Certificates,
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared { script: Mutex::new(Box::new(script)), requests: Mutex::default() });
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).context("listen")?;
        let port = listener.local_addr()?.port();
        let acceptor = certificates.acceptor()?;
        let app = Router::new().fallback(serve).with_state(shared.clone());
        let task = spawn(async move {
            let _ = axum::serve(TlsListener { listener, acceptor }, app).await;
        });
        Ok(Self { scheme: "https", host: "localhost", port, shared, task })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT` (or `https://localhost:PORT`) and the path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}:{}{path}", self.scheme, self.host, self.port)
    }

    /// Other answers from now on.
    pub fn rewrite(&self, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().expect("a script does not panic") = Box::new(script);
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().expect("no panic while held").clone()
    }

    pub fn wait_for(&self, limit: Duration, what: &str, matches: impl Fn(&Recorded) -> bool) -> Result<Recorded> {
        wait::until(limit, what, || Ok(self.requests().into_iter().find(&matches)))
    }
}

impl Drop for ScriptedHttp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let headers = parts.headers.iter();
    let recorded = Recorded {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or("").to_owned(),
        headers: headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect(),
        body,
    };
    let reply = (shared.script.lock().expect("a script does not panic"))(&recorded);
    shared.requests.lock().expect("no panic while held").push(recorded);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.stalls { Body::new(Stalling(Some(reply.body.into()))) } else { Body::from(reply.body) };
    response.body(body).expect("a script writes valid headers")
}

/// A body that has no end.
struct Stalling(Option<Bytes>);

impl HttpBody for Stalling {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
