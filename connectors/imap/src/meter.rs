//! A stream that counts what it reads and ends at an allowance: progress can be seen from outside while a large answer is
//! on its way, and a server cannot fill the memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use connector_sdk::net::NetStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read so far, and how many may be.
#[derive(Debug, Default)]
pub struct Meter {
    read: AtomicU64,
    allowed: AtomicU64,
}

impl Meter {
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Allows so many bytes from now on.
    pub fn allow(&self, bytes: u64) {
        self.allowed.store(self.read().saturating_add(bytes), Ordering::Relaxed);
    }

    fn exceeded(&self) -> bool {
        self.read() > self.allowed.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Metered {
    inner: NetStream,
    meter: Arc<Meter>,
}

impl Metered {
    pub fn new(inner: NetStream, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    pub fn into_inner(self) -> NetStream {
        self.inner
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.exceeded() {
            return Poll::Ready(Err(io::Error::other("the server sends more than was asked for")));
        }
        let before = buf.filled().len();
        let done = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.meter.read.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        done
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
