//! The seen index (D4): a redelivery that comes after its first copy is safe is not published again.
//!
//! [`Seen::claim`] asks for the ids of an input's records. Those that nobody has are the caller's until it says that they
//! are safe ([`Claim::land`]) or drops them; those that another input has on its way are joined; the others are known. An
//! id becomes known only when its event is safe. Replicas tell each other their ids on `inlet.seen` (`share`,
//! `follow`).

pub mod batch;
mod flight;
mod follow;
pub mod id;
mod metrics;
mod peers;
mod share;
mod state;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::flight::Flight;
pub use self::id::SeenId;
pub use self::metrics::SeenMetrics;
pub use self::share::Sharing;
pub use self::state::Filling;
use self::state::State;
use self::table::{Found, Table};
use crate::delivery::consumer::ConsumeError;

/// Ids that wait to be told to the others: 8 MiB. More than half a minute's input at full speed, and an outage's at any
/// usual one; beyond it the oldest are not told.
const OUTBOX_IDS_MAX: usize = 512 << 10;

/// The index of this process.
pub struct Seen {
    table: Table,
    /// Absent where nobody else is told.
    outbox: Option<Mutex<Outbox>>,
    state: State,
    metrics: SeenMetrics,
}

/// What the others are to be told.
#[derive(Default)]
struct Outbox {
    ids: Vec<SeenId>,
    /// Replicas that were silent, and whose ids are all in `ids` or were told.
    repaired: Vec<(String, i64)>,
}

/// For `/api/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenStatus {
    pub state: Filling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub ids: usize,
    pub bytes: usize,
    /// What a full index takes.
    pub bytes_max: usize,
}

impl Seen {
    /// An index that is not shared.
    pub fn local(window: Duration, ids_max: usize, metrics: SeenMetrics) -> Self {
        Self { table: Table::new(window, ids_max), outbox: None, state: State::of(Filling::Local), metrics }
    }

    /// An index that is filled from `inlet.seen`, once [`Sharing::start`] has been called.
    pub fn shared(window: Duration, ids_max: usize, metrics: SeenMetrics) -> Self {
        let outbox = Some(Mutex::default());
        Self { table: Table::new(window, ids_max), outbox, state: State::of(Filling::Filling), metrics }
    }

    /// Waits while the index is being filled, a bounded time: input that comes right after a start may be a redelivery of
    /// what the process before has settled.
    pub async fn ready(&self) {
        self.state.ready().await;
    }

    /// Asks for ids, and takes those that are new.
    pub fn claim(&self, ids: &[SeenId]) -> Claim<'_> {
        let flight = Arc::new(Flight::begin(crate::clock::now().unix_millis()));
        let (mut own, mut joined) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.table.claim(*id, &flight) {
                Found::New => own.push(*id),
                Found::InFlight(other) => joined.push((*id, other)),
                Found::Seen => {}
            }
        }
        let new = if self.state.knows_all() { &self.metrics.new } else { &self.metrics.unchecked };
        new.inc_by(own.len() as u64);
        self.metrics.joined.inc_by(joined.len() as u64);
        self.metrics.duplicate.inc_by((ids.len() - own.len() - joined.len()) as u64);
        Claim { seen: self, flight, own, joined, landed: false }
    }

    /// Ids that are safe though nobody here claimed them: another replica's, or those of a spool that an earlier run left.
    /// `tell`: the others may not know them either.
    pub fn learn(&self, ids: impl IntoIterator<Item = SeenId>, tell: bool) {
        let now = Instant::now();
        for id in ids {
            if self.table.insert(id, now) && tell {
                self.tell(&[id]);
            }
        }
    }

    /// The index's state, for operators; brings its gauges up to date.
    pub fn status(&self) -> SeenStatus {
        let (ids, bytes) = self.table.size();
        let (state, reason) = self.state.get();
        self.metrics.ids.set(ids as i64);
        self.metrics.bytes.set(bytes as i64);
        self.metrics.filled.set(matches!(state, Filling::Filled | Filling::Local).into());
        SeenStatus { state, reason, ids, bytes, bytes_max: self.table.bytes_max() }
    }

    fn tell(&self, ids: &[SeenId]) {
        let Some(mut outbox) = self.outbox() else { return };
        outbox.ids.extend_from_slice(ids);
        let over = outbox.ids.len().saturating_sub(OUTBOX_IDS_MAX);
        if over > 0 {
            outbox.ids.drain(..over);
            self.metrics.untold.inc_by(over as u64);
        }
    }

    fn outbox(&self) -> Option<MutexGuard<'_, Outbox>> {
        let outbox = self.outbox.as_ref()?;
        Some(outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every id of an event that was sent before this moment, and is safe, is in the outbox or was taken from it.
    fn watermark_millis(&self) -> i64 {
        let now = crate::clock::now().unix_millis();
        self.table.oldest_flight().map_or(now, |oldest| oldest.min(now))
    }

    fn failed(&self, error: &ConsumeError) {
        self.metrics.faults.inc();
        self.state.set(Filling::Blind, Some(error.to_string()));
    }
}

