//! What a run prints.

use std::fmt;
use std::time::Duration;

use super::Options;
use super::faults::Counts;
use crate::judge::Verdict;
use crate::ledger::Sums;

/// Figures of what was seen on Kafka.
#[derive(Clone, Copy, Debug)]
pub struct SeenSums {
    pub events: usize,
    pub letters: usize,
    pub gaps: usize,
    pub health: usize,
}

/// Everything about a run; its last line is `lost=… doubled=… reordered=… kills=…`.
#[derive(Clone, Debug)]
pub struct Report {
    pub options: Options,
    pub verdict: Verdict,
    pub sums: Sums,
    pub faults: Counts,
    pub seen: SeenSums,
    /// How each gateway ended when it was told to.
    pub gateways: Vec<String>,
    pub took: Duration,
}

impl Report {
    /// Nothing lost, doubled, reordered, corrupted or invented, and the gateways ended in good order.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.gateways.iter().all(String::is_empty)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, verdict, sums, faults, seen, gateways, took } = self;
        writeln!(f, "seed {} took {} s", options.seed, took.as_secs())?;
        writeln!(f, "faults: {faults}")?;
        writeln!(
            f,
            "ledger: {} inputs offered, {} owed; {} deliveries: {} answered 2xx, {} otherwise, {} cut, {} without answer",
            sums.offered, sums.obligations, sums.attempts, sums.safe, sums.not_safe, sums.cut, sums.silent
        )?;
        writeln!(
            f,
            "kafka: {} events ({} connector.gap, {} connector.health), {} dead letters",
            seen.events, seen.gaps, seen.health, seen.letters
        )?;
        writeln!(f, "{verdict}")?;
        for ended in gateways.iter().filter(|ended| !ended.is_empty()) {
            writeln!(f, "{ended}")?;
        }
        write!(
            f,
            "lost={} doubled={} reordered={} kills={}",
            verdict.lost.len(),
            verdict.doubled.len(),
            verdict.reordered.len(),
            faults.kills
        )
    }
}
