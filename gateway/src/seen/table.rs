//! Which ids are published, and which are on their way: bounded by time and by number, cheap to ask.
//!
//! Ids lie in shards, each behind a lock of its own that is held for nanoseconds. A shard ages in slices: ids are not
//! dated one by one, each carries the number of the slice that it came in, and whole slices are forgotten. An id stays
//! for at least the window and at most an eighth of it longer, unless the number of ids is reached first: then the
//! oldest eighth goes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::flight::Flight;
use super::id::SeenId;

/// So many that callers on all cores rarely meet at one, and that a shard is made anew in well under a millisecond.
const SHARDS: usize = 64;
/// What is forgotten at once is one of so many parts.
const SLICES: usize = 8;
/// An id with its slice's number, and the map's own byte for the place.
const PLACE_BYTES: usize = size_of::<(SeenId, u8)>() + 1;
/// The map fills at most seven of eight places.
const FULL: (usize, usize) = (7, 8);

/// What the table says of an id.
#[derive(Debug)]
pub enum Found {
    /// Not known; whoever asked has it now.
    New,
    /// Published within the window.
    Seen,
    /// Somebody else has it now.
    InFlight(Arc<Flight>),
}

/// The index of one process.
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    window: Duration,
    shard_ids_max: usize,
}

#[derive(Default)]
struct Shard {
    ids: HashMap<SeenId, u8, RandomState>,
    /// From the oldest to the one that is filled now.
    slices: VecDeque<Slice>,
    /// Number of the last slice; they count up and begin again after 255.
    newest: u8,
    flights: HashMap<SeenId, Arc<Flight>, RandomState>,
    /// Of the ids: those whose events are safe in the spool, and as far as is known not on Kafka.
    spooled: HashSet<SeenId, RandomState>,
}

struct Slice {
    began: Instant,
    ids: usize,
}

impl Table {
    pub fn new(window: Duration, ids_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, window, shard_ids_max: (ids_max / SHARDS).max(SLICES) }
    }

    /// Asks for an id, and takes it for `flight` where it is new.
    pub fn claim(&self, id: SeenId, flight: &Arc<Flight>) -> Found {
        let mut shard = self.shard(id);
        if shard.ids.contains_key(&id) {
            return Found::Seen;
        }
        match shard.flights.get(&id) {
            // An input that has an id twice waits for nobody.
            Some(other) if Arc::ptr_eq(other, flight) => Found::New,
            Some(other) => Found::InFlight(other.clone()),
            None => {
                shard.flights.insert(id, flight.clone());
                Found::New
            }
        }
    }

    /// The id is published; true = that was not known.
    pub fn insert(&self, id: SeenId, now: Instant) -> bool {
        let mut shard = self.shard(id);
        let is_new = shard.insert(id, now, self.window, self.shard_ids_max);
        shard.leave_spool(id) || is_new
    }

    /// The id's event is in the spool. Where it is known to be published it stays so.
    pub fn spool(&self, id: SeenId, now: Instant) {
        let mut shard = self.shard(id);
        if shard.insert(id, now, self.window, self.shard_ids_max) {
            shard.spooled.insert(id);
        }
    }

    /// The id is known, and not only from the spool.
    pub fn is_published(&self, id: SeenId) -> bool {
        let shard = self.shard(id);
        shard.ids.contains_key(&id) && !shard.spooled.contains(&id)
    }

    /// An id that was claimed is published: it is in no flight any more.
    pub fn land(&self, id: SeenId, flight: &Arc<Flight>, now: Instant) {
        let mut shard = self.shard(id);
        shard.insert(id, now, self.window, self.shard_ids_max);
        shard.release(id, flight);
    }

    /// An id that was claimed is in the spool: it is in no flight any more.
    pub fn land_spooled(&self, id: SeenId, flight: &Arc<Flight>, now: Instant) {
        self.spool(id, now);
        self.shard(id).release(id, flight);
    }

    /// An id that was claimed is not published; the next one who asks has it.
    pub fn release(&self, id: SeenId, flight: &Arc<Flight>) {
        self.shard(id).release(id, flight);
    }

    /// When the longest of the flights began, in milliseconds since 1970.
    pub fn oldest_flight(&self) -> Option<i64> {
        let oldest = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.flights.values().map(|flight| flight.began_millis).min()
        };
        self.shards.iter().filter_map(oldest).min()
    }

    /// Ids held, and the bytes that they take.
    pub fn size(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0 += shard.ids.len();
            sum.1 += places(shard.ids.capacity()) * PLACE_BYTES;
        }
        sum
    }

    /// The most that it takes when it is full.
    pub fn bytes_max(&self) -> usize {
        SHARDS * places(self.shard_ids_max) * PLACE_BYTES
    }

    fn shard(&self, id: SeenId) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(id.0[15]) % SHARDS];
        // A panic while one was held left nothing half done.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places of a map that holds so many: a power of two.
fn places(ids: usize) -> usize {
    if ids == 0 { 0 } else { (ids * FULL.1).div_ceil(FULL.0).next_power_of_two() }
}

impl Shard {
    fn insert(&mut self, id: SeenId, now: Instant, window: Duration, ids_max: usize) -> bool {
        if self.ids.contains_key(&id) {
            return false;
        }
        self.age(now, window, ids_max);
        self.ids.insert(id, self.newest);
        if let Some(slice) = self.slices.back_mut() {
            slice.ids += 1;
        }
        true
    }

