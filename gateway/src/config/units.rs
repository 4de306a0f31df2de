//! Spans of time and sizes as people write them.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A span of time: `500ms`, `10s`, `5m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes: `262144`, `512KiB`, `64MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub usize);

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
