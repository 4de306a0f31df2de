//! Telephone numbers as this PBX writes them, channel names, and the direction of a call.

use connector_sdk::phone::e164;
use connector_sdk::schemas::{CallDirection, Identity, Party, scheme};
use connector_sdk::text::one_line;

/// A number without `+` of at most so many digits is an extension or short code and never made international.
pub const EXTENSION_MAX_DIGITS: usize = 6;
/// What stands for a withheld number (compared without case).
const WITHHELD: &[&str] = &["anonymous", "unknown", "restricted", "private", "unavailable", "withheld"];
/// Extensions of the dialplan that name no called number.
const SPECIAL_EXTENSIONS: &[&str] = &["s", "h", "i", "t", "o", "a", "fax", "failed"];

/// How numbers are dialled and which channels lead outside.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Digits without `+`, for national numbers.
    pub country_code: Option<String>,
    pub trunk_prefix: String,
    pub international_prefix: String,
    /// Long numbers without prefix begin with the country code.
    pub digits_are_international: bool,
    pub trunks: Vec<String>,
    pub inbound_contexts: Vec<String>,
}

impl Numbers {
    /// One end of a call from a number and a name as AMI writes them.
    pub fn party(&self, number: Option<&str>, name: Option<&str>) -> Party {
        let raw = number.map(one_line).filter(|raw| !raw.is_empty());
        let anonymous = raw.as_deref().is_none_or(withheld);
        let phone = raw.as_deref().and_then(|raw| self.international(raw));
        // Where no name is sent the PBX repeats the number.
        let name = name.map(one_line).filter(|name| !name.is_empty() && Some(name) != raw.as_ref() && !withheld(name));
        Party { phone, raw, name, anonymous: anonymous.then_some(true) }
    }

    /// The identity of a party, for senders and recipients.
    pub fn identity(&self, party: &Party) -> Option<Identity> {
        if party.anonymous == Some(true) {
            return None;
        }
        match (&party.phone, &party.raw) {
            (Some(phone), _) => Some(Identity::by_provider(scheme::PHONE, phone)),
            (None, Some(raw)) => Some(Identity::by_provider(scheme::PHONE_RAW, raw)),
            (None, None) => None,
        }
    }

    /// E.164 where the dialling rules give it.
    pub fn international(&self, number: &str) -> Option<String> {
        let number = number.trim();
        if number.starts_with('+') {
            return e164(number, false);
        }
        if digits(number) <= EXTENSION_MAX_DIGITS || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if let Some(rest) =
            number.strip_prefix(&self.international_prefix).filter(|_| !self.international_prefix.is_empty())
        {
            return e164(rest, true);
        }
        if let (Some(country), Some(rest)) = (&self.country_code, number.strip_prefix(&self.trunk_prefix))
            && !self.trunk_prefix.is_empty()
        {
            return e164(&format!("{country}{rest}"), true);
        }
        if self.digits_are_international {
            return e164(number, true);
        }
        None
    }

    /// Whether a channel leads to the outside: by the name of its endpoint, else by the context that it came in by.
    pub fn is_trunk(&self, channel: &str, context: Option<&str>) -> bool {
        self.trunks.iter().any(|pattern| glob(pattern, endpoint(channel)))
            || context.is_some_and(|context| self.inbound_contexts.iter().any(|pattern| glob(pattern, context)))
    }

    /// Direction of a call from its first channel and the channels that were dialled: from a trunk = inbound, to a trunk
    /// = outbound. Where neither is one, a long (or withheld) caller's number means inbound, a long called number
    /// outbound, and what is left is internal.
    pub fn direction(&self, caller: &End<'_>, called: Option<&str>, dialled: &[End<'_>]) -> CallDirection {
        if self.is_trunk(caller.channel, caller.context) {
            return CallDirection::Inbound;
        }
        if dialled.iter().any(|end| self.is_trunk(end.channel, end.context)) {
            return CallDirection::Outbound;
        }
        let outside = |number: &str| digits(number) > EXTENSION_MAX_DIGITS || number.starts_with('+');
        if caller.number.is_none_or(|number| outside(number) || withheld(number)) {
            CallDirection::Inbound
        } else if called.is_some_and(outside) {
            CallDirection::Outbound
        } else {
            CallDirection::Internal
        }
    }
}

