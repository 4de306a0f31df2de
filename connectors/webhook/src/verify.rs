//! How a request proves its origin.

mod hmac;
mod scheme;

use connector_sdk::verify::{self, Secrets};
use connector_sdk::{ConfigError, RawEvent, Refusal, Timestamp};

use hmac::Hmac;
pub use scheme::{Scheme, SchemeName};

const AUTHORIZATION: &str = "authorization";
/// Headers that may hold a secret whatever the scheme.
const ALWAYS_SECRET: &[&str] = &[AUTHORIZATION, "cookie", "proxy-authorization"];

/// A scheme with its secrets, ready to check.
pub enum Verifier {
    Hmac(Hmac),
    /// `Authorization: Bearer`.
    Bearer(Secrets),
    Header {
        name: String,
        secrets: Secrets,
    },
    Basic {
        username: String,
        secrets: Secrets,
    },
    None,
}

impl Verifier {
    pub fn build(scheme: &Scheme, secret: Option<Secrets>, username: Option<String>) -> Result<Self, ConfigError> {
        if username.is_some() && scheme.scheme != SchemeName::Basic {
            return Err(ConfigError::new("username", "is for the scheme basic only; this recipe has another"));
        }
        scheme.check()?;
        if scheme.scheme == SchemeName::None {
            return match secret {
                None => Ok(Self::None),
                // Somebody who gives a secret expects it to be checked.
                Some(_) => Err(ConfigError::new("secret", "would not be checked: the recipe's scheme is none")),
            };
        }
        let secrets =
            secret.ok_or_else(|| ConfigError::new("secret", "is needed: the recipe checks requests with it"))?;
        Ok(match scheme.scheme {
            SchemeName::Hmac => Self::Hmac(Hmac::configured(scheme, &secrets)?),
            SchemeName::StandardWebhooks => Self::Hmac(Hmac::standard(scheme, &secrets)?),
            SchemeName::Bearer => Self::Bearer(secrets),
            SchemeName::Header => {
                Self::Header { name: scheme.header.as_deref().unwrap_or_default().to_ascii_lowercase(), secrets }
            }
            SchemeName::Basic => {
                let username =
                    username.ok_or_else(|| ConfigError::new("username", "is needed for the scheme basic"))?;
                Self::Basic { username, secrets }
            }
            SchemeName::None => Self::None,
        })
    }

    pub fn check(&self, request: &RawEvent, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Hmac(hmac) => hmac.check(request, now),
            Self::Bearer(secrets) => token(request, AUTHORIZATION, |given| {
                let given = scheme_value(given, "bearer")?;
                Some(secrets.any(|secret| secret.matches(given.as_bytes())))
            }),
            Self::Header { name, secrets } => {
                token(request, name, |given| Some(secrets.any(|secret| secret.matches(given.as_bytes()))))
            }
            Self::Basic { username, secrets } => token(request, AUTHORIZATION, |given| {
                let given = scheme_value(given, "basic")?;
                Some(secrets.any(|secret| {
                    let expected = verify::to_base64(format!("{username}:{}", secret.expose()).as_bytes());
                    verify::equal(expected.as_bytes(), given.as_bytes())
                }))
            }),
            Self::None => Ok(()),
        }
    }

    pub fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        let (name, value) = match self {
            Self::Hmac(hmac) => return hmac.sign(request, now),
            Self::Bearer(secrets) => (AUTHORIZATION, format!("Bearer {}", secrets.current().expose())),
            Self::Header { name, secrets } => (name.as_str(), secrets.current().expose().to_owned()),
            Self::Basic { username, secrets } => {
                let pair = format!("{username}:{}", secrets.current().expose());
                (AUTHORIZATION, format!("Basic {}", verify::to_base64(pair.as_bytes())))
            }
            Self::None => return,
        };
        request.headers.set(name, value);
    }

    /// The scheme's name for provenance.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Hmac(hmac) => Some(hmac.name()),
            Self::Bearer(_) => Some("bearer"),
            Self::Header { .. } => Some("secret-header"),
            Self::Basic { .. } => Some("basic"),
            Self::None => None,
        }
    }

    /// Whether a header may hold a secret, so that a mapping must not see it.
    pub fn is_secret(&self, header: &str) -> bool {
        let own = match self {
            Self::Hmac(hmac) => hmac.header(),
            Self::Header { name, .. } => name.as_str(),
            Self::Bearer(_) | Self::Basic { .. } | Self::None => AUTHORIZATION,
        };
        header == own || ALWAYS_SECRET.contains(&header)
    }

    /// The secrets, for handshakes that carry one.
    pub fn matches_secret(&self, candidate: &str) -> bool {
        match self {
            Self::Bearer(secrets) | Self::Header { secrets, .. } | Self::Basic { secrets, .. } => {
                secrets.any(|secret| secret.matches(candidate.as_bytes()))
            }
            Self::Hmac(hmac) => hmac.matches_secret(candidate),
            Self::None => false,
        }
    }
}

/// Checks the one line of a header; `None` of `passes` = not of the scheme's form.
fn token(request: &RawEvent, header: &str, passes: impl FnOnce(&str) -> Option<bool>) -> Result<(), Refusal> {
    let given =
        request.headers.unique(header).map_err(|fault| Refusal::signature(format!("header {header}: {fault}")))?;
    match passes(given.trim()) {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::signature(format!("header {header}: wrong secret"))),
        None => Err(Refusal::signature(format!("header {header}: not of the expected scheme"))),
    }
}

/// What follows the scheme's name in an Authorization header; the name is written in any case.
fn scheme_value<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, value) = header.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| value.trim())
}
