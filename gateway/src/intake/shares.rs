//! Fair shares of something bounded (places, bytes): each party has a part that nobody else can take.
//!
//! Half of the pool is split evenly among the parties and kept for them; the other half goes to whoever comes first. So
//! a party alone uses nearly all of it, and one that floods leaves the others what is theirs. A party that asks for
//! more is refused at once: nothing queues here.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

/// A bounded pool among parties.
pub struct Pool<K>(Mutex<State<K>>);

struct State<K> {
    total: usize,
    /// What is kept for each party.
    reserve: usize,
    /// Taken beyond the reserves.
    common: usize,
    used: HashMap<K, usize, RandomState>,
    /// Who the parties are: fixed, or whoever uses it and one who is yet to come.
    members: Members,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    Fixed(usize),
    Coming,
}

/// What one party has taken; given back when dropped. The party is lent or its own.
pub struct Taken<'p, K: Eq + Hash, B: Borrow<K>> {
    pool: &'p Pool<K>,
    party: B,
    count: usize,
}

impl<K: Eq + Hash + Clone> Pool<K> {
    /// For a number of parties that is known, at least one.
    pub fn among(total: usize, parties: usize) -> Self {
        Self::new(total, Members::Fixed(parties.max(1)))
    }

    /// For parties that come and go. There is always a part for one who is not there yet.
    pub fn for_comers(total: usize) -> Self {
        Self::new(total, Members::Coming)
    }

    fn new(total: usize, members: Members) -> Self {
        let mut state = State { total, reserve: 0, common: 0, used: HashMap::default(), members };
        state.settle_reserve();
        Self(Mutex::new(state))
    }

    /// Another total or number of parties; what is taken stays so.
    pub fn resize(&self, total: usize, parties: usize) {
        let mut state = self.state();
        state.total = total;
        if state.members != Members::Coming {
            state.members = Members::Fixed(parties.max(1));
        }
        state.settle_reserve();
    }

    /// The most that one party can have.
    pub fn most(&self) -> usize {
        let state = self.state();
        state.reserve + state.common_total()
    }

    /// Takes so much for a party; `None`: neither its part nor what is common has room.
    pub fn take<B: Borrow<K>>(&self, party: B, count: usize) -> Option<Taken<'_, K, B>> {
        if !self.state().take(party.borrow(), count) {
            return None;
        }
        Some(Taken { pool: self, party, count })
    }

    /// Nothing yet; to be added to.
    pub fn hold<B: Borrow<K>>(&self, party: B) -> Taken<'_, K, B> {
        Taken { pool: self, party, count: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, B: Borrow<K>> Taken<'_, K, B> {
    /// Takes more; false: there is no room, and what was taken before stays.
    pub fn add(&mut self, count: usize) -> bool {
        let taken = self.pool.state().take(self.party.borrow(), count);
        if taken {
            self.count += count;
        }
        taken
    }
}

impl<K: Eq + Hash + Clone> State<K> {
    fn take(&mut self, party: &K, count: usize) -> bool {
        // Nothing is always there, and nothing is given back for it.
        if count == 0 {
            return true;
        }
        let (reserve, common_total) = (self.reserve, self.common_total());
        let beyond = |used: usize| used.saturating_sub(reserve);
        let Some(used) = self.used.get_mut(party) else { return self.take_first(party, count) };
        let common = self.common - beyond(*used) + beyond(*used + count);
        let fits = common == self.common || common <= common_total;
        if fits {
            self.common = common;
            *used += count;
        }
        fits
    }

    /// For a party that has nothing yet.
    fn take_first(&mut self, party: &K, count: usize) -> bool {
        let is_new = self.members == Members::Coming;
        self.used.insert(party.clone(), 0);
        if is_new {
            self.settle_reserve();
        }
        let common = self.common + self.beyond(count);
        let fits = common == self.common || common <= self.common_total();
        if fits {
            self.common = common;
            self.used.insert(party.clone(), count);
        } else {
            self.used.remove(party);
            if is_new {
                self.settle_reserve();
            }
        }
        fits
    }
}

impl<K: Eq + Hash> State<K> {
    fn settle_reserve(&mut self) {
        self.reserve = self.total / 2 / self.parties();
        self.common = self.used.values().map(|used| self.beyond(*used)).sum();
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

    fn beyond(&self, used: usize) -> usize {
        used.saturating_sub(self.reserve)
    }

    fn give_back(&mut self, party: &K, count: usize) -> bool {
        let used = self.used.get(party).copied().unwrap_or(0);
        let left = used.saturating_sub(count);
        self.common = self.common - self.beyond(used).min(self.common) + self.beyond(left);
        match left {
            0 => self.used.remove(party).is_some(),
            left => {
                if let Some(used) = self.used.get_mut(party) {
                    *used = left;
                }
                false
            }
        }
    }
}

impl<K: Eq + Hash, B: Borrow<K>> Drop for Taken<'_, K, B> {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut state = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = state.give_back(self.party.borrow(), self.count);
        if is_gone && state.members == Members::Coming {
            state.settle_reserve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill<'p, K: Eq + Hash + Clone>(pool: &'p Pool<K>, party: &'p K) -> Vec<Taken<'p, K, &'p K>> {
        std::iter::from_fn(|| pool.take(party, 1)).collect()
    }

    #[test]
    fn d12_a_flood_leaves_the_others_their_part() {
        let pool = Pool::among(100, 5);
        let flood = fill(&pool, &"noisy");
        assert_eq!(flood.len(), 60);
        let others: Vec<_> = ["a", "b", "c", "d"].iter().map(|party| fill(&pool, party)).collect();
        assert!(others.iter().all(|taken| taken.len() == 10));
        drop(flood);
        assert_eq!(fill(&pool, &"a").len(), 50, "what is common is there again");
    }

    #[test]
    fn one_alone_has_all() {
        let pool = Pool::among(3, 1);
        assert_eq!(fill(&pool, &1).len(), 3);
        let mut one = pool.take(&1, 2).unwrap();
        assert!(!one.add(2) && one.add(1) && !one.add(1));
        drop(one);
        assert_eq!(fill(&pool, &1).len(), 3);
    }

    #[test]
    fn d12_there_is_always_a_part_for_who_comes_next() {
        let pool = Pool::for_comers(120);
        let first = fill(&pool, &1);
        assert_eq!(first.len(), 90);
        let second = fill(&pool, &2);
        assert!(second.len() >= 20, "{}", second.len());
        assert!(fill(&pool, &3).len() >= 5);
        drop((first, second));
        assert_eq!(fill(&pool, &4).len(), 90);
        assert!(pool.state().used.is_empty() && pool.state().common == 0);
    }

    #[test]
    fn who_takes_nothing_is_no_party() {
        let pool = Pool::<i32>::for_comers(10);
        let mut nothing = pool.hold(&1);
        assert!(nothing.add(0) && pool.take(&2, 0).is_some());
        drop(nothing);
        assert!(pool.state().used.is_empty());
    }

    #[test]
    fn it_may_be_divided_anew_while_it_is_used() {
        let pool = Pool::among(100, 1);
        let all = fill(&pool, &1);
        pool.resize(100, 2);
        assert!(pool.take(&1, 1).is_none());
        assert_eq!(fill(&pool, &2).len(), 25);
        drop(all);
        assert_eq!(fill(&pool, &1).len(), 75);
    }
}
