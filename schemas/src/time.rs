//! Points in time, RFC 3339 in UTC on the wire.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// `-009999-01-02T01:59:59.999999999Z`, and room.
const TEXT_MAX_BYTES: usize = 40;

/// A point in time, UTC, nanosecond resolution; `2026-01-31T12:00:00.5Z` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Timestamp = Timestamp(jiff::Timestamp::UNIX_EPOCH);

    /// Seconds since the epoch; `None` outside the years −9999…9999.
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        jiff::Timestamp::from_second(seconds).ok().map(Self)
    }

    /// Milliseconds since the epoch; `None` outside the years −9999…9999.
    pub fn from_unix_millis(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis).ok().map(Self)
    }

    /// Microseconds since the epoch; `None` outside the years −9999…9999.
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        jiff::Timestamp::from_microsecond(micros).ok().map(Self)
    }

    /// A decimal number of seconds as text (`1766458031.859009`), read digit by digit so that nothing is rounded.
    pub fn from_unix_decimal(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanos = digits.fold(0, |nanos, digit| nanos * 10 + i32::from(digit - b'0'));
        jiff::Timestamp::new(seconds, nanos).ok().map(Self)
    }

    /// RFC 3339 text with any offset.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(Self)
    }

    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// This moment plus a span; saturates at the end of time.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span).unwrap_or(jiff::Timestamp::MAX))
    }

    /// This moment less a span; saturates at the beginning of time.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span).unwrap_or(jiff::Timestamp::MIN))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        // Asked first: making jiff's error takes longer than all the rest.
        if self <= earlier {
            return Duration::ZERO;
        }
        Duration::try_from(self.0.duration_since(earlier.0)).unwrap_or(Duration::ZERO)
    }

    /// RFC 3339, UTC, with as many digits of a second as there are.
    pub fn to_text(self) -> String {
        let mut text = String::with_capacity(TEXT_MAX_BYTES);
        // Writing to text cannot fail.
        let _ = DateTimePrinter::new().print_timestamp(&self.0, &mut text);
        text
    }

    pub fn to_jiff(self) -> jiff::Timestamp {
        self.0
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Self(at)
    }
}

/// Without the detours of formatting: every event has three of them.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_text())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "description": "RFC 3339, UTC" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_keep_every_digit() {
        let at = Timestamp::from_unix_decimal("1766458031.859009").unwrap();
        assert_eq!(at.to_string(), "2025-12-23T02:47:11.859009Z");
        assert_eq!((at.to_text(), serde_json::to_value(at).unwrap()), (at.to_string(), at.to_string().into()));
        assert_eq!(Timestamp::from_unix_decimal("12"), Timestamp::from_unix_seconds(12));
        for bad in ["", "x", "1.x", "1.-5", "1.1234567890"] {
            assert_eq!(Timestamp::from_unix_decimal(bad), None, "{bad}");
        }
    }
}
