//! We stay connected.

use std::sync::Arc;

use async_trait::async_trait;
use inlet_schemas::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::connector::Start;
use crate::error::IntakeError;
use crate::io::Io;
use crate::poll::{Cursor, StreamId};
use crate::raw::RawEvent;
use crate::webhook::Outcome;

/// A source to which we stay connected (IMAP IDLE, websockets, PBX event sockets). One owner in the cluster.
///
/// It owns its protocol loop, so that pings, renewals and replies on the same connection stay natural:
///
/// ```text
/// connect, log in            → cx.connected().await
/// loop: read input           → ticket = cx.submit(stream, raw, cursor_after).await
///       (several in flight)    ticket.outcome().await where the protocol wants an acknowledgement
/// until cx.stopping() or an error; the driver reopens with back-off.
/// ```
#[async_trait]
pub trait Session: Send {
    /// Runs one connection. `Ok` = ended by `cx.stopping()` or by the other side in good order.
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError>;
}

/// What the driver does for a session.
#[async_trait]
pub trait SessionHost: Send + Sync {
    /// Committed position of a stream.
    async fn cursor(&self, stream: &StreamId) -> Option<Cursor>;
    /// Stores a position without input and waits until it is safe.
    async fn store_cursor(&self, stream: &StreamId, cursor: Cursor) -> Result<(), IntakeError>;
    /// Queues an input; waits while the queue is full.
    async fn submit(&self, stream: &StreamId, raw: RawEvent, cursor_after: Option<Cursor>) -> Ticket;
    /// The connection is up and events flow; for ephemeral sources ends a gap.
    async fn connected(&self);
    /// Reports a state of one stream that an operator should know; empty reason = well again.
    async fn health(&self, stream: Option<&StreamId>, reason: &str);
    /// How many items of a stream wait at the source behind what was submitted.
    async fn lag(&self, _stream: &StreamId, _behind: u64) {}
    fn now(&self) -> Timestamp;
}

/// The driver's side of a session, cheap to clone.
#[derive(Clone)]
pub struct SessionCx {
    host: Arc<dyn SessionHost>,
    start: Start,
    io: Io,
    stopping: CancellationToken,
}

impl SessionCx {
    pub fn new(host: Arc<dyn SessionHost>, start: Start, io: Io, stopping: CancellationToken) -> Self {
        Self { host, start, io, stopping }
    }

    /// Committed position of a stream; `None` for a new one, whose first cursor is made as [`SessionCx::start`] says and stored.
    pub async fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        self.host.cursor(stream).await
    }

    /// Stores a position without input and waits until it is safe.
    pub async fn store_cursor(&self, stream: &StreamId, cursor: Cursor) -> Result<(), IntakeError> {
        self.host.store_cursor(stream, cursor).await
    }

    /// Hands an input on. Inputs of one stream are settled in the order submitted; waits while the queue is full. With the
    /// first input that cannot be taken, or whose submission is dropped half-way, nothing more is taken (where positions
    /// are kept), and the session ends: the next one begins at the committed positions.
    pub async fn submit(&self, stream: &StreamId, raw: RawEvent, cursor_after: Option<Cursor>) -> Ticket {
        self.host.submit(stream, raw, cursor_after).await
    }

    /// Call when the connection is up and events flow.
    pub async fn connected(&self) {
        self.host.connected().await;
    }

    /// Tells operators about one stream (a folder is missing) without ending the session; an empty reason clears it.
    pub async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        self.host.health(stream, reason).await;
    }

    /// Says how many items of a stream wait at the source behind what was submitted, for the metric and the alarm.
    pub async fn lag(&self, stream: &StreamId, behind: u64) {
        self.host.lag(stream, behind).await;
    }

    /// What to do with a new stream's history.
    pub fn start(&self) -> &Start {
        &self.start
    }

    pub fn io(&self) -> &Io {
        &self.io
    }

    /// Cancelled when the session must end: stop reading, finish what is in flight, return `Ok`.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The driver's clock; connectors have none of their own.
    pub fn now(&self) -> Timestamp {
        self.host.now()
    }
}

/// A submitted input, to learn its outcome by. May be dropped.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Outcome>);

impl Ticket {
    /// A ticket and the driver's end of it.
    pub fn new() -> (oneshot::Sender<Outcome>, Self) {
        let (send, receive) = oneshot::channel();
        (send, Self(receive))
    }

    /// Waits until the input is settled. An input given up (shutdown, lost ownership) is not safe and comes again from
    /// the committed cursor.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::NotSafeNow { retry_after: std::time::Duration::from_secs(1) })
    }
}
