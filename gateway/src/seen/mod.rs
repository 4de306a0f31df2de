//! The seen index (D4): a redelivery that comes after its first copy is safe is not published again.
//!
//! [`Seen::claim`] asks for the ids of an input's records. Those that nobody has are the caller's until it says that they
//! are safe ([`Claim::land`]) or drops them; those that another input has on its way are joined; the others are known. An
//! id becomes known only when its event is safe. Replicas tell each other the ids that are on Kafka on `inlet.seen`
//! (`share`, `follow`). An id that is only in the spool is known here and told when the drain has brought it to Kafka; the
//! drain asks [`Seen::is_published`] before, since another replica may have published it meanwhile.

pub mod batch;
mod flight;
mod follow;
pub mod id;
mod metrics;
mod peers;
mod share;
mod state;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use self::flight::Flight;
pub use self::id::SeenId;
pub use self::metrics::SeenMetrics;
pub use self::share::Sharing;
pub use self::state::Filling;
use self::state::State;
use self::table::{Found, Table};
use crate::clock::Moment;
use crate::delivery::consumer::ConsumeError;

/// Ids that wait to be told to the others: 8 MiB. More than half a minute's input at full speed, and an outage's at any
/// usual one; beyond it the oldest are not told.
const OUTBOX_IDS_MAX: usize = 512 << 10;

/// Entries of the spool are not quite in the order in which their inputs were accepted.
const SPOOL_DISORDER_MILLIS: i64 = 10_000;

