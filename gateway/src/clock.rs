//! The one clock.

use connector_sdk::Timestamp;

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}
