//! What a run prints.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::judge::Verdict;
use crate::ledger::Sums;

/// Figures of what was seen on Kafka.
#[derive(Clone, Debug)]
pub struct SeenSums {
    /// Events by their kind.
    pub kinds: BTreeMap<String, usize>,
    pub letters: usize,
}

/// Everything about a run; its last line is `lost=… doubled=… reordered=… kills=…`.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// What was done, in words.
    pub story: String,
    pub kills: usize,
    pub verdict: Verdict,
    pub sums: Sums,
    pub seen: SeenSums,
    /// How each gateway ended when it was told to: an empty text, or what was wrong.
    pub goodbyes: Vec<String>,
    pub took: Duration,
}

impl Report {
    /// Nothing lost, doubled, reordered, corrupted or invented, and the gateways ended in good order.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.goodbyes.iter().all(String::is_empty)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, story, kills, verdict, sums, seen, goodbyes, took } = self;
        writeln!(f, "seed {seed} took {} s", took.as_secs())?;
        writeln!(f, "what happened: {story}")?;
        writeln!(
            f,
            "ledger: {} inputs offered, {} owed; {} deliveries: {} answered 2xx, {} otherwise, {} cut, {} without answer",
            sums.offered, sums.obligations, sums.attempts, sums.safe, sums.not_safe, sums.cut, sums.silent
        )?;
        let kinds: Vec<_> = seen.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(f, "kafka: {}; {} dead letters", kinds.join(", "), seen.letters)?;
        writeln!(f, "{verdict}")?;
        for goodbye in goodbyes.iter().filter(|goodbye| !goodbye.is_empty()) {
            writeln!(f, "{goodbye}")?;
        }
        let [lost, doubled, reordered] = [&verdict.lost, &verdict.doubled, &verdict.reordered].map(Vec::len);
        write!(f, "lost={lost} doubled={doubled} reordered={reordered} kills={kills}")
    }
}
