//! The spool's metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Figures, Spool};
use crate::clock::now;

/// Writes a spool's figures out, once there is one.
#[derive(Clone, Default)]
pub struct SpoolCollector(Arc<OnceLock<Spool>>);

impl SpoolCollector {
    pub fn show(&self, spool: Spool) {
        let _ = self.0.set(spool);
    }
}

impl std::fmt::Debug for SpoolCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SpoolCollector")
    }
}

type Reading = fn(&Figures) -> i64;

const GAUGES: [(&str, &str, Reading); 8] = [
    ("spool_entries", "Inputs that wait in the spool for Kafka", |f| whole(&f.entries)),
    ("spool_bytes", "Bytes that wait in the spool", |f| whole(&f.bytes)),
    ("spool_max_bytes", "Bytes that the spool takes", |f| whole(&f.max_bytes)),
    ("spool_oldest_age_seconds", "Age of the oldest input in the spool", |f| {
        i64::try_from(f.oldest_age(now()).as_secs()).unwrap_or(i64::MAX)
    }),
    ("spool_over_age", "1 while the oldest input is older than spool.max_age", |f| f.is_over_age(now()).into()),
    ("spool_full", "1 while the spool takes no more", |f| f.is_full().into()),
    ("spool_writable", "1 while the spool's disk takes writes", |f| f.writable.load(Ordering::Relaxed).into()),
    ("spool_damaged_entries", "Damaged entries that are kept for people", |f| whole(&f.damaged)),
];

const COUNTERS: [(&str, &str, Reading); 8] = [
    ("spool_inputs", "Inputs that went into the spool", |f| whole(&f.spooled)),
    ("spool_drained", "Entries of the spool that Kafka has got", |f| whole(&f.drained)),
    ("spool_confirmed_late", "Of those drained: confirmed after all, not sent again", |f| whole(&f.confirmed_late)),
    ("spool_duplicates", "Of those drained: another copy was on Kafka, not sent again", |f| whole(&f.duplicates)),
    ("spool_dead_lettered", "Of those drained: refused by Kafka for good", |f| whole(&f.dead_lettered)),
    ("spool_refused_full", "Inputs refused because the spool was full", |f| whole(&f.refused_full)),
    ("spool_errors", "Failures of the spool's disk or database", |f| whole(&f.errors)),
    ("spool_quarantined", "Times that a damaged database was moved aside", |f| whole(&f.quarantined)),
];

impl Collector for SpoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(spool) = self.0.get() else { return Ok(()) };
        for (name, help, read) in GAUGES {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&read(spool.figures()))?;
        }
        for (name, help, read) in COUNTERS {
            let count = read(spool.figures()).unsigned_abs();
            let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counter.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }
}

fn whole(figure: &AtomicU64) -> i64 {
    i64::try_from(figure.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
}
