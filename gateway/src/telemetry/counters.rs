//! Metrics: what came in and what became of it.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::tally::{Counted, Series};
pub use super::tally::{Fate, InFlight, InstanceCounters, Returned, Tally};
use crate::seen::SeenMetrics;
use crate::spool::collector::SpoolCollector;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct InstanceLabels {
    instance: String,
    connector: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct InstanceDetail {
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

impl InstanceLabels {
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn detail(&self, detail: &str) -> InstanceDetail {
        let Self { instance, connector } = self.clone();
        InstanceDetail { instance, connector, detail: detail.to_owned() }
    }

    fn outcome(&self, outcome: &'static str) -> InstanceOutcome {
        let Self { instance, connector } = self.clone();
        InstanceOutcome { instance, connector, outcome }
    }
}

type ByDetail = Family<InstanceDetail, Counter>;

/// The process's metrics.
pub struct Metrics {
    registry: Registry,
    tallies: Tallies,
    skipped: ByDetail,
    dead_letters: ByDetail,
    refused: ByDetail,
    returned: ByDetail,
    running: Family<InstanceLabels, Gauge>,
    troubles: Family<InstanceLabels, Gauge>,
    lag: Family<InstanceDetail, Gauge>,
    /// The seen index.
    pub seen: SeenMetrics,
    /// Shows the spool, once there is one.
    pub spool: SpoolCollector,
    /// 1 while Kafka confirms, 0 while it does not.
    pub kafka_up: Gauge,
    /// Shards of the replay lane that this process owns.
    pub replay_shards: Gauge,
    /// Calls into the Kafka client that hung, since the start.
    pub replay_hung_calls: Gauge,
    /// 1 while the last new configuration was refused.
    pub reload_refused: Gauge,
    /// Requests for instances that are not there.
    pub unknown_instance: Counter,
    /// Requests turned away because too many were in flight.
    pub overload: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("inlet"),
            tallies: Tallies::default(),
            skipped: Family::default(),
            dead_letters: Family::default(),
            refused: Family::default(),
            returned: Family::default(),
            running: Family::default(),
            troubles: Family::default(),
            lag: Family::default(),
            seen: SeenMetrics::new(),
            spool: SpoolCollector::default(),
            kafka_up: Gauge::default(),
            replay_shards: Gauge::default(),
            replay_hung_calls: Gauge::default(),
            reload_refused: Gauge::default(),
            unknown_instance: Counter::default(),
            overload: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register_collector(Box::new(self.tallies.clone()));
        registry.register_collector(Box::new(self.spool.clone()));
        registry.register("items_skipped", "Known items deliberately not published, by type", self.skipped.clone());
        registry.register(
            "items_dead_lettered",
            "Items that are safe on the dead-letter topic, by reason",
            self.dead_letters.clone(),
        );
        registry.register("requests_refused", "Requests refused at admission, by reason", self.refused.clone());
        registry.register("inputs_returned", "Accepted inputs given back, by reason", self.returned.clone());
        registry.register("instance_running", "1 while the instance's intake runs here", self.running.clone());
        let help = "Parts of the instance that are not well; /api/status says which and why";
        registry.register("instance_troubles", help, self.troubles.clone());
        registry.register("source_lag", "Items that wait at the source, by stream", self.lag.clone());
        self.seen.register(registry);
        registry.register("kafka_up", "1 while Kafka confirms", self.kafka_up.clone());
        registry.register("replay_shards", "Shards of the replay lane that are owned here", self.replay_shards.clone());
        registry.register(
            "replay_hung_calls",
            "Calls into the Kafka client that did not return, since the start; each cost its shard a new producer",
            self.replay_hung_calls.clone(),
        );
        let help = "1 while the last new configuration was refused; /api/status says why";
        registry.register("config_reload_refused", help, self.reload_refused.clone());
        registry.register("requests_unknown_instance", "Requests for unknown instances", self.unknown_instance.clone());
        registry.register("requests_overload", "Requests turned away under overload", self.overload.clone());
    }

    /// The metrics in OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The counters of an instance that has them already.
    pub fn find(&self, instance: &str) -> Option<InstanceCounters> {
        self.tallies.find(instance)
    }

    /// The counters of one instance, resolved once.
    pub fn instance(&self, instance: &str, connector: &str) -> InstanceCounters {
        let labels = InstanceLabels { instance: instance.to_owned(), connector: connector.to_owned() };
        let series = Series {
            running: self.running.get_or_create(&labels).clone(),
            troubles: self.troubles.get_or_create(&labels).clone(),
            lag: self.lag.clone(),
            skipped: self.skipped.clone(),
            dead_letters: self.dead_letters.clone(),
            refused: self.refused.clone(),
            returned: self.returned.clone(),
        };
        self.tallies.get_or_insert(labels, series)
    }
}

/// Writes every instance's tally out, each read as a whole: the sums are right in every scrape.
#[derive(Clone, Default)]
struct Tallies(Arc<Mutex<Vec<InstanceCounters>>>);

impl Tallies {
    fn get_or_insert(&self, labels: InstanceLabels, series: Series) -> InstanceCounters {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find(|known| *known.labels() == labels) {
            return known.clone();
        }
        let counters = InstanceCounters::new(labels, series);
        all.push(counters.clone());
        counters
    }
}

impl Tallies {
    fn find(&self, instance: &str) -> Option<InstanceCounters> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|known| known.instance() == instance).cloned()
    }
}

impl std::fmt::Debug for Tallies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tallies")
    }
}

impl Collector for Tallies {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read: Vec<(InstanceLabels, Counted)> =
            all.iter().map(|counters| (counters.labels().clone(), counters.counted())).collect();
        drop(all);
        if read.is_empty() {
            return Ok(());
        }
        let help = "Inputs that passed admission";
        let mut family = encoder.encode_descriptor("inputs_accepted", help, None, MetricType::Counter)?;
        for (labels, Counted { tally, .. }) in &read {
            family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&tally.accepted, None)?;
        }
        let help = "Accepted inputs by what became of them";
        let mut family = encoder.encode_descriptor("inputs", help, None, MetricType::Counter)?;
        for (labels, Counted { tally, .. }) in &read {
            for (outcome, count) in tally.outcomes() {
                family.encode_family(&labels.outcome(outcome))?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Events that are safe on Kafka";
        let mut family = encoder.encode_descriptor("events_published", help, None, MetricType::Counter)?;
        for (labels, Counted { events, .. }) in &read {
            family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(events, None)?;
        }
        let help = "From receipt to settled";
        let mut family = encoder.encode_descriptor("settle_seconds", help, None, MetricType::Histogram)?;
        for (labels, Counted { latency, .. }) in &read {
            let (sum, count, buckets) = (latency.sum_seconds(), latency.count(), latency.buckets());
            family.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        let help = "Accepted inputs that are neither on Kafka nor given back, spooled ones included";
        let mut family = encoder.encode_descriptor("inputs_in_flight", help, None, MetricType::Gauge)?;
        for (labels, Counted { tally, .. }) in &read {
            let count = i64::try_from(tally.in_flight()).unwrap_or(i64::MAX);
            family.encode_family(labels)?.encode_gauge(&count)?;
        }
        let help = "Inputs in flight that are safe in the spool";
        let mut family = encoder.encode_descriptor("inputs_spooled", help, None, MetricType::Gauge)?;
        for (labels, Counted { tally, .. }) in &read {
            let count = i64::try_from(tally.spooled).unwrap_or(i64::MAX);
            family.encode_family(labels)?.encode_gauge(&count)?;
        }
        Ok(())
    }
}
