//! The short form of `tests/faults/run`: two gateways, three brokers, every sort of load, twenty kills and what comes with
//! them. `INLET_FAULTS_SEED=S` runs the seed that a failure printed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use inlet_faults::run::run;

const KILLS: usize = 20;

fn seed() -> Result<u64> {
    match std::env::var("INLET_FAULTS_SEED") {
        Ok(text) => text.parse().with_context(|| format!("INLET_FAULTS_SEED={text} is no number")),
        Err(_) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64 % 1_000_000),
    }
}

#[test]
fn d1_d2_d3_d4_d5_twenty_kills_lose_double_and_reorder_nothing() -> Result<()> {
    let seed = seed()?;
    println!("INLET_FAULTS_SEED={seed}");
    let report = run(seed, KILLS)?;
    println!("{report}");
    ensure!(report.kills >= KILLS, "only {} kills", report.kills);
    ensure!(report.is_clean(), "INLET_FAULTS_SEED={seed}: see above");
    Ok(())
}
