//! The Date header (RFC 5322 and what is sent instead).

use connector_sdk::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use mail_parser::DateTime;

static RFC2822: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);

/// Longest zone offset in use, in hours (Kiribati is +14).
const MAX_OFFSET_HOURS: u8 = 14;

/// The point in time, or `None` where the text names none that exists.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = RFC2822.parse_timestamp(text) {
        return Some(at.into());
    }
    if let Some(at) = Timestamp::parse(text) {
        return Some(at);
    }
    // Without a zone: taken as UTC.
    if text.ends_with(|c: char| c.is_ascii_digit())
        && let Ok(at) = RFC2822.parse_timestamp(format!("{text} +0000"))
    {
        return Some(at.into());
    }
    lenient(text)
}

/// Named zones beyond the standard's, a comment in the middle.
fn lenient(text: &str) -> Option<Timestamp> {
    let date = DateTime::parse_rfc822(text)?;
    if !date.is_valid() || date.tz_hour > MAX_OFFSET_HOURS || date.tz_minute > 59 || date.hour > 23 {
        return None;
    }
    let civil = jiff::civil::DateTime::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
        i8::try_from(date.hour).ok()?,
        i8::try_from(date.minute).ok()?,
        i8::try_from(date.second.min(59)).ok()?,
        0,
    )
    .ok()?;
    let minutes = i64::from(date.tz_hour) * 60 + i64::from(date.tz_minute);
    let seconds = if date.tz_before_gmt { -minutes * 60 } else { minutes * 60 };
    let offset = jiff::tz::Offset::from_seconds(i32::try_from(seconds).ok()?).ok()?;
    offset.to_timestamp(civil).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_they_are_written() {
        for (text, expected) in [
            ("Tue, 14 Nov 2023 22:13:20 +0000", "2023-11-14T22:13:20Z"),
            ("14 Nov 2023 22:13 +0100", "2023-11-14T21:13:00Z"),
            ("Tue, 14 Nov 2023 22:13:20 -0000", "2023-11-14T22:13:20Z"),
            ("Tue, 14 Nov 2023 22:13:20 EST", "2023-11-15T03:13:20Z"),
            ("Tue, 14 Nov 2023 22:13:20 +0000 (UTC)", "2023-11-14T22:13:20Z"),
            ("Mon, 14 Nov 2023 22:13:20 GMT", "2023-11-14T22:13:20Z"),
            ("Tue, 14 Nov 23 22:13:20 +0000", "2023-11-14T22:13:20Z"),
            ("Tue, 14 Nov 2023 22:13:20", "2023-11-14T22:13:20Z"),
            ("2023-11-14T22:13:20+02:00", "2023-11-14T20:13:20Z"),
        ] {
            assert_eq!(parse(text).map(|at| at.to_string()).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn dates_that_do_not_exist() {
        for text in
            ["Mon, 32 Jan 2024 24:00:60 +9900", "Mon, 30 Feb 2024 10:00:00 +0000", "gestern", "", "Mo, 14 Foo 2023"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
