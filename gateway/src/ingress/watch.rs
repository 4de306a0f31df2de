//! What a connection is doing: answering, reading a head, or nothing; and when it has done that for too long.
//!
//! Whoever opens a connection has to send a head in time, and a head once begun has to end in time. Between two requests
//! a connection may rest for longer: load balancers keep theirs open.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The shortest pause between two looks.
const TICK: Duration = Duration::from_millis(20);

/// One connection's doings. Clones share them.
#[derive(Clone)]
pub(super) struct Watch(Arc<Mutex<Doing>>);

struct Doing {
    requests: usize,
    /// When the last request ended, or the connection began.
    since: Instant,
    /// When bytes came that are not yet a request.
    head_since: Option<Instant>,
}

/// A request under way.
pub(super) struct UnderWay(Watch);

impl Watch {
    pub fn new() -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(Doing { requests: 0, since: now, head_since: Some(now) })))
    }

    /// A head is complete.
    pub fn begin(&self) -> UnderWay {
        let mut doing = self.doing();
        doing.requests += 1;
        doing.head_since = None;
        UnderWay(self.clone())
    }

    fn bytes_came(&self) {
        let mut doing = self.doing();
        if doing.requests == 0 {
            doing.head_since.get_or_insert_with(Instant::now);
        }
    }

    /// Returns when no head came to its end in `head` (where that is watched here), or nothing happened for `idle`.
    pub async fn overdue(&self, head: Option<Duration>, idle: Duration) {
        loop {
            let now = Instant::now();
            let due = {
                let doing = self.doing();
                match (doing.requests, doing.head_since, head) {
                    (0, Some(since), Some(head)) => since + head,
                    (0, _, _) => doing.since + idle,
                    // A head can begin right after the answer, and is then to be watched.
                    _ => now + head.unwrap_or(idle).min(idle).max(TICK),
                }
            };
            if due <= now {
                return;
            }
            // A head that begins meanwhile is due earlier than the idle limit.
            tokio::time::sleep_until(due.min(now + head.unwrap_or(idle).max(TICK))).await;
        }
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut doing = self.0.doing();
        doing.requests -= 1;
        doing.since = Instant::now();
    }
}

/// A stream whose incoming bytes are noticed.
pub(super) struct Watched<S> {
    stream: S,
    watch: Watch,
}

impl<S> Watched<S> {
    pub fn new(stream: S, watch: Watch) -> Self {
        Self { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.watch.bytes_came();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
