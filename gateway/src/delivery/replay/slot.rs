//! Where a shard's current epoch is shown. A thread that was given up can no longer change it.

use std::sync::Mutex;

use tokio::sync::watch;

use super::Epoch;
use crate::delivery::link::lock;

pub(super) struct Slot {
    tenant: Mutex<u64>,
    epoch: watch::Sender<Option<Epoch>>,
}

impl Slot {
    pub fn new() -> Self {
        Self { tenant: Mutex::new(0), epoch: watch::Sender::new(None) }
    }

    pub fn subscribe(&self) -> watch::Receiver<Option<Epoch>> {
        self.epoch.subscribe()
    }

    /// A new thread takes the place of the one before: its epoch, if any, has ended.
    pub fn let_to_next(&self) -> u64 {
        let mut tenant = lock(&self.tenant);
        *tenant += 1;
        if let Some(epoch) = self.epoch.send_replace(None) {
            epoch.ended.cancel();
        }
        *tenant
    }

    /// Shows an epoch, or that there is none; without effect for a former tenant.
    pub fn show(&self, tenant: u64, epoch: Option<Epoch>) {
        let current = lock(&self.tenant);
        if *current == tenant {
            self.epoch.send_replace(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    #[test]
    fn a_former_tenant_shows_nothing() {
        let epoch = || Epoch::begin(HashMap::new(), mpsc::channel(1).0, CancellationToken::new());
        let slot = Slot::new();
        let shown = slot.subscribe();
        let first = slot.let_to_next();
        let begun = epoch();
        slot.show(first, Some(begun.clone()));
        assert!(shown.borrow().is_some());
        let second = slot.let_to_next();
        assert!(shown.borrow().is_none() && begun.ended.is_cancelled());
        slot.show(first, Some(epoch()));
        assert!(shown.borrow().is_none());
        slot.show(second, Some(epoch()));
        slot.show(first, None);
        assert!(shown.borrow().is_some());
    }
}
