//! Metrics: what came in and what became of it.
//!
//! Of every instance: `accepted = published + skipped + duplicate + dead_lettered + returned + in flight`, counted in
//! inputs. `returned` inputs were not safe in time and were given back to their sender or source, who has them still.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InstanceLabels {
    instance: String,
    connector: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InstanceDetail {
    instance: String,
    connector: String,
    detail: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InstanceOutcome {
    instance: String,
    connector: String,
    outcome: &'static str,
}

/// Seconds; from a fast broker to the longest deadline.
const LATENCY_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The process's metrics.
pub struct Metrics {
    registry: Registry,
    accepted: Family<InstanceLabels, Counter>,
    outcomes: Family<InstanceOutcome, Counter>,
    in_flight: Family<InstanceLabels, Gauge>,
    events: Family<InstanceLabels, Counter>,
    skipped: Family<InstanceDetail, Counter>,
    dead_letters: Family<InstanceDetail, Counter>,
    refused: Family<InstanceDetail, Counter>,
    running: Family<InstanceLabels, Gauge>,
    latency: Family<InstanceLabels, Histogram>,
    /// 1 while Kafka confirms, 0 while it does not.
    pub kafka_up: Gauge,
    /// Requests for instances that are not there.
    pub unknown_instance: Counter,
    /// Requests turned away because too many were in flight.
    pub overload: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("inlet");
        let metrics = Self {
            accepted: Family::default(),
            outcomes: Family::default(),
            in_flight: Family::default(),
            events: Family::default(),
            skipped: Family::default(),
            dead_letters: Family::default(),
            refused: Family::default(),
            running: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            kafka_up: Gauge::default(),
            unknown_instance: Counter::default(),
            overload: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("inputs_accepted", "Inputs that passed admission", metrics.accepted.clone());
        registry.register("inputs", "Accepted inputs by what became of them", metrics.outcomes.clone());
        registry.register("inputs_in_flight", "Accepted inputs not settled yet", metrics.in_flight.clone());
        registry.register("events_published", "Events that are safe on Kafka", metrics.events.clone());
        registry.register("items_skipped", "Known items deliberately not published, by type", metrics.skipped.clone());
        registry.register(
            "items_dead_lettered",
            "Items sent to the dead-letter topic, by reason",
            metrics.dead_letters.clone(),
        );
        registry.register("requests_refused", "Requests refused at admission, by reason", metrics.refused.clone());
        registry.register("instance_running", "1 while the instance's intake runs here", metrics.running.clone());
        registry.register("settle_seconds", "From receipt to settled", metrics.latency.clone());
        registry.register("kafka_up", "1 while Kafka confirms", metrics.kafka_up.clone());
        registry.register(
            "requests_unknown_instance",
            "Requests for unknown instances",
            metrics.unknown_instance.clone(),
        );
        registry.register("requests_overload", "Requests turned away under overload", metrics.overload.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The metrics in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The counters of one instance, resolved once.
    pub fn instance(&self, instance: &str, connector: &str) -> InstanceCounters {
        let labels = InstanceLabels { instance: instance.to_owned(), connector: connector.to_owned() };
        let outcome = |outcome| {
            let labels = InstanceOutcome { instance: instance.to_owned(), connector: connector.to_owned(), outcome };
            self.outcomes.get_or_create(&labels).clone()
        };
        InstanceCounters {
            accepted: self.accepted.get_or_create(&labels).clone(),
            published: outcome("published"),
            skipped: outcome("skipped"),
            duplicate: outcome("duplicate"),
            dead_lettered: outcome("dead_lettered"),
            returned: outcome("returned"),
            in_flight: self.in_flight.get_or_create(&labels).clone(),
            events: self.events.get_or_create(&labels).clone(),
            running: self.running.get_or_create(&labels).clone(),
            latency: self.latency.get_or_create(&labels).clone(),
            skipped_items: self.skipped.clone(),
            dead_letters: self.dead_letters.clone(),
            refused: self.refused.clone(),
            labels,
        }
    }
}

/// What became of an accepted input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Published {
        events: usize,
    },
    Skipped,
    Duplicate,
    DeadLettered,
    /// Not safe in time; the sender or source still has it.
    Returned,
}

/// One instance's counters.
pub struct InstanceCounters {
    labels: InstanceLabels,
    accepted: Counter<u64, AtomicU64>,
    published: Counter<u64, AtomicU64>,
    skipped: Counter<u64, AtomicU64>,
    duplicate: Counter<u64, AtomicU64>,
    dead_lettered: Counter<u64, AtomicU64>,
    returned: Counter<u64, AtomicU64>,
    in_flight: Gauge,
    events: Counter<u64, AtomicU64>,
    running: Gauge,
    latency: Histogram,
    skipped_items: Family<InstanceDetail, Counter>,
    dead_letters: Family<InstanceDetail, Counter>,
    refused: Family<InstanceDetail, Counter>,
}

impl InstanceCounters {
    /// An input passed admission. The guard counts it as returned unless it is settled otherwise.
    pub fn accept(&self) -> InFlight<'_> {
        self.accepted.inc();
        self.in_flight.inc();
        InFlight { counters: self, since: Instant::now(), settled: false }
    }

    pub fn skipped(&self, item: &str) {
        self.skipped_items.get_or_create(&self.detail(item)).inc();
    }

    pub fn dead_lettered(&self, reason: &str) {
        self.dead_letters.get_or_create(&self.detail(reason)).inc();
    }

    pub fn refused(&self, reason: &str) {
        self.refused.get_or_create(&self.detail(reason)).inc();
    }

    pub fn running(&self, running: bool) {
        self.running.set(running.into());
    }

    fn detail(&self, detail: &str) -> InstanceDetail {
        // A provider names its types; cut so that a hostile name cannot bloat the metrics.
        let (detail, _) = connector_sdk::text::cut(detail, 64);
        InstanceDetail {
            instance: self.labels.instance.clone(),
            connector: self.labels.connector.clone(),
            detail: detail.to_owned(),
        }
    }
}

/// An accepted input on its way.
pub struct InFlight<'a> {
    counters: &'a InstanceCounters,
    since: Instant,
    settled: bool,
}

impl InFlight<'_> {
    pub fn settle(mut self, fate: Fate) {
        self.count(fate);
    }

    fn count(&mut self, fate: Fate) {
        self.settled = true;
        let counters = self.counters;
        match fate {
            Fate::Published { events } => {
                counters.published.inc();
                counters.events.inc_by(events as u64);
            }
            Fate::Skipped => {
                counters.skipped.inc();
            }
            Fate::Duplicate => {
                counters.duplicate.inc();
            }
            Fate::DeadLettered => {
                counters.dead_lettered.inc();
            }
            Fate::Returned => {
                counters.returned.inc();
            }
        }
        counters.in_flight.dec();
        counters.latency.observe(self.since.elapsed().as_secs_f64());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.count(Fate::Returned);
        }
    }
}
