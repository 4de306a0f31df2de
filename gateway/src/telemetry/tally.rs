//! The conservation law of one instance's inputs, readable as a whole at any moment.
//!
//! `accepted = published + skipped + duplicate + dead_lettered + returned + in flight`. An input in the spool is in flight,
//! and counted as `spooled` beside. All of it stands behind one lock
//! for each instance, so that no reader sees an input that has left one column and not yet reached the next; and all that
//! changes with every input stands there, since what several processors change costs by the number of places.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::counters::{InstanceDetail, InstanceLabels};
use super::latency::Latency;
use super::thinned::Thinned;

/// Names of types that one instance may put into metrics; what comes beyond is counted as [`OTHER_DETAIL`]. A provider
/// names its types, so their number is not ours to trust.
const DETAILS_MAX: usize = 64;
const DETAIL_MAX_BYTES: usize = 64;
const OTHER_DETAIL: &str = "other";

/// What became of an accepted input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Published {
        events: usize,
    },
    Skipped,
    Duplicate,
    DeadLettered,
    /// Safe in the spool, and in flight until Kafka has it.
    Spooled,
    /// Not safe; the sender or source still has it.
    Returned(Returned),
}

/// Why an input was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Not confirmed in time. It may have arrived all the same: its next delivery then is a repeat with the same id.
    Deadline,
    /// Kafka does not confirm.
    Kafka,
    /// The blob store does not take its bytes.
    Blobs,
    /// Its account has more on the way than its share.
    Share,
    /// The replay lane's epoch ended first; the input is read again from the committed position.
    Epoch,
    /// Whoever waited for it went away: the caller hung up, or the driver was stopped.
    Abandoned,
}

impl Returned {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Kafka => "kafka",
            Self::Blobs => "blobs",
            Self::Share => "share",
            Self::Epoch => "epoch",
            Self::Abandoned => "abandoned",
        }
    }
}

/// An instance's inputs, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub accepted: u64,
    pub published: u64,
    pub skipped: u64,
    pub duplicate: u64,
    pub dead_lettered: u64,
    pub returned: u64,
    /// Of those in flight: safe in the spool.
    pub spooled: u64,
}

impl Tally {
    /// Accepted, and neither on Kafka nor given back: under way, or in the spool.
    pub fn in_flight(&self) -> u64 {
        self.accepted - self.published - self.skipped - self.duplicate - self.dead_lettered - self.returned
    }

    /// Accepted, and its sender or source waits for the outcome.
    pub fn under_way(&self) -> u64 {
        self.in_flight().saturating_sub(self.spooled)
    }

    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Published { .. } => self.published += 1,
            Fate::Skipped => self.skipped += 1,
            Fate::Duplicate => self.duplicate += 1,
            Fate::DeadLettered => self.dead_lettered += 1,
            Fate::Returned(_) => self.returned += 1,
            Fate::Spooled => self.spooled += 1,
        }
    }

    /// The columns by their name in metrics.
    pub(super) fn outcomes(&self) -> [(&'static str, u64); 5] {
        [
            ("published", self.published),
            ("skipped", self.skipped),
            ("duplicate", self.duplicate),
            ("dead_lettered", self.dead_lettered),
            ("returned", self.returned),
        ]
    }
}

/// One instance's counters; clones share them.
#[derive(Clone)]
pub struct InstanceCounters(Arc<Shared>);

struct Shared {
    labels: InstanceLabels,
    counted: Mutex<Counted>,
    details: Mutex<BTreeSet<String>>,
    series: Series,
    given_back: Thinned,
}

/// What changes with every input.
#[derive(Clone, Default)]
pub(super) struct Counted {
    pub tally: Tally,
    /// Events that are safe on Kafka.
    pub events: u64,
    /// From receipt to settled.
    pub latency: Latency,
}

impl Counted {
    fn settle(&mut self, fate: Fate) {
        self.tally.count(fate);
        if let Fate::Published { events } = fate {
            self.events += events as u64;
        }
    }
}

/// What is counted beside that.
pub(super) struct Series {
    pub running: Gauge,
    pub troubles: Gauge,
    pub lag: Family<InstanceDetail, Gauge>,
    pub skipped: Family<InstanceDetail, Counter>,
    pub dead_letters: Family<InstanceDetail, Counter>,
    pub refused: Family<InstanceDetail, Counter>,
    pub returned: Family<InstanceDetail, Counter>,
}

