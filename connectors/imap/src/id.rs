//! Where a folder was read to, and how streams and mails are named.

use connector_sdk::{Cursor, IntakeError, StreamId};
use serde::{Deserialize, Serialize};

/// Version of the cursor.
const VERSION: u32 = 1;

/// Position in a folder: every mail up to `uid` was handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub v: u32,
    pub uidvalidity: u32,
    pub uid: u32,
    /// The UID before the first mail that this reading is about; absent: it began with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// Mails that were there before this reading began and have not all been read yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Mails up to `until` are history, for the reason that `mark` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub until: u32,
    pub mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Asked for by `start`.
    Backfill,
    /// Read again because the folder's UIDs changed.
    Resync,
}

impl Position {
    pub fn new(uidvalidity: u32, uid: u32) -> Self {
        Self { v: VERSION, uidvalidity, uid, from: None, history: None }
    }

    /// A position before mails that are history up to `until`.
    pub fn before(uidvalidity: u32, uid: u32, until: u32, mark: Mark) -> Self {
        let history = (until > uid).then_some(History { until, mark });
        Self { history, from: (uid > 0).then_some(uid), ..Self::new(uidvalidity, uid) }
    }

    /// The position after a mail was handed on.
    pub fn after(self, uid: u32) -> Self {
        Self { uid, history: self.history.filter(|history| uid < history.until), ..self }
    }

    /// Which history a mail belongs to.
    pub fn mark_of(&self, uid: u32) -> Option<Mark> {
        self.history.filter(|history| uid <= history.until).map(|history| history.mark)
    }

    pub fn encode(&self) -> Result<Cursor, IntakeError> {
        Cursor::encode(self)
    }

    /// A cursor of another version stops the folder rather than being guessed at.
    pub fn decode(cursor: &Cursor) -> Result<Self, IntakeError> {
        let position: Self = cursor.decode()?;
        if position.v != VERSION {
            return Err(IntakeError::Broken(format!(
                "the stored cursor has version {}, this program reads version {VERSION}; run the newer program or reset the cursor",
                position.v
            )));
        }
        Ok(position)
    }
}

/// The stream of a folder: its name as configured; `INBOX` in one spelling.
pub fn stream(folder: &str) -> StreamId {
    StreamId::new(if folder.eq_ignore_ascii_case("INBOX") { "INBOX" } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_ends_with_its_last_mail() {
        let position = Position::before(7, 0, 3, Mark::Resync);
        assert_eq!(position.mark_of(3), Some(Mark::Resync));
        assert_eq!(position.mark_of(4), None);
        assert_eq!(position.after(2).history, position.history);
        assert_eq!(position.after(3), Position::new(7, 3));
        let position = Position::before(7, 5, 5, Mark::Backfill);
        assert_eq!((position.history, position.from, position.after(9).from), (None, Some(5), Some(5)));
    }

    #[test]
    fn the_cursor_is_readable_and_versioned() {
        let cursor = Position::new(7, 3).encode().unwrap();
        assert_eq!(cursor.0.to_string(), r#"{"v":1,"uidvalidity":7,"uid":3}"#);
        assert_eq!(Position::decode(&cursor).unwrap(), Position::new(7, 3));
        for bad in [r#"{"v":2,"uidvalidity":7,"uid":3}"#, r#"{"uid":3}"#] {
            let cursor = Cursor(serde_json::from_str(bad).unwrap());
            assert!(matches!(Position::decode(&cursor), Err(IntakeError::Broken(_))), "{bad}");
        }
    }
}