/// The index of this process.
pub struct Seen {
    table: Table,
    /// Absent where nobody else is told.
    outbox: Option<Mutex<Outbox>>,
    state: State,
    metrics: SeenMetrics,
    /// When the oldest input that the spool holds was accepted, in milliseconds since 1970.
    oldest_spooled: OnceLock<Box<dyn Fn() -> Option<i64> + Send + Sync>>,
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
        Self::with(Table::new(window, ids_max), None, Filling::Local, metrics)
    }

    /// An index that is filled from `inlet.seen`, once [`Sharing::start`] has been called.
    pub fn shared(window: Duration, ids_max: usize, metrics: SeenMetrics) -> Self {
        Self::with(Table::new(window, ids_max), Some(Mutex::default()), Filling::Filling, metrics)
    }

    fn with(table: Table, outbox: Option<Mutex<Outbox>>, filling: Filling, metrics: SeenMetrics) -> Self {
        Self { table, outbox, state: State::of(filling), metrics, oldest_spooled: OnceLock::new() }
    }

    /// Waits while the index is being filled, a bounded time: input that comes right after a start may be a redelivery of
    /// what the process before has settled.
    pub async fn ready(&self) {
        self.state.ready().await;
    }

    /// Asks for ids, and takes those that are new.
    pub fn claim(&self, ids: &[SeenId]) -> Claim<'_> {
        self.claim_at(ids, Moment::now())
    }

    /// As [`claim`](Self::claim), for whoever looked at the clock before: it may be somewhat earlier than now.
    pub fn claim_at(&self, ids: &[SeenId], began: Moment) -> Claim<'_> {
        let flight = Arc::new(Flight::begin(began.at.unix_millis()));
        let (mut own, mut joined) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.table.claim(*id, &flight) {
                Found::New => own.push(*id),
                Found::InFlight(other) => joined.push((*id, other)),
                Found::Seen => {}
            }
        }
        let new = if self.state.knows_all_at(began.instant) { &self.metrics.new } else { &self.metrics.unchecked };
        let duplicates = ids.len() - own.len() - joined.len();
        // Nothing is not counted: all processors share the counters.
        for (counter, count) in
            [(new, own.len()), (&self.metrics.joined, joined.len()), (&self.metrics.duplicate, duplicates)]
        {
            if count > 0 {
                counter.inc_by(count as u64);
            }
        }
        Claim { seen: self, began: began.instant, asked: ids.len(), flight, own, joined, landed: false }
    }

    /// Ids that are on Kafka though nobody here claimed them. `tell`: the others may not know them either.
    pub fn learn(&self, ids: impl IntoIterator<Item = SeenId>, tell: bool) {
        let now = Instant::now();
        for id in ids {
            if self.table.insert(id, now) && tell {
                self.tell(&[id]);
            }
        }
    }

    /// Ids that an earlier process left in the spool.
    pub fn spooled(&self, ids: impl IntoIterator<Item = SeenId>) {
        let now = Instant::now();
        ids.into_iter().for_each(|id| self.table.spool(id, now));
    }

    /// Somebody has brought it to Kafka.
    pub fn is_published(&self, id: SeenId) -> bool {
        self.table.is_published(id)
    }

    /// What is not known here may be known elsewhere, and that will show in a moment: what would be published now is
    /// better spooled, and what is spooled better waits.
    pub fn doubts(&self) -> bool {
        self.state.doubts()
    }

    /// As [`doubts`](Self::doubts), for whoever has looked at the clock just now.
    pub fn doubts_at(&self, now: Instant) -> bool {
        self.state.doubts_at(now)
    }

    /// Returns when there are no doubts.
    pub async fn certain(&self) {
        self.state.certain().await;
    }

    /// Doubts have lasted too long with Kafka there: until the index is filled again it goes on with what it knows.
    pub fn pass_over(&self) {
        if self.state.pass_over() {
            let reason = self.state.get().1;
            tracing::warn!(
                ?reason,
                "ids of other replicas cannot be read; redeliveries are recognised by this replica's own alone"
            );
        }
    }

    /// From now on the watermark stays behind what the spool holds: `oldest` says when the oldest of it was accepted.
    pub fn follow_spool(&self, oldest: impl Fn() -> Option<i64> + Send + Sync + 'static) {
        let _ = self.oldest_spooled.set(Box::new(oldest));
    }

    fn oldest_spooled(&self) -> Option<i64> {
        self.oldest_spooled.get().and_then(|oldest| oldest())
    }

    #[cfg(test)]
    pub(crate) fn set_filling(&self, filling: Filling) {
        self.state.set(filling, None);
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

    /// Every id of an event that was sent before this moment, and is on Kafka, is in the outbox or was taken from it.
    /// What is in the spool may have been sent at any moment since its input came.
    fn watermark_millis(&self) -> i64 {
        let now = crate::clock::now().unix_millis();
        // Flights first: what leaves them for the spool meanwhile is seen there.
        let flight = self.table.oldest_flight();
        let spooled = self.oldest_spooled().map(|oldest| oldest - SPOOL_DISORDER_MILLIS);
        [flight, spooled].into_iter().flatten().fold(now, i64::min)
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
    began: Instant,
    asked: usize,
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

    /// All ids that were asked for are the caller's.
    pub fn has_all(&self) -> bool {
        self.own.len() == self.asked
    }

    /// The events of the caller's own ids are on Kafka.
    pub fn land(self) -> Joined {
        // Told before it leaves the flights: the watermark counts on it.
        self.seen.tell(&self.own);
        self.end(Table::land)
    }

    /// The events of the caller's own ids are in the spool, which follows them from now on.
    pub fn land_spooled(self) -> Joined {
        self.end(Table::land_spooled)
    }

    fn end(mut self, land: impl Fn(&Table, SeenId, &Arc<Flight>, Instant)) -> Joined {
        self.own.iter().for_each(|id| land(&self.seen.table, *id, &self.flight, self.began));
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

    #[tokio::test]
    async fn d4_what_is_spooled_is_told_when_it_is_on_kafka() {
        let seen = Seen::shared(Duration::from_secs(60), 1000, SeenMetrics::default());
        let oldest = Arc::new(Mutex::new(Some(5_000_000_000)));
        seen.follow_spool({
            let oldest = oldest.clone();
            move || *oldest.lock().expect("no panic")
        });
        drop(seen.claim(&[id(1), id(2)]).land_spooled());
        assert!(seen.claim(&[id(1), id(2)]).own().is_empty(), "a redelivery is recognised");
        assert!(seen.outbox().expect("is shared").ids.is_empty(), "told though it is not on Kafka");
        assert_eq!(seen.watermark_millis(), 5_000_000_000 - SPOOL_DISORDER_MILLIS);
        // Another replica had published one of them.
        seen.learn([id(2)], false);
        assert!(!seen.is_published(id(1)) && seen.is_published(id(2)));
        seen.learn([id(1)], true);
        assert_eq!(seen.outbox().expect("is shared").ids, [id(1)]);
        *oldest.lock().expect("no panic") = None;
        assert!(seen.watermark_millis() > 5_000_000_000);
    }

    #[tokio::test]
    async fn d4_doubts_end_when_the_index_is_filled_or_passed_over() {
        let seen = Seen::shared(Duration::from_secs(60), 1000, SeenMetrics::default());
        for filling in [Filling::Filling, Filling::Behind, Filling::Blind] {
            seen.state.set(filling, None);
            assert!(seen.doubts(), "{filling:?}");
        }
        seen.pass_over();
        seen.certain().await;
        seen.state.set(Filling::Behind, None);
        assert!(!seen.doubts(), "passed over until it is filled again");
        seen.state.set(Filling::Filled, None);
        seen.state.set(Filling::Behind, None);
        assert!(seen.doubts());
        let certain = seen.certain();
        tokio::join!(certain, async { seen.state.set(Filling::Filled, None) });
        // Frozen, and going on: nobody has set another state yet.
        seen.state.fresh_until(Instant::now());
        assert!(seen.doubts());
        seen.state.fresh_until(Instant::now() + Duration::from_secs(60));
        assert!(!seen.doubts());
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
