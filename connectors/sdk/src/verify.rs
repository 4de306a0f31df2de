//! Proofs of origin: HMAC schemes, constant-time comparison, replay windows.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use inlet_schemas::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use sha1::Sha1;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::key::hex_value;
use crate::secret::Secret;

/// HMAC-SHA256 over the parts, one after the other.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac::<Hmac<Sha256>>(key, parts).into()
}

/// HMAC-SHA1 over the parts, one after the other (Twilio and other old schemes).
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    mac::<Hmac<Sha1>>(key, parts).into()
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> hmac::digest::Output<M> {
    // An HMAC takes a key of any length.
    let mut mac =
        <M as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC keys have no length limit"));
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

/// Constant-time comparison; unequal lengths are unequal.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Whether `given` is the hex text (either case) of `expected`.
pub fn hex_matches(expected: &[u8], given: &str) -> bool {
    let (pairs, rest) = given.as_bytes().as_chunks::<2>();
    let decoded = pairs.iter().map(|pair| Some(hex_value(pair[0])? << 4 | hex_value(pair[1])?));
    // What is no hex at all may be told by time: it is the sender's own text. Otherwise all of it is compared.
    let same = |so_far: Choice, (byte, decoded): (&u8, Option<u8>)| Some(so_far & byte.ct_eq(&decoded?));
    rest.is_empty()
        && pairs.len() == expected.len()
        && expected.iter().zip(decoded).try_fold(Choice::from(1), same).is_some_and(bool::from)
}

/// Whether `given` is the standard base64 text of `expected`.
pub fn base64_matches(expected: &[u8], given: &str) -> bool {
    STANDARD.decode(given).is_ok_and(|given| equal(expected, &given))
}

pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Whether `at` lies within `tolerance` of `now`, before or after.
pub fn within(at: Timestamp, now: Timestamp, tolerance: Duration) -> bool {
    now.since(at).max(at.since(now)) <= tolerance
}

/// One secret, or several while one is being rotated: any of them verifies, the first one signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        (!secrets.is_empty()).then_some(Self(secrets))
    }

    /// Whether any of the secrets passes; all are tried, so that the time tells nothing.
    pub fn any(&self, mut passes: impl FnMut(&Secret) -> bool) -> bool {
        self.0.iter().fold(false, |found, secret| passes(secret) | found)
    }

    /// The secret to sign with.
    pub fn current(&self) -> &Secret {
        &self.0[0]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a secret or a list of secrets (the new one first, while rotating)")]
        enum OneOrMany {
            One(Secret),
            Many(Vec<Secret>),
        }
        let secrets = match OneOrMany::deserialize(d)? {
            OneOrMany::One(secret) => vec![secret],
            OneOrMany::Many(secrets) => secrets,
        };
        Self::new(secrets).ok_or_else(|| serde::de::Error::custom("at least one secret is needed"))
    }
}

impl JsonSchema for Secrets {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secrets".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Secret>();
        json_schema!({
            "description": "A secret, or a list of secrets while one is being rotated: any verifies, the first signs.",
            "anyOf": [one, { "type": "array", "minItems": 1, "items": one }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        // RFC 4231, test case 2, and RFC 2202, test case 2.
        assert_eq!(
            hex::encode(hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex::encode(hmac_sha1(b"Jefe", &[b"what do ya want for nothing?"])),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
    }

    #[test]
    fn hex_of_either_case_and_of_the_whole_length_matches() {
        let matches = |given| hex_matches(&[0x0a, 0xfe, 0x90], given);
        assert!(matches("0afe90") && matches("0AFe90"));
        for wrong in ["", "0afe9", "0afe9000", "0afe91", "0afe9g", "0afe9 ", "0afe\u{e9}"] {
            assert!(!matches(wrong), "{wrong}");
        }
    }

    #[test]
    fn window_is_symmetric() {
        let now = Timestamp::from_unix_seconds(1000).unwrap();
        for (at, ok) in [(700, true), (699, false), (1300, true), (1301, false)] {
            assert_eq!(within(Timestamp::from_unix_seconds(at).unwrap(), now, Duration::from_secs(300)), ok, "{at}");
        }
    }
}
