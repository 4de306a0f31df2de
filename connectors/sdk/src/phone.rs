//! Telephone numbers.

use inlet_schemas::{Identity, scheme};

/// E.164 form (`+` and 7 to 15 digits) of a number that is international as written: with `+`, or digits only where
/// `international` says that the provider always writes the country code. Separators are dropped; anything else is `None`.
pub fn e164(text: &str, international: bool) -> Option<String> {
    let text = text.trim();
    let (plus, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !plus && !international {
        return None;
    }
    let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.' | '/')).collect();
    let valid =
        (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    valid.then(|| format!("+{digits}"))
}

/// The identity of a number: `phone` in E.164, else `phone_raw` as written.
pub fn identity(text: &str, international: bool) -> Identity {
    match e164(text, international) {
        Some(number) => Identity::by_provider(scheme::PHONE, number),
        None => Identity::by_provider(scheme::PHONE_RAW, text.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_international() {
        assert_eq!(e164("+49 (151) 123-456", false).as_deref(), Some("+49151123456"));
        assert_eq!(e164("4915110000100", true).as_deref(), Some("+4915110000100"));
        for text in ["030123456", "101", "+12", "+49x1234567", "anonymous", "+0301234567"] {
            assert_eq!(e164(text, false), None, "{text}");
        }
    }
}
