//! The one clock.

use std::time::Instant;

use connector_sdk::Timestamp;

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}

/// One look at both clocks, to be shared: a look takes as long as many a step of the line.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at: Timestamp,
    pub instant: Instant,
}

impl Moment {
    pub fn now() -> Self {
        // The runtime's clock: timers are set by it, and tests turn it.
        Self { at: now(), instant: tokio::time::Instant::now().into_std() }
    }
}