impl Default for Seen {
    /// Not shared, with the limits of an empty configuration.
    fn default() -> Self {
        let section = crate::config::model::SeenSection::default();
        Self::local(section.window.0, section.max_ids, SeenMetrics::default())
    }
}

/// Ids of one input. Dropped without [`land`](Self::land), its own ids are anybody's again.
pub struct Claim<'a> {
    seen: &'a Seen,
    flight: Arc<Flight>,
    own: Vec<SeenId>,
    joined: Vec<(SeenId, Arc<Flight>)>,
    landed: bool,
}

/// Ids that other inputs have on their way.
pub struct Joined(Vec<(SeenId, Arc<Flight>)>);

impl Claim<'_> {
    /// The ids that the caller has to publish.
    pub fn own(&self) -> &[SeenId] {
        &self.own
    }

    /// The events of the caller's own ids are safe.
    pub fn land(mut self) -> Joined {
        let now = Instant::now();
        // Told before it leaves the flights: the watermark counts on it.
        self.seen.tell(&self.own);
        self.own.iter().for_each(|id| self.seen.table.land(*id, &self.flight, now));
        self.flight.end(true);
        self.landed = true;
        Joined(std::mem::take(&mut self.joined))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.own.iter().for_each(|id| self.seen.table.release(*id, &self.flight));
            self.flight.end(false);
        }
    }
}

impl Joined {
    /// Waits for the others; gives the ids that are not safe after all. To be called with nothing of one's own on its way,
    /// so that no two wait for each other.
    pub async fn failed(self) -> Vec<SeenId> {
        let mut failed = Vec::new();
        for (id, flight) in self.0 {
            if !flight.landed().await {
                failed.push(id);
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SeenId {
        SeenId([n; 16])
    }

    #[tokio::test]
    async fn d4_an_id_is_seen_only_after_it_is_safe() {
        let seen = Seen::default();
        let claim = seen.claim(&[id(1), id(2)]);
        assert_eq!(claim.own(), [id(1), id(2)]);
        drop(claim);
        let again = seen.claim(&[id(2), id(3)]);
        assert_eq!(again.own(), [id(2), id(3)]);
        assert!(again.land().failed().await.is_empty());
        assert_eq!(seen.claim(&[id(1), id(2), id(3)]).own(), [id(1)]);
        assert_eq!(seen.metrics.duplicate.get(), 2);
    }

    #[tokio::test]
    async fn d4_copies_at_the_same_time_join_and_one_of_them_tries_again() {
        let seen = Arc::new(Seen::default());
        let first = seen.claim(&[id(1)]);
        let copies: Vec<_> = (0..10)
            .map(|_| {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let (mut published, mut left) = (0, vec![id(1)]);
                    while !left.is_empty() {
                        let claim = seen.claim(&left);
                        if !claim.own().is_empty() {
                            published += 1;
                            tokio::task::yield_now().await;
                        }
                        left = claim.land().failed().await;
                    }
                    published
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(copies.iter().all(|copy| !copy.is_finished()));
        drop(first);
        let mut published = 0;
        for copy in copies {
            published += copy.await.expect("no panic");
        }
        assert_eq!(published, 1);
    }

    #[tokio::test]
    async fn d4_inputs_that_cross_do_not_wait_for_each_other() {
        let seen = Seen::default();
        let one = seen.claim(&[id(1)]);
        let two = seen.claim(&[id(2), id(1)]);
        let three = seen.claim(&[id(1), id(2)]);
        assert_eq!((two.own(), three.own()), (&[id(2)][..], &[][..]));
        let (two, three) = (two.land(), three.land());
        drop(one);
        assert_eq!(two.failed().await, [id(1)]);
        assert_eq!(three.failed().await, [id(1)]);
    }

    #[test]
    fn d4_the_watermark_waits_for_what_is_on_its_way() {
        let seen = Seen::shared(Duration::from_secs(60), 1000, SeenMetrics::default());
        let claim = seen.claim(&[id(1)]);
        let began = claim.flight.began_millis;
        std::iter::repeat_with(|| crate::clock::now().unix_millis()).find(|now| *now > began + 5);
        assert_eq!(seen.watermark_millis(), began);
        drop(claim.land());
        assert!(seen.watermark_millis() > began);
        assert_eq!(seen.outbox().expect("is shared").ids, [id(1)]);
    }
}
