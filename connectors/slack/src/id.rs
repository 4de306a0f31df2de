//! Slack's ids: what names a message, a thread and an event.
//!
//! A `ts` is unique within its channel only, so a message is `channel:ts` throughout.

/// The id of a message.
pub fn message(channel: &str, ts: &str) -> String {
    [channel, ":", ts].concat()
}

/// A `ts` as digits alone, so that it compares as a number; `None` where it is none.
pub fn sequence(ts: &str) -> Option<String> {
    let mut digits = String::with_capacity(ts.len());
    digits.extend(ts.split('.'));
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// Whether the channel is a direct conversation by its id.
pub fn is_direct(channel: &str) -> bool {
    channel.starts_with('D')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_digits() {
        assert_eq!(sequence("1766458031.859009").as_deref(), Some("1766458031859009"));
        assert_eq!(sequence("x"), None);
        assert_eq!(sequence(""), None);
    }
}
