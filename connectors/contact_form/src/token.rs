//! The time-trap token: when a page was made, sealed with the form's secret.
//!
//! `<milliseconds since 1970>.<hex HMAC-SHA256>`, over a fixed label, the form's id and the milliseconds. It is public
//! (every visitor gets one) and proves no more than that this gateway made a page at that time.

use std::time::Duration;

use connector_sdk::Timestamp;
use connector_sdk::verify::{Secrets, hex_matches, hmac_sha256};

const LABEL: &[u8] = b"inlet contact form token v1";
/// How far ahead of ours another replica's clock may be.
const SKEW: Duration = Duration::from_secs(60);

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Missing,
    Invalid,
    /// Sealed by one of the secrets, with the page's age.
    Sealed {
        age: Duration,
    },
}

/// A token for a page made at `at`.
pub fn issue(secrets: &Secrets, form_id: &str, at: Timestamp) -> String {
    let millis = at.unix_millis().to_string();
    let seal: String =
        seal(secrets.current().expose(), form_id, &millis).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{millis}.{seal}")
}

/// Checks a token; both secrets of a rotation are good.
pub fn check(secrets: &Secrets, form_id: &str, token: Option<&str>, now: Timestamp) -> Token {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Token::Missing };
    let Some((millis, given)) = token.split_once('.') else { return Token::Invalid };
    let sealed = secrets.any(|secret| hex_matches(&seal(secret.expose(), form_id, millis), given));
    match made_at(token) {
        Some(at) if sealed && at.since(now) <= SKEW => Token::Sealed { age: now.since(at) },
        _ => Token::Invalid,
    }
}

/// When a token says that its page was made, without proof.
pub fn made_at(token: &str) -> Option<Timestamp> {
    let (millis, _) = token.split_once('.')?;
    millis.parse().ok().and_then(Timestamp::from_unix_millis)
}

fn seal(secret: &str, form_id: &str, millis: &str) -> [u8; 32] {
    let id_bytes = (form_id.len() as u64).to_be_bytes();
    hmac_sha256(secret.as_bytes(), &[LABEL, &id_bytes, form_id.as_bytes(), millis.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::Secret;

    fn secrets(texts: &[&str]) -> Secrets {
        Secrets::new(texts.iter().map(|text| Secret::new(*text)).collect()).unwrap()
    }

    #[test]
    fn only_own_seals_pass_and_both_secrets_do() {
        let at = Timestamp::from_unix_millis(1_767_225_600_123).unwrap();
        let later = at.plus(Duration::from_secs(7));
        let token = issue(&secrets(&["old"]), "contact", at);
        let age = Duration::from_secs(7);
        assert_eq!(check(&secrets(&["new", "old"]), "contact", Some(&token), later), Token::Sealed { age });
        assert_eq!(check(&secrets(&["new"]), "contact", Some(&token), later), Token::Invalid);
        assert_eq!(check(&secrets(&["old"]), "other", Some(&token), later), Token::Invalid);
        assert_eq!(check(&secrets(&["old"]), "contact", None, later), Token::Missing);
        assert_eq!(check(&secrets(&["old"]), "contact", Some(""), later), Token::Missing);
        let ahead = at.minus(SKEW + Duration::from_secs(1));
        assert_eq!(check(&secrets(&["old"]), "contact", Some(&token), ahead), Token::Invalid);
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(check(&secrets(&["old"]), "contact", Some(&changed), later), Token::Invalid, "byte {at}");
        }
    }
}
