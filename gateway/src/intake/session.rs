//! The session driver for sources that can be read again: events and position commit together.

use connector_sdk::{Cursor, IntakeError, Outcome, RawEvent, SessionHost, StreamId, Ticket, Timestamp, async_trait};
use tokio::sync::oneshot;

use super::health::{Reporter, State};
use super::lane::{Lane, LaneFault};

/// What an operator can do about a stream that a session reports.
pub(super) const STREAM_ACTION: &str = "see the connector's README; the other streams go on";

/// Host of one run of a session.
pub struct ReplayHost {
    pub lane: Lane,
    pub reporter: Reporter,
}

#[async_trait]
impl SessionHost for ReplayHost {
    async fn cursor(&self, stream: &StreamId) -> Option<Cursor> {
        self.lane.cursor(stream)
    }

    async fn store_cursor(&self, stream: &StreamId, cursor: Cursor) -> Result<(), IntakeError> {
        self.lane.store(stream, cursor).await.map_err(LaneFault::into_intake)
    }

    async fn submit(&self, stream: &StreamId, raw: RawEvent, cursor_after: Option<Cursor>) -> Ticket {
        let (tell, ticket): (oneshot::Sender<Outcome>, _) = Ticket::new();
        // What the lane does not take is not safe, as the ticket then says; the lane is closed and the session ends.
        if let Err(fault) = self.lane.submit(stream, vec![raw], cursor_after, tell).await {
            tracing::debug!(%stream, %fault, "input not taken");
        }
        ticket
    }

    async fn connected(&self) {
        self.reporter.set(State::Running, "", "");
    }

    async fn health(&self, stream: Option<&StreamId>, reason: &str) {
        said(&self.reporter, stream, reason);
    }

    async fn lag(&self, stream: &StreamId, behind: u64) {
        self.reporter.lag(stream, behind);
    }

    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}

/// What a session tells operators.
pub(super) fn said(reporter: &Reporter, stream: Option<&StreamId>, reason: &str) {
    match stream {
        Some(stream) => reporter.stream(stream, reason, STREAM_ACTION),
        None if reason.is_empty() => reporter.set(State::Running, "", ""),
        None => reporter.set(State::Degraded, reason, "see the connector's README"),
    }
}
