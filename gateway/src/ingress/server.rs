//! The listener: HTTP/1.1 and h2, bounded connections, heads in time, no idle guests, graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::linger::Lingering;

/// Limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    pub connections: usize,
    pub head_bytes: usize,
    /// For the head of a request, counted from the connection's beginning or from the answer before.
    pub head_time: Duration,
}

/// hyper wants room for at least this much of a head.
const HEAD_MIN_BYTES: usize = 8192;
/// Requests at once on one h2 connection.
const STREAMS_MAX: u32 = 256;
/// How often an h2 connection is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// An h2 connection without a request for so long is closed: it answers pings for ever and holds a place.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// After a failure to accept (out of file descriptors, mostly) waiting a moment is all that helps.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What an h2 connection begins with (RFC 9113, 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How often it is looked whether the rest of a preface has come.
const PREFACE_TICK: Duration = Duration::from_millis(5);

/// Serves until `stopping`, then lets open requests finish, at most `grace`.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: ServerLimits,
    stopping: CancellationToken,
    grace: Duration,
    handler: H,
) where
    H: Fn(http::Request<Body>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let builder = builder(limits);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
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
        // A token of its own: one that all share has one lock, which every connection would take at every step.
        let (builder, handler, stopping) = (builder.clone(), handler.clone(), stopping.child_token());
        connections.spawn(async move {
            connection(stream, peer, builder, limits.head_time, stopping, handler).await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!("connections still open at the end of the grace period");
    }
}

fn builder(limits: ServerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
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
    builder: Builder<TokioExecutor>,
    head_time: Duration,
    stopping: CancellationToken,
    handler: H,
) where
    H: Fn(http::Request<Body>, SocketAddr) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    // hyper's own look at the first bytes has no limit in time.
    let version = tokio::select! {
        version = tokio::time::timeout(head_time, version(&stream)) => version,
        () = stopping.cancelled() => return,
    };
    let (builder, idle_max) = match version {
        Ok(Ok(Version::H1)) => (builder.http1_only(), None),
        Ok(Ok(Version::H2)) => (builder.http2_only(), Some(IDLE_MAX)),
        Ok(Err(_)) | Err(_) => return,
    };
    let requests = Requests::default();
    let counted = requests.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let under_way = counted.begin();
        let answer = handler(request.map(Body::new), peer);
        async move {
            let answer = answer.await;
            drop(under_way);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(Lingering::new(stream)), service));
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stopping.cancelled() => {}
        () = requests.idle(idle_max) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
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

/// Requests under way on one connection.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Count>>);

struct Count {
    under_way: usize,
    since: Instant,
}

impl Default for Count {
    fn default() -> Self {
        Self { under_way: 0, since: Instant::now() }
    }
}

/// One of them.
struct UnderWay(Requests);

impl Requests {
    fn begin(&self) -> UnderWay {
        self.count(|count| count.under_way += 1);
        UnderWay(self.clone())
    }

    fn count(&self, change: impl FnOnce(&mut Count)) {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut count);
        count.since = Instant::now();
    }

    /// Returns when there was none for so long.
    async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let due = {
                let count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if count.under_way > 0 { Instant::now() + limit } else { count.since + limit }
            };
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.count(|count| count.under_way -= 1);
    }
}
