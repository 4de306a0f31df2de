//! Fair shares of something bounded (places, bytes): each party has a part that nobody else can take.
//!
//! Half of the pool is common: whoever comes first has it, and it is nobody's account. The other half is split evenly
//! among the parties; a party's part is for what it takes beyond the common half. So a party alone uses nearly all of the
//! pool, and one that floods leaves the others what is theirs. A party that asks for more is refused at once: nothing
//! queues here.
//!
//! All requests of all processors pass here. While the common half has room, which is nearly always, that is one number;
//! parties are told apart only beyond it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// A bounded pool among parties.
pub struct Pool {
    common_used: AtomicUsize,
    common_total: AtomicUsize,
    parts: Mutex<Parts>,
}

/// What parties have taken beyond the common half.
struct Parts {
    total: usize,
    /// What is kept for each party.
    reserve: usize,
    used: HashMap<Box<str>, usize, RandomState>,
    /// Who the parties are: fixed, or whoever uses its part and one who is yet to come.
    members: Members,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    Fixed(usize),
    Coming,
}

/// What one party has taken; given back when dropped.
pub struct Taken<'p> {
    pool: &'p Pool,
    common: usize,
    own: usize,
    /// Known where it has something of its own part.
    party: Option<Box<str>>,
}

impl Pool {
    /// For a number of parties that is known, at least one.
    pub fn among(total: usize, parties: usize) -> Self {
        Self::new(total, Members::Fixed(parties.max(1)))
    }

    /// For parties that come and go. There is always a part for one who is not there yet.
    pub fn for_comers(total: usize) -> Self {
        Self::new(total, Members::Coming)
    }

    fn new(total: usize, members: Members) -> Self {
        let mut parts = Parts { total, reserve: 0, used: HashMap::default(), members };
        parts.settle_reserve();
        let common_total = AtomicUsize::new(parts.common_total());
        Self { common_used: AtomicUsize::new(0), common_total, parts: Mutex::new(parts) }
    }

    /// Another total or number of parties; what is taken stays so.
    pub fn resize(&self, total: usize, parties: usize) {
        let mut parts = self.parts();
        parts.total = total;
        if parts.members != Members::Coming {
            parts.members = Members::Fixed(parties.max(1));
        }
        self.settle(&mut parts);
    }

    /// The most that one party can have.
    pub fn most(&self) -> usize {
        let parts = self.parts();
        parts.reserve + parts.common_total()
    }

