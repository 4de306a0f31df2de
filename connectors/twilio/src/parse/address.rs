//! Addresses: numbers, short codes, alphanumeric senders, and addresses of other channels with their prefix.

use connector_sdk::phone;
use connector_sdk::schemas::{Channel, Identity, Party, scheme};

/// Words by which a withheld caller number is written.
const WITHHELD: &[&str] = &["anonymous", "unknown", "restricted", "private", "unavailable"];

/// `+15550001`, `12345`, `ACME`, `whatsapp:+15550001`, `messenger:1234`, `client:alice`, `sip:bob@example.com`.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    pub whole: &'a str,
    /// What stands before the colon.
    prefix: Option<&'a str>,
    rest: &'a str,
}

impl<'a> Address<'a> {
    pub fn of(whole: &'a str) -> Self {
        match whole.split_once(':') {
            Some((prefix, rest)) if prefix.bytes().all(|b| b.is_ascii_alphanumeric()) && !prefix.is_empty() => {
                Self { whole, prefix: Some(prefix), rest }
            }
            _ => Self { whole, prefix: None, rest: whole },
        }
    }

    /// Numbers are SMS; everything with a prefix is a chat.
    pub fn channel(&self) -> Channel {
        if self.prefix.is_some() { Channel::Chat } else { Channel::Sms }
    }

    pub fn prefix(&self) -> Option<&'a str> {
        self.prefix
    }

    pub fn identity(&self) -> Identity {
        match self.prefix {
            Some("sip" | "sips") => Identity::by_provider("sip_uri", self.whole),
            Some("client") => Identity::by_provider("twilio_client", self.rest),
            Some(prefix) => match phone::e164(self.rest, false) {
                Some(number) => Identity::by_provider(scheme::PHONE, number),
                None => Identity::by_provider(&format!("{prefix}_user_id"), self.rest),
            },
            None if self.rest.chars().any(char::is_alphabetic) => Identity::by_provider(scheme::SENDER_ID, self.rest),
            None => phone::identity(self.rest, false),
        }
    }

    /// The caller did not show a number.
    pub fn withheld(&self, numbers: &[String]) -> bool {
        let user = self.rest.split('@').next().unwrap_or(self.rest);
        WITHHELD.iter().any(|word| user.eq_ignore_ascii_case(word)) || numbers.iter().any(|n| n == self.rest)
    }

    /// As one end of a call.
    pub fn party(&self, withheld_numbers: &[String]) -> Party {
        let anonymous = self.withheld(withheld_numbers);
        Party {
            phone: if anonymous { None } else { phone::e164(self.whole, false) },
            raw: Some(self.whole.to_owned()),
            name: None,
            anonymous: anonymous.then_some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_by_form() {
        for (text, scheme, value) in [
            ("+15550001111", "phone", "+15550001111"),
            ("12345", "phone_raw", "12345"),
            ("ACME", "sender_id", "ACME"),
            ("whatsapp:+15550001111", "phone", "+15550001111"),
            ("whatsapp:US.1234", "whatsapp_user_id", "US.1234"),
            ("messenger:987", "messenger_user_id", "987"),
            ("client:alice", "twilio_client", "alice"),
            ("sip:bob@example.com", "sip_uri", "sip:bob@example.com"),
        ] {
            let identity = Address::of(text).identity();
            assert_eq!((identity.scheme.as_str(), identity.value.as_str()), (scheme, value), "{text}");
        }
        assert!(Address::of("sip:anonymous@anonymous.invalid").withheld(&[]));
        assert!(Address::of("+266696687").withheld(&["+266696687".to_owned()]));
        assert!(!Address::of("+15550001111").withheld(&[]));
    }
}
