//! Figures of the seen index.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

/// Counters and gauges; clones share them.
#[derive(Clone, Default)]
pub struct SeenMetrics {
    verdicts: Family<VerdictLabel, Counter>,
    pub(super) new: Counter,
    pub(super) duplicate: Counter,
    pub(super) joined: Counter,
    pub(super) unchecked: Counter,
    pub(super) ids: Gauge,
    pub(super) bytes: Gauge,
    pub(super) filled: Gauge,
    pub(super) repairs: Counter,
    pub(super) untold: Counter,
    pub(super) faults: Counter,
}

impl SeenMetrics {
    pub fn new() -> Self {
        let verdicts = Family::<VerdictLabel, Counter>::default();
        let of = |verdict| verdicts.get_or_create(&VerdictLabel { verdict }).clone();
        Self {
            new: of("new"),
            duplicate: of("duplicate"),
            joined: of("joined"),
            unchecked: of("unchecked"),
            verdicts,
            ..Self::default()
        }
    }

    pub fn register(&self, registry: &mut Registry) {
        registry.register("seen_verdicts", "Ids asked for, by what the index said", self.verdicts.clone());
        registry.register("seen_ids", "Ids that the index holds", self.ids.clone());
        registry.register("seen_bytes", "Memory that they take", self.bytes.clone());
        registry.register("seen_filled", "1 while the index knows what other replicas published", self.filled.clone());
        registry.register("seen_repairs", "Silent replicas whose ids were read from the events", self.repairs.clone());
        registry.register("seen_untold", "Ids that other replicas were not told", self.untold.clone());
        registry.register("seen_faults", "Failures to read other replicas' ids", self.faults.clone());
    }
}
