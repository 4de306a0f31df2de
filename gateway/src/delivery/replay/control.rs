//! How the group tells a shard's thread to stop.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

use super::calls::Calls;

const RUN: u8 = 0;
const FINISH: u8 = 1;
const DROP: u8 = 2;

/// Shared by the group and one shard's thread. It only ever goes from running to finishing to dropping.
#[derive(Default)]
pub(super) struct Control {
    order: AtomicU8,
    /// Cancelled by either stop.
    pub stop: CancellationToken,
    pub calls: Calls,
}

impl Control {
    /// Commit what is under way, then end.
    pub fn finish(&self) {
        self.order.fetch_max(FINISH, Ordering::SeqCst);
        self.stop.cancel();
    }

    /// End without another commit: the shard may have a new owner.
    pub fn drop_all(&self) {
        self.order.fetch_max(DROP, Ordering::SeqCst);
        self.stop.cancel();
    }

    pub fn is_running(&self) -> bool {
        self.order.load(Ordering::SeqCst) == RUN
    }

    pub fn may_commit(&self) -> bool {
        self.order.load(Ordering::SeqCst) < DROP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_is_final() {
        let control = Control::default();
        assert!(control.is_running() && control.may_commit());
        control.finish();
        assert!(!control.is_running() && control.may_commit() && control.stop.is_cancelled());
        control.drop_all();
        control.finish();
        assert!(!control.may_commit());
    }
}
