//! The list of connectors, one line each. No link-time magic: what is not here does not exist.

use connector_sdk::Entry;

static ALL: &[Entry] = &[];

/// Every connector that the stock binary has, by name.
pub fn all() -> &'static [Entry] {
    ALL
}