    /// Takes so much for a party; `None`: neither its part nor what is common has room.
    pub fn take(&self, party: &str, count: usize) -> Option<Taken<'_>> {
        let mut taken = self.hold();
        taken.add(party, count).then_some(taken)
    }

    /// Nothing yet; to be added to.
    pub fn hold(&self) -> Taken<'_> {
        Taken { pool: self, common: 0, own: 0, party: None }
    }

    /// As much as there is, at most `count`.
    fn take_common(&self, count: usize) -> usize {
        let total = self.common_total.load(Ordering::Relaxed);
        let left = |used: usize| total.saturating_sub(used).min(count);
        let add = |used| Some(used + left(used));
        let before = self.common_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        before.map_or(0, left)
    }

    fn give_common_back(&self, count: usize) {
        self.common_used.fetch_sub(count, Ordering::Relaxed);
    }

    fn settle(&self, parts: &mut Parts) {
        parts.settle_reserve();
        self.common_total.store(parts.common_total(), Ordering::Relaxed);
    }

    /// What the common half did not have: from the party's own part, and again from the common half, which may have grown
    /// with the number of parties. Tells how much from each; `None`: there is no room.
    fn take_rest(&self, party: &str, count: usize) -> Option<(usize, usize)> {
        let mut parts = self.parts();
        if !parts.used.contains_key(party) {
            parts.used.insert(party.into(), 0);
            if parts.members == Members::Coming {
                self.settle(&mut parts);
            }
        }
        let reserve = parts.reserve;
        let used = parts.used.get_mut(party)?;
        let own = reserve.saturating_sub(*used).min(count);
        let common = self.take_common(count - own);
        let fits = own + common == count;
        if fits {
            *used += own;
        } else {
            self.give_common_back(common);
        }
        if *used == 0 {
            self.leave(&mut parts, party);
        }
        fits.then_some((own, common))
    }

    fn give_own_back(&self, party: &str, count: usize) {
        let mut parts = self.parts();
        if let Some(used) = parts.used.get_mut(party) {
            *used = used.saturating_sub(count);
            if *used == 0 {
                self.leave(&mut parts, party);
            }
        }
    }

    fn leave(&self, parts: &mut Parts, party: &str) {
        parts.used.remove(party);
        if parts.members == Members::Coming {
            self.settle(parts);
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// Takes more for the same party; false: there is no room, and what was taken before stays.
    pub fn add(&mut self, party: &str, count: usize) -> bool {
        if count == 0 {
            return true;
        }
        let mut common = self.pool.take_common(count);
        if common < count {
            let Some((own, more)) = self.pool.take_rest(party, count - common) else {
                self.pool.give_common_back(common);
                return false;
            };
            common += more;
            if own > 0 {
                self.own += own;
                self.party.get_or_insert_with(|| party.into());
            }
        }
        self.common += common;
        true
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.common > 0 {
            self.pool.give_common_back(self.common);
        }
        if let Some(party) = &self.party {
            self.pool.give_own_back(party, self.own);
        }
    }
}

impl Parts {
    fn settle_reserve(&mut self) {
        self.reserve = self.total / 2 / self.parties();
    }

    fn parties(&self) -> usize {
        match self.members {
            Members::Fixed(parties) => parties,
            Members::Coming => self.used.len() + 1,
        }
    }

    fn common_total(&self) -> usize {
        self.total - self.reserve * self.parties()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill<'p>(pool: &'p Pool, party: &str) -> Vec<Taken<'p>> {
        std::iter::from_fn(|| pool.take(party, 1)).collect()
    }

    #[test]
    fn d12_a_flood_leaves_the_others_their_part() {
        let pool = Pool::among(100, 5);
        let flood = fill(&pool, "noisy");
        assert_eq!(flood.len(), 60);
        let others: Vec<_> = ["a", "b", "c", "d"].iter().map(|party| fill(&pool, party)).collect();
        assert!(others.iter().all(|taken| taken.len() == 10));
        drop(flood);
        assert_eq!(fill(&pool, "a").len(), 50, "what is common is there again");
    }

    #[test]
    fn one_alone_has_all() {
        let pool = Pool::among(3, 1);
        assert_eq!(fill(&pool, "1").len(), 3);
        let mut one = pool.take("1", 2).unwrap();
        assert!(!one.add("1", 2) && one.add("1", 1) && !one.add("1", 1));
        drop(one);
        assert_eq!(fill(&pool, "1").len(), 3);
    }

    #[test]
    fn d12_there_is_always_a_part_for_who_comes_next() {
        let pool = Pool::for_comers(120);
        let first = fill(&pool, "1");
        assert_eq!(first.len(), 90);
        let second = fill(&pool, "2");
        assert!(second.len() >= 20, "{}", second.len());
        assert!(fill(&pool, "3").len() >= 5);
        drop((first, second));
        assert_eq!(fill(&pool, "4").len(), 90);
        assert!(pool.parts().used.is_empty() && pool.common_used.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn one_alone_has_all_of_a_pool_that_is_too_small_to_be_divided() {
        let pool = Pool::for_comers(2);
        let both = fill(&pool, "1");
        assert_eq!(both.len(), 2);
        drop(both);
        assert_eq!(fill(&pool, "2").len(), 2);
    }

    #[test]
    fn who_takes_nothing_is_no_party() {
        let pool = Pool::for_comers(10);
        let mut nothing = pool.hold();
        assert!(nothing.add("1", 0) && pool.take("2", 0).is_some());
        drop(nothing);
        assert!(pool.parts().used.is_empty());
    }

    #[test]
    fn it_may_be_divided_anew_while_it_is_used() {
        let pool = Pool::among(100, 1);
        let all = fill(&pool, "1");
        pool.resize(100, 2);
        assert!(pool.take("1", 1).is_none());
        assert_eq!(fill(&pool, "2").len(), 25);
        drop(all);
        assert_eq!(fill(&pool, "1").len(), 75);
    }
}
