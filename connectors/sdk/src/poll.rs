//! We ask.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::connector::Start;
use crate::error::IntakeError;
use crate::io::Io;
use crate::raw::RawEvent;

/// Names one stream of an instance (a mail folder, a feed, an endpoint); stable across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub String);

impl StreamId {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position in a stream: opaque to the gateway, versioned by the connector (`{"v":1,…}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub Value);

impl Cursor {
    /// From the connector's own type. Fails only for types that JSON cannot hold.
    pub fn encode<T: Serialize>(position: &T) -> Result<Self, IntakeError> {
        serde_json::to_value(position)
            .map(Self)
            .map_err(|e| IntakeError::Broken(format!("cursor does not encode: {e}")))
    }

    /// To the connector's own type. A cursor that this version cannot read is an error that stops the stream, never a
    /// silent start from the beginning.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, IntakeError> {
        T::deserialize(&self.0).map_err(|e| {
            IntakeError::Broken(format!(
                "stored cursor {} is not readable by this version ({e}); reset it or run the version that wrote it",
                self.0
            ))
        })
    }
}

/// One input and the position after it.
#[derive(Clone, Debug)]
pub struct Item {
    pub raw: RawEvent,
    /// Committed together with the item's events. Absent: the item is committed together with the next one that has a
    /// position (or with the page's), so that none of them comes twice; the dead letter of one is then that of all.
    pub cursor_after: Option<Cursor>,
}

/// What one question brought.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the source's order, oldest first.
    pub items: Vec<Item>,
    /// Position after the page, where it moved without an item or beyond the last one; goes with the last item. A page
    /// with items must move the position, or they come again.
    pub cursor: Option<Cursor>,
    /// More is waiting: ask again at once.
    pub more: bool,
    /// How long to wait before the next question, where the source says so; else the driver's interval.
    pub wait: Option<Duration>,
    /// How many items wait at the source behind this page, where the source says so: for the metric of how far the
    /// stream is behind, and the alarm.
    pub head_lag: Option<u64>,
}

/// A source that we ask. One owner in the cluster; the driver waits, retries, and asks `poll` with the *committed*
/// cursor, so the same cursor must give the same items (those still there) with the same ids.
#[async_trait]
pub trait Poll: Send {
    /// The streams to follow, asked at start and now and then (folders come and go).
    async fn streams(&mut self, io: &Io) -> Result<Vec<StreamId>, IntakeError>;

    /// First cursor of a stream that has none, as `start` says; stored before anything is read.
    async fn begin(&mut self, stream: &StreamId, start: &Start, io: &Io) -> Result<Cursor, IntakeError>;

    /// Items after `cursor`. May take long (long polling) up to its own limit; dropped at shutdown at any await.
    async fn poll(&mut self, stream: &StreamId, cursor: &Cursor, io: &Io) -> Result<Page, IntakeError>;

    /// Pause between questions when a page is empty.
    fn interval(&self) -> Duration;
}
