//! Providers send again what was answered 2xx: late, where D4 promises that nothing more is published, and early, where it
//! does not.

use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::push::{Parcel, deliver};
use super::{Desk, GIVE_UP};
use crate::dice::Dice;
use crate::ledger::Answer;

/// Threads that send again.
pub const REPEATERS: usize = 2;
/// One in so many inputs comes again late, one in so many early.
const LATE: u64 = 8;
const EARLY: u64 = 20;
/// After the 2xx: from, to.
const LATE_MS: (u64, u64) = (5_050, 9_000);
const EARLY_MS: (u64, u64) = (0, 3_000);
/// A redelivery that is not answered 2xx is tried again so often, after so long.
const TRIES: usize = 5;
const TRY_AGAIN: Duration = Duration::from_millis(700);

struct Planned {
    due: Instant,
    parcel: Parcel,
    tries: usize,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // The earliest is the greatest.
        other.due.cmp(&self.due)
    }
}

#[derive(Default)]
struct State {
    planned: BinaryHeap<Planned>,
    closed: bool,
}

/// What is to be sent again, and when.
#[derive(Default)]
pub struct Again {
    state: Mutex<State>,
    changed: Condvar,
}

impl Again {
    /// Decides about an input that was answered 2xx just now.
    pub fn plan(&self, parcel: &Parcel, dice: &mut Dice) {
        let span = match (dice.one_in(LATE), dice.one_in(EARLY)) {
            (true, _) => LATE_MS,
            (_, true) => EARLY_MS,
            _ => return,
        };
        let due = Instant::now() + Duration::from_millis(dice.between(span.0, span.1));
        self.put(Planned { due, parcel: parcel.clone(), tries: TRIES });
    }

    /// Nothing more will be planned: the senders end with what there is.
    pub fn close(&self) {
        self.state.lock().expect("no panic while held").closed = true;
        self.changed.notify_all();
    }

    fn put(&self, planned: Planned) {
        self.state.lock().expect("no panic while held").planned.push(planned);
        self.changed.notify_all();
    }

    /// The next one when it is due; `None` at the end.
    fn next(&self) -> Option<Planned> {
        let mut state = self.state.lock().expect("no panic while held");
        loop {
            let now = Instant::now();
            let wait = match state.planned.peek() {
                Some(first) if first.due <= now => return state.planned.pop(),
                Some(first) => first.due - now,
                None if state.closed => return None,
                None => Duration::from_secs(1),
            };
            state = self.changed.wait_timeout(state, wait).expect("no panic while held").0;
        }
    }
}

pub fn send(desk: &Desk, mut dice: Dice) -> Result<()> {
    while let Some(Planned { parcel, tries, .. }) = desk.again.next() {
        if desk.phase.is(GIVE_UP) {
            return Ok(());
        }
        let replica = dice.roll(desk.view.ingress.len() as u64) as usize;
        let (answer, _) = deliver(desk, &parcel, replica);
        if answer != Answer::Safe && tries > 1 {
            desk.again.put(Planned { due: Instant::now() + TRY_AGAIN, parcel, tries: tries - 1 });
        }
    }
    Ok(())
}
