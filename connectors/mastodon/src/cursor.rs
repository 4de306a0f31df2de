//! Positions in the two streams.

use connector_sdk::key::content_key;
use connector_sdk::{Cursor, IntakeError};
use serde::{Deserialize, Serialize};

use crate::wire::id_order;

/// Version of both cursors.
const VERSION: u8 = 1;
/// How many ids above the floor are remembered. Two transactions of the server may end in another order than that in
/// which they took their ids; asking again from a floor below the newest finds the late one. Must be below the smallest
/// page that a server gives (15 in old versions).
pub const OVERLAP: usize = 12;
/// How many unreadable items are remembered as handed on.
const BROKEN_MAX: usize = 100;

/// Position in the notifications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    v: u8,
    /// Everything up to this id is handed on; `0` = nothing.
    pub floor: String,
    /// What is at or below this id was before this reading began; absent: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Ids above the floor that are handed on, in the server's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
    /// Hashes of items without a usable id that are handed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<String>,
}

impl Position {
    pub fn after(id: impl Into<String>) -> Self {
        let floor: String = id.into();
        let from = (floor != "0").then(|| floor.clone());
        Self { v: VERSION, floor, from, seen: Vec::new(), broken: Vec::new() }
    }

    /// Whether an item was handed on since this reading began.
    pub fn passed(&self, id: &str) -> bool {
        let is_before = self.from.as_deref().is_some_and(|from| id_order(id, from).is_le());
        !is_before && (id_order(id, &self.floor).is_le() || self.knows(id))
    }

    pub fn decode(cursor: &Cursor) -> Result<Self, IntakeError> {
        let position: Self = cursor.decode()?;
        version(position.v, cursor)?;
        Ok(position)
    }

    pub fn knows(&self, id: &str) -> bool {
        self.seen.iter().any(|seen| seen == id)
    }

    /// Counts an id as handed on.
    pub fn take(&mut self, id: &str) {
        let at = self.seen.partition_point(|seen| id_order(seen, id).is_lt());
        self.seen.insert(at, id.to_owned());
        while self.seen.len() > OVERLAP {
            self.floor = self.seen.remove(0);
        }
    }

    /// Counts an item without a usable id as handed on; false where it was already.
    pub fn take_broken(&mut self, item: &[u8]) -> bool {
        let hash = content_key(&[item]);
        if self.broken.contains(&hash) {
            return false;
        }
        self.broken.push(hash);
        if self.broken.len() > BROKEN_MAX {
            self.broken.remove(0);
        }
        true
    }
}

/// What is remembered of the mentions that are looked at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    v: u8,
    /// Mentions up to this notification id are not looked at.
    pub floor: String,
    /// By notification id, in the server's order.
    pub mentions: Vec<Watched>,
}

/// One mention that is looked at again: what a deletion needs, since then there is nothing left to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub notification: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<String>,
    pub conversation: String,
    pub visibility: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acct: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to_id: Option<String>,
}

impl Watch {
    pub fn after(id: impl Into<String>) -> Self {
        Self { v: VERSION, floor: id.into(), mentions: Vec::new() }
    }

    pub fn decode(cursor: &Cursor) -> Result<Self, IntakeError> {
        let watch: Self = cursor.decode()?;
        version(watch.v, cursor)?;
        Ok(watch)
    }

    /// Adds a mention in its place, and forgets the oldest over `max`.
    pub fn add(&mut self, mention: Watched, max: usize) {
        let at = self.mentions.partition_point(|have| id_order(&have.notification, &mention.notification).is_lt());
        self.mentions.insert(at, mention);
        while self.mentions.len() > max {
            self.floor = self.mentions.remove(0).notification;
        }
    }
}

fn version(found: u8, cursor: &Cursor) -> Result<(), IntakeError> {
    if found == VERSION {
        return Ok(());
    }
    Err(IntakeError::Broken(format!(
        "stored cursor {} is of version {found}, this version reads {VERSION}; reset it or run the version that wrote it",
        cursor.0
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_follows_below_the_overlap() {
        let mut position = Position::after("0");
        for id in 1..=OVERLAP + 3 {
            position.take(&id.to_string());
        }
        assert_eq!((position.floor.as_str(), position.seen.len()), ("3", OVERLAP));
        assert!(position.knows("4") && !position.knows("3"));
    }

    #[test]
    fn a_cursor_of_another_version_is_refused() {
        let mut cursor = Cursor::encode(&Position::after("7")).unwrap();
        assert_eq!(Position::decode(&cursor).unwrap(), Position::after("7"));
        cursor.0["v"] = 2.into();
        assert!(matches!(Position::decode(&cursor), Err(IntakeError::Broken(_))));
    }
}
