//! Spans of time and sizes as people write them.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A span of time: `500ms`, `10s`, `5m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes: `262144`, `512KiB`, `64MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

/// So many in a span of time: `100/s`, `2000/min`, `50000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    span: Duration,
}

const RATE_SPANS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("h", 3600)];
/// How long a rate may be exceeded by what was not used before.
const BURST: Duration = Duration::from_secs(2);

impl Rate {
    /// Evenly spread, with bursts of up to two seconds' worth.
    pub fn quota(self) -> governor::Quota {
        let burst = self.count.get() as f64 * BURST.as_secs_f64() / self.span.as_secs_f64();
        let burst = NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN);
        let every = (self.span / self.count.get()).max(Duration::from_nanos(1));
        governor::Quota::with_period(every).unwrap_or(governor::Quota::per_second(self.count)).allow_burst(burst)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let read = || {
            let (count, span) = text.split_once('/')?;
            let seconds = RATE_SPANS.iter().find(|(name, _)| *name == span.trim())?.1;
            Some(Self { count: count.trim().parse().ok()?, span: Duration::from_secs(seconds) })
        };
        read().ok_or_else(|| D::Error::custom(format!("'{text}' is no rate; write 100/s, 2000/min or 50000/h")))
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]* ?/ ?(s|min|h)$", "description": "Rate: 100/s, 2000/min, 50000/h." })
    }
}

const SPANS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse(&text, SPANS)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| D::Error::custom(format!("'{text}' is no span of time; write 500ms, 10s, 5m, 24h or 30d")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis() as u64;
        let (unit, factor) = SPANS
            .iter()
            .rev()
            .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
            .unwrap_or(&SPANS[0]);
        s.serialize_str(&format!("{}{unit}", millis / factor))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size in bytes (262144, 512KiB, 64MiB)")]
        enum Written {
            Bytes(usize),
            Text(String),
        }
        match Written::deserialize(d)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => parse(&text, SIZES)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .map(Self)
                .ok_or_else(|| D::Error::custom(format!("'{text}' is no size; write 262144, 512KiB or 64MiB"))),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0 as u64;
        let found = SIZES
            .iter()
            .filter(|(unit, _)| !unit.is_empty())
            .rev()
            .find(|(_, f)| bytes >= *f && bytes.is_multiple_of(*f));
        match found {
            Some((unit, factor)) => s.serialize_str(&format!("{}{unit}", bytes / factor)),
            None => s.serialize_u64(bytes),
        }
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "Span of time: 500ms, 10s, 5m, 24h, 30d." })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+ ?(KiB|MiB|GiB)$" }],
            "description": "Size in bytes, or 512KiB, 64MiB."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_burst() {
        let rate = |text: &str| serde_json::from_value::<Rate>(text.into()).map(Rate::quota);
        let quota = rate("100/s").unwrap();
        assert_eq!((quota.burst_size().get(), quota.replenish_interval()), (200, Duration::from_millis(10)));
        let quota = rate("30 / min").unwrap();
        assert_eq!((quota.burst_size().get(), quota.replenish_interval()), (1, Duration::from_secs(2)));
        for bad in ["100", "0/s", "100/day", "-1/s", "many/s"] {
            assert!(rate(bad).unwrap_err().to_string().contains("is no rate"), "{bad}");
        }
    }

    #[test]
    fn spans_and_sizes_round_trip() {
        for text in ["\"500ms\"", "\"10s\"", "\"24h\"", "\"30d\""] {
            let span: Span = serde_json::from_str(text).unwrap();
            let again: Span = serde_json::from_str(&serde_json::to_string(&span).unwrap()).unwrap();
            assert_eq!(span, again, "{text}");
        }
        assert_eq!(serde_json::from_str::<Size>("\"512KiB\"").unwrap(), Size(524_288));
        assert_eq!(serde_json::from_str::<Size>("10").unwrap(), Size(10));
        for bad in ["\"5 parsecs\"", "\"\"", "\"-1s\"", "\"99999999999999999999d\""] {
            assert!(serde_json::from_str::<Span>(bad).is_err(), "{bad}");
        }
    }
}