impl InstanceCounters {
    pub(super) fn new(labels: InstanceLabels, series: Series) -> Self {
        Self(Arc::new(Shared {
            labels,
            counted: Mutex::default(),
            details: Mutex::default(),
            series,
            given_back: Thinned::default(),
        }))
    }

    pub(super) fn labels(&self) -> &InstanceLabels {
        &self.0.labels
    }

    /// An input passed admission. The guard counts it as returned unless it is settled otherwise.
    pub fn accept(&self) -> InFlight {
        self.accept_at(Instant::now())
    }

    /// As [`accept`](Self::accept), for whoever has looked at the clock.
    pub fn accept_at(&self, since: Instant) -> InFlight {
        self.change(|counted| counted.tally.accepted += 1);
        InFlight { counters: self.clone(), since, settled: false }
    }

    /// All columns as of one moment.
    pub fn tally(&self) -> Tally {
        self.lock().tally
    }

    /// All that is counted, as of one moment.
    pub(super) fn counted(&self) -> Counted {
        self.lock().clone()
    }

    /// Inputs that the spool holds without having been counted here: of an earlier process, or given back to their
    /// senders meanwhile.
    pub fn recovered(&self, inputs: u64) {
        self.change(|counted| {
            counted.tally.accepted += inputs;
            counted.tally.spooled += inputs;
        });
    }

    /// The spool brought one input to Kafka.
    pub fn drained(&self, fate: Fate) {
        self.change(|counted| {
            counted.tally.spooled = counted.tally.spooled.saturating_sub(1);
            counted.settle(fate);
        });
    }

    /// The instance's name.
    pub fn instance(&self) -> &str {
        self.0.labels.instance()
    }

    /// An item that was skipped, by the provider's name of its type.
    pub fn skipped(&self, item: &str) {
        self.0.series.skipped.get_or_create(&self.bounded(item)).inc();
    }

    pub fn dead_lettered(&self, code: &'static str) {
        self.0.series.dead_letters.get_or_create(&self.0.labels.detail(code)).inc();
    }

    pub fn refused(&self, reason: &'static str) {
        self.0.series.refused.get_or_create(&self.0.labels.detail(reason)).inc();
    }

    /// Parts of the instance that are not well.
    pub fn troubles(&self, count: usize) {
        self.0.series.troubles.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Items of a stream that wait at its source.
    pub fn lag(&self, stream: &str, behind: u64) {
        let behind = i64::try_from(behind).unwrap_or(i64::MAX);
        self.0.series.lag.get_or_create(&self.bounded(stream)).set(behind);
    }

    /// When to write that inputs are given back.
    pub fn given_back(&self) -> &Thinned {
        &self.0.given_back
    }

    pub fn running(&self, running: bool) {
        self.0.series.running.set(running.into());
    }

    fn change(&self, change: impl FnOnce(&mut Counted)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bounded(&self, detail: &str) -> InstanceDetail {
        let (detail, _) = connector_sdk::text::cut(detail, DETAIL_MAX_BYTES);
        let mut known = self.0.details.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = if known.contains(detail) {
            detail
        } else if known.len() < DETAILS_MAX {
            known.insert(detail.to_owned());
            detail
        } else {
            OTHER_DETAIL
        };
        self.0.labels.detail(detail)
    }
}

/// An accepted input on its way.
pub struct InFlight {
    counters: InstanceCounters,
    since: Instant,
    settled: bool,
}

impl InFlight {
    pub fn settle(mut self, fate: Fate) {
        self.count(fate);
    }

    fn count(&mut self, fate: Fate) {
        self.settled = true;
        let seconds = self.since.elapsed().as_secs_f64();
        self.counters.change(|counted| {
            counted.settle(fate);
            counted.latency.observe(seconds);
        });
        if let Fate::Returned(why) = fate {
            let returned = &self.counters.0.series.returned;
            returned.get_or_create(&self.counters.labels().detail(why.as_str())).inc();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.settled {
            self.count(Fate::Returned(Returned::Abandoned));
        }
    }
}