/// A channel as the direction needs it.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    pub channel: &'a str,
    pub context: Option<&'a str>,
    pub number: Option<&'a str>,
}

/// The endpoint of a channel's name: `101` of `PJSIP/101-00000001`, `Local/101@agents-0000000a;1`, `SIP/trunk_a-1f`.
pub fn endpoint(channel: &str) -> &str {
    let name = channel.split_once('/').map_or(channel, |(_, name)| name);
    let name = name.split([';', '@']).next().unwrap_or(name);
    match name.rsplit_once('-') {
        Some((endpoint, suffix)) if !endpoint.is_empty() && suffix.bytes().all(|b| b.is_ascii_hexdigit()) => endpoint,
        _ => name,
    }
}

/// A called number: not one of the dialplan's own extensions.
pub fn called(exten: Option<&str>) -> Option<&str> {
    exten.filter(|exten| !SPECIAL_EXTENSIONS.contains(exten))
}

fn withheld(number: &str) -> bool {
    WITHHELD.iter().any(|word| word.eq_ignore_ascii_case(number.trim()))
}

fn digits(number: &str) -> usize {
    number.bytes().filter(u8::is_ascii_digit).count()
}

/// `*` stands for anything; compared without case.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        Numbers {
            country_code: Some("49".into()),
            trunk_prefix: "0".into(),
            international_prefix: "00".into(),
            digits_are_international: true,
            trunks: vec!["*trunk*".into()],
            inbound_contexts: vec!["from-pstn*".into()],
        }
    }

    #[test]
    fn numbers_become_international_by_the_dialling_rules_only() {
        let numbers = numbers();
        for (text, expected) in [
            ("030123456", Some("+4930123456")),
            ("00441632960001", Some("+441632960001")),
            ("+441632960001", Some("+441632960001")),
            ("4915110000100", Some("+4915110000100")),
            ("101", None),
            ("123456", None),
            ("sip:ann@example.com", None),
        ] {
            assert_eq!(numbers.international(text).as_deref(), expected, "{text}");
        }
        let bare = Numbers { country_code: None, digits_are_international: false, ..numbers };
        assert_eq!(bare.international("030123456"), None);
        assert_eq!(bare.international("4915110000100"), None);
    }

    #[test]
    fn withheld_numbers_and_repeated_names() {
        let numbers = numbers();
        for text in [None, Some("Anonymous"), Some("unknown")] {
            let party = numbers.party(text, Some("anonymous"));
            assert_eq!((party.anonymous, party.name), (Some(true), None), "{text:?}");
        }
        assert_eq!(numbers.party(Some("101"), Some("101")).name, None);
    }

    #[test]
    fn endpoints_and_patterns() {
        for (channel, expected) in [
            ("PJSIP/101-00000001", "101"),
            ("Local/101@agents-0000000a;1", "101"),
            ("SIP/my-trunk-1f2e", "my-trunk"),
            ("DAHDI/i1/0301234-5", "i1/0301234"),
            ("PJSIP/ext-office-0000000b", "ext-office"),
            ("101", "101"),
        ] {
            assert_eq!(endpoint(channel), expected, "{channel}");
        }
        for (pattern, text, hit) in [
            ("*trunk*", "My-Trunk-a", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("ab", "abc", false),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), hit, "{pattern} {text}");
        }
    }

    #[test]
    fn direction_by_trunk_else_by_length() {
        let numbers = numbers();
        let end = |channel, number| End { channel, context: None, number: Some(number) };
        let trunk = end("PJSIP/trunk-00000001", "4915110000100");
        let phone = end("PJSIP/101-00000002", "101");
        assert_eq!(numbers.direction(&trunk, Some("4930"), &[phone]), CallDirection::Inbound);
        assert_eq!(numbers.direction(&phone, Some("0151"), &[trunk]), CallDirection::Outbound);
        assert_eq!(numbers.direction(&phone, Some("102"), &[phone]), CallDirection::Internal);
        assert_eq!(
            numbers.direction(&end("PJSIP/carrier-1", "030123456"), Some("101"), &[phone]),
            CallDirection::Inbound
        );
        assert_eq!(
            numbers.direction(&phone, Some("030123456"), &[end("PJSIP/carrier-1", "")]),
            CallDirection::Outbound
        );
    }
}
