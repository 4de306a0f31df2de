//! The last step of the line: a safe input is counted, and its outcome is what the sender or source hears.

use connector_sdk::Outcome;

use crate::delivery::Safe;
use crate::pipeline::instance::Instance;
use crate::pipeline::line::{Prepared, REFUSED_BY_KAFKA};
use crate::telemetry::counters::{Fate, InFlight};

/// Counts an input that is safe where `safe` says, and says so.
pub fn settle(instance: &Instance, in_flight: InFlight, prepared: Prepared, safe: &Safe) -> Outcome {
    let fate = fate(&prepared);
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
