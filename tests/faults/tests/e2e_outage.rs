//! The short forms of the other bars: Kafka away under load, rolling restarts and a scale-down with a full spool, an owner
//! that is frozen beyond its session.

use std::time::Duration;

use anyhow::{Result, ensure};
use inlet_faults::run::outage::{self, Options};
use inlet_faults::run::{frozen, rolling};

const SEED: u64 = 1;
const LAG_MAX: Duration = Duration::from_secs(25);

#[test]
fn d5_d6_input_is_taken_while_kafka_is_away_and_all_of_it_comes_in_order() -> Result<()> {
    let report = outage::run(Options { away: Duration::from_secs(20), rate: 60 })?;
    println!("{report}");
    ensure!(report.is_clean(), "see above");
    Ok(())
}

#[test]
fn d2_d11_a_rolling_restart_and_a_scale_down_with_a_full_spool_lose_nothing() -> Result<()> {
    let report = rolling::run(SEED)?;
    println!("{report}");
    ensure!(report.is_clean(), "see above");
    Ok(())
}

#[test]
fn d3_a_frozen_owner_doubles_nothing_and_hardly_delays_the_others() -> Result<()> {
    let (report, lag) = frozen::run(SEED)?;
    println!("{report} lag={lag:?}");
    ensure!(report.is_clean(), "see above");
    ensure!(lag <= LAG_MAX, "others waited {lag:?}");
    Ok(())
}
