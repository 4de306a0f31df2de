//! The last step of the line: a safe input is counted, and its outcome is what the sender or source hears.

use connector_sdk::Outcome;

use crate::delivery::Safe;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, REFUSED_BY_KAFKA};
use crate::telemetry::counters::{Fate, InFlight};

/// Counts an input that is safe where `safe` says, and says so.
pub fn settle(instance: &Instance, in_flight: InFlight, prepared: Prepared, safe: &Safe) -> Outcome {
    let fate = fate(&prepared);
    settle_as(instance, in_flight, prepared, safe, fate)
}

/// What came of an input over the push lane.
pub struct Delivered {
    prepared: Prepared,
    /// Absent: it was safe before.
    safe: Option<Safe>,
    /// So many of its events were published now, the others before.
    events: usize,
}

impl Delivered {
    pub fn new(prepared: Prepared, safe: Safe, events: usize) -> Self {
        Self { prepared, safe: Some(safe), events }
    }

    pub fn duplicate(prepared: Prepared) -> Self {
        Self { prepared, safe: None, events: 0 }
    }
}

/// Counts an input of the push lane, and says what its sender hears: a repeat is as safe as its first copy.
pub fn settle_delivered(instance: &Instance, in_flight: InFlight, delivered: Delivered) -> Outcome {
    let Delivered { prepared, safe, events } = delivered;
    let fate = fate(&prepared);
    let Some(safe) = safe else {
        in_flight.settle(Fate::Duplicate);
        return outcome(fate, prepared);
    };
    let own = match fate {
        Fate::Published { .. } => Fate::Published { events },
        other => other,
    };
    let outcome = settle_as(instance, in_flight, prepared, &safe, own);
    safe.claim();
    outcome
}

fn settle_as(instance: &Instance, in_flight: InFlight, prepared: Prepared, safe: &Safe, fate: Fate) -> Outcome {
    for item in &prepared.skipped {
        instance.counters.skipped(item);
    }
    for code in &prepared.dead_lettered {
        instance.counters.dead_lettered(code);
    }
    in_flight.settle(match safe {
        Safe::OnKafka => fate,
        Safe::Spooled(_) => Fate::Spooled,
    });
    outcome(fate, prepared)
}

fn outcome(fate: Fate, prepared: Prepared) -> Outcome {
    match fate {
        Fate::DeadLettered => Outcome::DeadLettered,
        _ => Outcome::Safe { event_ids: prepared.event_ids },
    }
}

/// What became of an input as a whole.
pub fn fate(prepared: &Prepared) -> Fate {
    let events = prepared.event_ids.len();
    match (events, prepared.dead_lettered.is_empty(), prepared.skipped.is_empty()) {
        (0, _, false) => Fate::Skipped,
        (0, false, true) => Fate::DeadLettered,
        _ => Fate::Published { events },
    }
}

/// What stands for an input of which Kafka refused a record for good and took the dead letter.
pub fn refused() -> Prepared {
    Prepared { dead_lettered: vec![REFUSED_BY_KAFKA], ..Prepared::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_one_fate() {
        let prepared = |events: usize, skipped: usize, dead: usize| Prepared {
            event_ids: vec![String::new(); events],
            skipped: vec![String::new(); skipped],
            dead_lettered: vec!["code"; dead],
            ..Prepared::default()
        };
        assert_eq!(fate(&prepared(2, 1, 1)), Fate::Published { events: 2 });
        assert_eq!(fate(&prepared(0, 0, 1)), Fate::DeadLettered);
        assert_eq!(fate(&prepared(0, 1, 0)), Fate::Skipped);
        // A fetch order alone.
        assert_eq!(fate(&prepared(0, 0, 0)), Fate::Published { events: 0 });
    }
}