    fn release(&mut self, id: SeenId, flight: &Arc<Flight>) {
        if self.flights.get(&id).is_some_and(|own| Arc::ptr_eq(own, flight)) {
            self.flights.remove(&id);
        }
    }

    fn leave_spool(&mut self, id: SeenId) -> bool {
        let was = self.spooled.remove(&id);
        if was && self.spooled.is_empty() {
            // An outage's ids may have been many.
            self.spooled = HashSet::default();
        }
        was
    }

    /// Begins a new slice when the last one is full or has lasted long enough, and forgets the oldest.
    fn age(&mut self, now: Instant, window: Duration, ids_max: usize) {
        let (lasts, holds) = (window / SLICES as u32, (ids_max / SLICES).max(1));
        let fits = |slice: &Slice| now.saturating_duration_since(slice.began) < lasts && slice.ids < holds;
        if self.slices.back().is_some_and(fits) {
            return;
        }
        self.slices.push_back(Slice { began: now, ids: 0 });
        self.newest = self.newest.wrapping_add(1);
        let mut held: usize = self.slices.iter().map(|slice| slice.ids).sum();
        let mut forgotten = 0;
        while let (Some(oldest), Some(next)) = (self.slices.front(), self.slices.get(1)) {
            let expired = now.saturating_duration_since(next.began) >= window;
            if !expired && held + holds <= ids_max {
                break;
            }
            held -= oldest.ids;
            forgotten += oldest.ids;
            self.slices.pop_front();
        }
        if forgotten > 0 {
            self.rebuild();
        }
    }

    /// Made anew instead of thinned: a map that only removes keeps marks in the places, and grows because of them.
    fn rebuild(&mut self) {
        let (newest, alive) = (self.newest, self.slices.len());
        let is_alive = |slice: u8| usize::from(newest.wrapping_sub(slice)) < alive;
        let count = self.ids.values().filter(|slice| is_alive(**slice)).count();
        let mut ids = HashMap::with_capacity_and_hasher(count, RandomState::default());
        ids.extend(self.ids.iter().filter(|(_, slice)| is_alive(**slice)).map(|(id, slice)| (*id, *slice)));
        self.ids = ids;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(800);

    /// Distinct and spread, as hashes are.
    fn id(n: u64) -> SeenId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        SeenId(bytes)
    }

    fn is_seen(table: &Table, n: u64) -> bool {
        let flight = Arc::new(Flight::begin(0));
        let found = table.claim(id(n), &flight);
        table.release(id(n), &flight);
        matches!(found, Found::Seen)
    }

    #[test]
    fn d4_an_id_stays_for_the_window_and_not_much_longer() {
        let table = Table::new(WINDOW, 1 << 20);
        let start = Instant::now();
        table.insert(id(0), start);
        for second in 1..=900 {
            // One of the same shard, or it would not age.
            table.insert(id(second * SHARDS as u64), start + Duration::from_secs(second));
            if second < 800 {
                assert!(is_seen(&table, 0), "forgotten after {second} s");
            }
        }
        assert!(!is_seen(&table, 0), "still there after 900 s");
    }

    #[test]
    fn d4_number_and_bytes_are_bounded_and_the_newest_stay() {
        const MAX: usize = 64 * 1000;
        let table = Table::new(WINDOW, MAX);
        let now = Instant::now();
        for n in 0..10 * MAX as u64 {
            table.insert(id(n), now);
            if n % 1000 == 0 {
                let (ids, bytes) = table.size();
                assert!(ids <= MAX, "{ids} ids");
                assert!(bytes <= table.bytes_max(), "{bytes} bytes for {ids} ids");
            }
        }
        let newest = 10 * MAX as u64 - (MAX / SLICES * (SLICES - 2)) as u64;
        for n in newest..10 * MAX as u64 {
            assert!(is_seen(&table, n), "{n} is forgotten, one of the newest");
        }
        assert!(!is_seen(&table, 0));
    }

    #[test]
    fn d4_what_is_spooled_is_seen_but_not_published_until_somebody_says_so() {
        let table = Table::new(WINDOW, 1 << 10);
        let now = Instant::now();
        table.spool(id(1), now);
        table.spool(id(2), now);
        assert!(is_seen(&table, 1) && !table.is_published(id(1)));
        assert!(table.insert(id(1), now), "that it is published was not known");
        assert!(!table.insert(id(1), now));
        assert!(table.is_published(id(1)) && !table.is_published(id(2)) && !table.is_published(id(3)));
        // A copy that went into the spool changes nothing.
        table.spool(id(1), now);
        assert!(table.is_published(id(1)));
    }

    #[test]
    fn d4_one_has_an_id_at_a_time() {
        let table = Table::new(WINDOW, 1 << 10);
        let (first, second) = (Arc::new(Flight::begin(7)), Arc::new(Flight::begin(5)));
        assert!(matches!(table.claim(id(1), &first), Found::New));
        assert!(matches!(table.claim(id(1), &first), Found::New), "the same flight asks again");
        assert!(matches!(table.claim(id(1), &second), Found::InFlight(other) if Arc::ptr_eq(&other, &first)));
        table.release(id(1), &second);
        assert!(matches!(table.claim(id(1), &second), Found::InFlight(_)), "released by one that did not have it");
        assert!(matches!(table.claim(id(2), &second), Found::New));
        assert_eq!(table.oldest_flight(), Some(5));
        table.release(id(1), &first);
        assert!(matches!(table.claim(id(1), &second), Found::New));
        table.land(id(1), &second, Instant::now());
        assert!(matches!(table.claim(id(1), &first), Found::Seen));
    }
}
