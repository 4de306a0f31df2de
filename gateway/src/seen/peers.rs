//! Which replicas there are, as their batches tell.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::batch::{Batch, End};

/// A replica that says nothing for so long, while one's own batches come through, is gone or as good as gone. Batches
/// come every second at least.
pub const SILENCE: Duration = Duration::from_secs(2);

/// A replica that was silent may have been frozen: what its producer still held may arrive after others have looked for what
/// it had not told. Whoever starts within this looks again.
const REPAIRED_KEPT: Duration = Duration::from_secs(300);

/// A replica that has not said goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    heard: Instant,
    watermark_millis: i64,
}

/// Everybody on the topic.
pub struct Peers {
    own: String,
    all: HashMap<String, Peer>,
    /// Those that were silent and are known by now.
    repaired: HashMap<String, Peer>,
}

impl Peers {
    pub fn new(own: String) -> Self {
        Self { own, all: HashMap::new(), repaired: HashMap::new() }
    }

    pub fn hear(&mut self, batch: &Batch, now: Instant) {
        let peer = Peer { heard: now, watermark_millis: batch.watermark_millis };
        match batch.end {
            None => drop(self.all.insert(batch.replica.clone(), peer)),
            Some(end) => {
                self.all.remove(&batch.replica);
                if end == End::Repaired {
                    self.repaired.insert(batch.replica.clone(), peer);
                }
            }
        }
    }

    /// When the last of one's own batches that came back was sent.
    pub fn own_heard(&self) -> Option<Instant> {
        self.all.get(&self.own).map(|peer| peer.heard)
    }

    /// Those who have not said goodbye, with the moments up to which they told everything; at a start anybody may be gone.
    pub fn open(&self) -> Vec<(String, i64)> {
        let repaired = self.repaired.iter().filter(|(_, peer)| peer.heard.elapsed() < REPAIRED_KEPT);
        let others = self.all.iter().chain(repaired).filter(|(name, _)| **name != self.own);
        others.map(|(name, peer)| (name.clone(), peer.watermark_millis)).collect()
    }

    /// Those who fell silent. Measured against one's own batches, which come by the same way: while Kafka is away nobody
    /// is heard, and nobody is gone.
    pub fn silent(&self) -> Vec<(String, i64)> {
        let Some(own) = self.own_heard() else { return Vec::new() };
        let is_silent = |peer: &Peer| own.saturating_duration_since(peer.heard) >= SILENCE;
        let silent = self.all.iter().filter(|(_, peer)| is_silent(peer));
        silent.map(|(name, peer)| (name.clone(), peer.watermark_millis)).collect()
    }

    /// What it had not told is known now.
    pub fn close(&mut self, replica: &str) {
        self.all.remove(replica);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(replica: &str, watermark_millis: i64) -> Batch {
        Batch { replica: replica.to_owned(), watermark_millis, end: None, ids: Vec::new() }
    }

    #[test]
    fn d4_who_is_silent_while_others_are_heard_is_gone() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut peers = Peers::new("own".to_owned());
        peers.hear(&batch("killed", 5), start);
        peers.hear(&batch("ended", 5), start);
        peers.hear(&Batch { end: Some(End::Goodbye), ..batch("ended", 6) }, after(10));
        peers.hear(&batch("well", 5), start);
        assert!(peers.silent().is_empty(), "nobody is judged before one's own batches come through");
        peers.hear(&batch("own", 9), after(1000));
        assert!(peers.silent().is_empty());
        peers.hear(&batch("well", 9), after(1500));
        peers.hear(&batch("own", 10), after(2000));
        assert_eq!(peers.silent(), [("killed".to_owned(), 5)]);
        let mut open: Vec<_> = peers.open().into_iter().map(|(name, _)| name).collect();
        open.sort();
        assert_eq!(open, ["killed", "well"]);
        peers.close("killed");
        peers.hear(&Batch { end: Some(End::Repaired), ..batch("killed", 5) }, after(2100));
        assert!(peers.silent().is_empty());
        assert!(peers.open().contains(&("killed".to_owned(), 5)), "what it still held may have come later");
    }
}
