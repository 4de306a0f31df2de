//! What must not be stored although somebody typed it: passwords, captcha tokens, card numbers.

use std::borrow::Cow;

use connector_sdk::redact::MASK;

/// Words of a key that name a secret, between separators.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "pwd", "passwort", "kennwort", "passphrase", "пароль", "cvv", "cvv2", "cvc"];
/// Fields of captcha widgets (Turnstile, hCaptcha, reCAPTCHA): proofs of one use that nobody needs afterwards.
const CAPTCHA_FIELDS: &[&str] = &["cf-turnstile-response", "h-captcha-response", "g-recaptcha-response"];

const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// Digits of a card number that stay, so that people can tell which card was meant.
const CARD_KEPT: usize = 4;

/// Whether a field's whole value is a secret.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    CAPTCHA_FIELDS.contains(&key.as_str())
        || key.split(|c: char| !c.is_alphanumeric()).any(|word| SECRET_WORDS.contains(&word))
}

/// The value without secrets, `None` where it holds none; `cards` = also mask numbers that look like payment cards.
/// Works on bytes, so that it does not matter in which encoding a page was.
pub fn bytes(key: &str, value: &[u8], cards: bool) -> Option<Vec<u8>> {
    if is_secret(key) {
        return (!value.is_empty() && value != MASK.as_bytes()).then(|| MASK.as_bytes().to_vec());
    }
    if cards { card_numbers(value) } else { None }
}

/// As [`bytes`], for text.
pub fn value<'a>(key: &str, text: &'a str, cards: bool) -> Cow<'a, str> {
    match bytes(key, text.as_bytes(), cards) {
        // Only whole texts and ASCII digits are replaced, so that it stays UTF-8.
        Some(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// Replaces all but the last four digits of card-like numbers: 13 to 19 digits, spaces or hyphens between them, that
/// begin as cards do and pass Luhn's check. A number behind `+` is a phone number.
fn card_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.iter().filter(|byte| byte.is_ascii_digit()).count() < *CARD_DIGITS.start() {
        return None;
    }
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let digits = run(bytes, at);
        let phone = at > 0 && bytes[at - 1] == b'+';
        if !phone && is_card(bytes, &digits) {
            let out = out.get_or_insert_with(|| bytes.to_vec());
            for digit in &digits[..digits.len() - CARD_KEPT] {
                out[*digit] = b'*';
            }
        }
        at = digits.last().map_or(at, |last| *last) + 1;
    }
    out
}

/// Places of the digits of a number that starts at `at`; single spaces and hyphens may stand between them.
fn run(bytes: &[u8], at: usize) -> Vec<usize> {
    let mut digits = vec![at];
    let mut next = at + 1;
    while let Some(byte) = bytes.get(next) {
        if byte.is_ascii_digit() {
            digits.push(next);
            next += 1;
        } else if matches!(byte, b' ' | b'-') && bytes.get(next + 1).is_some_and(u8::is_ascii_digit) {
            next += 1;
        } else {
            break;
        }
    }
    digits
}

fn is_card(bytes: &[u8], digits: &[usize]) -> bool {
    // Networks' first digits: 2 and 5 Mastercard, 3 American Express, Diners and JCB, 4 Visa, 6 Discover, UnionPay, Maestro.
    CARD_DIGITS.contains(&digits.len()) && matches!(bytes[digits[0]], b'2'..=b'6') && luhn(bytes, digits)
}

fn luhn(bytes: &[u8], digits: &[usize]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, at)| {
            let digit = u32::from(bytes[*at] - b'0');
            match (place % 2 == 1, digit) {
                (false, digit) => digit,
                (true, digit) if digit > 4 => digit * 2 - 9,
                (true, digit) => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_masked_and_other_numbers_are_not() {
        for (text, masked) in [
            ("my card 4111 1111 1111 1111 thanks", "my card **** **** **** 1111 thanks"),
            ("5555-5555-5555-4444", "****-****-****-4444"),
            ("378282246310005é", "***********0005é"),
        ] {
            assert_eq!(value("note", text, true), masked);
            assert_eq!(value("note", masked, true), masked, "twice is the same");
            assert_eq!(value("note", text, false), text);
        }
        for text in ["4111 1111 1111 1112", "+4111111111111111", "order 1234567890123456", "0049 151 12345678", "é"] {
            assert_eq!(value("note", text, true), text);
        }
    }

    #[test]
    fn secrets_are_known_by_key() {
        assert_eq!(value("user[password]", "hunter2", false), MASK);
        assert_eq!(value("g-recaptcha-response", "03A", false), MASK);
        assert_eq!(value("password", "", false), "");
        assert_eq!(value("passwords_lost", "x", false), "x");
        assert_eq!(value("bypass", "x", false), "x");
    }
}
