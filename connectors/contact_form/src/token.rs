//! The time-trap token: when a page was made, sealed with the form's secret.
//!
//! `<milliseconds since 1970>.<hex HMAC-SHA256>`, over a fixed label, the form's id and the milliseconds. It is public
//! (every visitor gets one) and proves no more than that this gateway made a page at that time. With it a page is given
//! an id for its submission.

use std::time::Duration;

use connector_sdk::verify::{Secrets, hex_matches, hmac_sha256};
use connector_sdk::{RawEvent, Timestamp};

const LABEL: &[u8] = b"inlet contact form token v1";
const ID_LABEL: &[u8] = b"inlet contact form submission v1";
/// Beginning of the ids that pages give to their submissions.
pub const PAGE_ID: &str = "page-";
/// Bytes of such an id before they are written as hex.
const PAGE_ID_BYTES: usize = 16;
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
    format!("{millis}.{}", hex(&seal(secrets.current().expose(), form_id, &millis)))
}

/// An id for the submission of a page that is made now for this request: visitors of the same moment differ by address
/// and headers, and nobody can guess another's.
pub fn page_id(secrets: &Secrets, form_id: &str, request: &RawEvent, now: Timestamp) -> String {
    let (now, peer) = (now.to_string(), request.peer.map(|ip| ip.to_string()).unwrap_or_default());
    let headers = request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value]);
    let parts: Vec<&[u8]> = [form_id.as_bytes(), now.as_bytes(), peer.as_bytes()].into_iter().chain(headers).collect();
    let seed = connector_sdk::key::content_key(&parts);
    let id = hmac_sha256(secrets.current().expose().as_bytes(), &[ID_LABEL, seed.as_bytes()]);
    format!("{PAGE_ID}{}", hex(&id[..PAGE_ID_BYTES]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
