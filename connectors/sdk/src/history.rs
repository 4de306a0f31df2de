//! What a source has kept: for `inlet backfill`, which fetches it, and `inlet audit`, which asks what is missing.

use async_trait::async_trait;
use inlet_schemas::{Event, Timestamp};

use crate::error::IntakeError;
use crate::io::Io;
use crate::poll::{Cursor, StreamId};
use crate::raw::RawEvent;

/// Which items are meant; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// The source has had it since this moment, or later.
    pub since: Option<Timestamp>,
    /// The source had it before this moment.
    pub until: Option<Timestamp>,
    /// It stands behind the item of this name. A name that the source no longer knows counts as before everything.
    pub after: Option<String>,
    /// The live intake has passed it: it stands behind where that began, and not behind this position of it.
    pub passed_by: Option<Cursor>,
}

/// One item of a stream.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The source's own name of it within the stream (a UID, a notification's id).
    pub name: String,
    /// The item, where listing gives it anyway.
    pub raw: Option<RawEvent>,
}

/// A source that can say what it has, without being followed. Read-only; may be asked while the live intake runs.
#[async_trait]
pub trait History: Send {
    /// The streams, named as the live intake names them.
    async fn streams(&mut self, io: &Io) -> Result<Vec<StreamId>, IntakeError>;

    /// The first items within reach, in the source's order, some thousand at most; none: that is all. The next question
    /// names the last one in [`Reach::after`].
    async fn list(&mut self, stream: &StreamId, reach: &Reach, io: &Io) -> Result<Vec<Listed>, IntakeError>;

    /// The named items, in their order, as the live intake would hand them on, so that they give the same ids. Those that
    /// are gone meanwhile are left out. One that cannot be read although it is there must not fail for ever when it is
    /// asked for alone: it is given as the live intake gives it up.
    async fn read(&mut self, stream: &StreamId, names: &[String], io: &Io) -> Result<Vec<Listed>, IntakeError>;

    /// Which item an event is of, where the event tells: saves the audit from reading it again.
    fn name_of(&self, event: &Event) -> Option<(StreamId, String)> {
        let _ = event;
        None
    }
}
