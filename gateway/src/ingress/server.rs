//! The listener: HTTP/1.1 and h2, bounded connections, heads in time, no idle guests, graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::linger::Lingering;
use super::threads::Threads;
use super::watch::{Watch, Watched};

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    pub connections: usize,
    pub head_bytes: usize,
    /// For the head of a request, counted from the connection's beginning or from its first byte.
    pub head_time: Duration,
    /// How long a connection may stay open between two requests.
    pub idle_time: Duration,
}

/// hyper wants room for at least this much of a head.
const HEAD_MIN_BYTES: usize = 8192;
/// Requests at once on one h2 connection.
const STREAMS_MAX: u32 = 256;
/// How often an h2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// What a connection without a request may take to close.
const FAREWELL: Duration = Duration::from_millis(1200);
/// After a failure to accept (out of file descriptors, mostly) waiting a moment is all that helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What an h2 connection begins with (RFC 9113, 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often it is looked whether the rest of a preface has come.
const PREFACE_TICK: Duration = Duration::from_millis(5);

/// Serves until `stopping`, then lets open requests finish, at most `grace`; what is open then is cut off.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: ServerLimits,
    stopping: CancellationToken,
    grace: Duration,
    mut threads: Threads,
    handler: H,
) where
    H: Fn(http::Request<Body>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let builder = builder(limits);
    let permits = Arc::new(Semaphore::new(limits.connections));
    // Dropped, it cuts them off.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = async {
                // A place first: whoever finds none waits in the listen queue.
                let permit = permits.clone().acquire_owned().await.ok();
                (listener.accept().await, permit)
            } => accepted,
        };
        let (stream, peer, permit) = match accepted {
            (Ok((stream, peer)), permit) => (stream, peer, permit),
            (Err(error), _) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // Tokens of its own: one that all share has one lock, which every connection would take at every step.
        let (builder, stopping, handler) = (builder.clone(), stopping.child_token(), handler.clone());
        let serving = async move {
            // Bound to the accepting runtime so far.
            match stream.into_std().and_then(TcpStream::from_std) {
                Ok(stream) => connection(stream, peer, builder, limits, stopping, handler).await,
                Err(error) => tracing::warn!(%error, "a connection cannot be given to its thread; it is closed"),
            }
            drop(permit);
        };
        connections.spawn_on(serving, threads.in_turn());
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, all_ended).await.is_err() {
        tracing::warn!(open = connections.len(), "connections did not end in time; they are cut off");
        connections.shutdown().await;
    }
}

/// Where the requests of one h2 connection are answered: all processors take part. A proxy may send everything over one.
#[derive(Clone)]
struct Shared(Handle);

impl<F> Executor<F> for Shared
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, request: F) {
        self.0.spawn(request);
    }
}

fn builder(limits: ServerLimits) -> Builder<Shared> {
    let mut builder = Builder::new(Shared(Handle::current()));
    builder
        .http1()
        // Heads are watched by [`Watch`]: hyper's limit would count the rest between two requests in, and set a timer for
        // each request.
        .header_read_timeout(None)
        // No pipeline_flush: it holds an answer back while input waits unread, and a refusal would be lost.
        .max_buf_size(limits.head_bytes.max(HEAD_MIN_BYTES));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(limits.head_bytes.try_into().unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Some(PING_INTERVAL));
    builder
}

/// Serves one connection to its end. One that breaks is the peer's affair: what was accepted is settled or given back.
async fn connection<H, F>(
    stream: TcpStream,
    peer: SocketAddr,
    builder: Builder<Shared>,
    limits: ServerLimits,
    stopping: CancellationToken,
    handler: H,
) where
    H: Fn(http::Request<Body>, SocketAddr) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // hyper's own look at the first bytes has no limit in time.
    let version = tokio::select! {
        version = tokio::time::timeout(limits.head_time, version(&stream)) => version,
        () = stopping.cancelled() => return,
    };
    // Frames of h2 come also between requests (pings): there only idleness is watched.
    let (builder, head_time) = match version {
        Ok(Ok(Version::H1)) => (builder.http1_only(), Some(limits.head_time)),
        Ok(Ok(Version::H2)) => (builder.http2_only(), None),
        Ok(Err(_)) | Err(_) => return,
    };
    let watch = Watch::new();
    let stream = Watched::new(Lingering::new(stream), watch.clone());
    let watched = watch.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let under_way = watched.begin();
        let answer = handler(request.map(Body::new), peer);
        async move {
            let answer = answer.await;
            drop(under_way);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ending = Ending::begin(watch.clone(), head_time, limits.idle_time, stopping);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = ending.due() => {}
    }
    serving.as_mut().graceful_shutdown();
    tokio::select! {
        _ = serving => {}
        // Half a head holds nobody up; a request under way does.
        () = async {
            tokio::time::sleep(FAREWELL).await;
            watch.overdue(None, Duration::ZERO).await;
        } => {}
    }
}

/// Waits beside a connection for the moment when it has to end. A task of its own: what it waits for would be asked at
/// every step of every request.
struct Ending {
    due: oneshot::Receiver<()>,
    waiting: JoinHandle<()>,
}

impl Ending {
    fn begin(watch: Watch, head_time: Option<Duration>, idle_time: Duration, stopping: CancellationToken) -> Self {
        let (tell, due) = oneshot::channel();
        let waiting = tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = watch.overdue(head_time, idle_time) => {}
            }
            // Nobody listens: the connection has ended by itself.
            let _ = tell.send(());
        });
        Self { due, waiting }
    }

    async fn due(&mut self) {
        // Without a sender it has panicked, and nobody would end the connection.
        let _ = (&mut self.due).await;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

enum Version {
    H1,
    H2,
}

/// Looks at the first bytes without taking them.
async fn version(stream: &TcpStream) -> std::io::Result<Version> {
    let mut seen = [0; H2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if seen[..count] != H2_PREFACE[..count] {
            return Ok(Version::H1);
        }
        if count == H2_PREFACE.len() {
            return Ok(Version::H2);
        }
        // What was seen is still there, so waiting for the socket would return at once.
        tokio::time::sleep(PREFACE_TICK).await;
    }
}
