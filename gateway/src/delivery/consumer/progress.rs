//! How far a partition is done when work on it ends out of order: up to the first record that is still being worked on.

use std::collections::{BTreeSet, HashMap};

/// Partitions of one topic.
#[derive(Default)]
pub(super) struct Progress {
    partitions: HashMap<i32, Partition>,
    assignments: u64,
}

#[derive(Default)]
struct Partition {
    /// Tells records of an earlier assignment apart.
    assignment: u64,
    working: BTreeSet<i64>,
    /// One beyond the newest record that was handed out.
    next: i64,
}

impl Progress {
    /// A record is handed out; the result names the assignment that it belongs to.
    pub fn begin(&mut self, partition: i32, offset: i64) -> u64 {
        let assignments = &mut self.assignments;
        let entry = self.partitions.entry(partition).or_insert_with(|| {
            *assignments += 1;
            Partition { assignment: *assignments, ..Partition::default() }
        });
        entry.working.insert(offset);
        entry.next = entry.next.max(offset + 1);
        entry.assignment
    }

    /// A record is done: the offset from which a successor would have to begin. `None`: the partition was taken away.
    pub fn done(&mut self, partition: i32, offset: i64, assignment: u64) -> Option<i64> {
        let entry = self.partitions.get_mut(&partition).filter(|entry| entry.assignment == assignment)?;
        entry.working.remove(&offset);
        Some(entry.working.first().copied().unwrap_or(entry.next))
    }

    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unfinished_is_passed_over() {
        let mut progress = Progress::default();
        let a = progress.begin(0, 10);
        progress.begin(0, 11);
        progress.begin(0, 14);
        assert_eq!(progress.done(0, 11, a), Some(10));
        assert_eq!(progress.done(0, 10, a), Some(14));
        assert_eq!(progress.done(0, 14, a), Some(15));
    }

    #[test]
    fn work_of_an_earlier_assignment_does_not_count() {
        let mut progress = Progress::default();
        let first = progress.begin(0, 10);
        progress.revoke(0);
        assert_eq!(progress.done(0, 10, first), None);
        let second = progress.begin(0, 10);
        assert_eq!(progress.done(0, 10, first), None);
        assert_eq!(progress.done(0, 10, second), Some(11));
    }
}
