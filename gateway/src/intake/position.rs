//! A poll stream's position as the driver stores it: the connector's cursor, and whether the source is being read again.

use connector_sdk::Cursor;
use serde_json::{Value, json};

/// The one key of what is stored while a source is read again after it lost its position. A connector's own cursor has
/// a version in it, and never this alone.
const RESYNC_KEY: &str = "inlet_resync";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub cursor: Cursor,
    /// What comes may be a repeat and is marked so. Stored with the cursor, so that it holds after a restart.
    pub resync: bool,
}

impl Position {
    pub fn live(cursor: Cursor) -> Self {
        Self { cursor, resync: false }
    }

    pub fn stored(&self) -> Cursor {
        if self.resync { Cursor(json!({ RESYNC_KEY: self.cursor.0 })) } else { self.cursor.clone() }
    }

    pub fn read(stored: Cursor) -> Self {
        match stored.0 {
            Value::Object(mut map) if map.len() == 1 && map.contains_key(RESYNC_KEY) => {
                let cursor = Cursor(map.remove(RESYNC_KEY).unwrap_or_default());
                Self { cursor, resync: true }
            }
            plain => Self::live(Cursor(plain)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_stored() {
        for cursor in [json!({"v": 1, "id": "7"}), json!(null), json!("text")] {
            for resync in [false, true] {
                let position = Position { cursor: Cursor(cursor.clone()), resync };
                assert_eq!(Position::read(position.stored()), position);
            }
            assert_eq!(Position::live(Cursor(cursor.clone())).stored(), Cursor(cursor));
        }
    }
}
