//! They call us.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use inlet_schemas::Timestamp;

use crate::raw::RawEvent;

/// A provider that calls us. Runs on every replica of role `ingress`.
///
/// The driver reads the body within its limits, asks [`Webhook::admit`], runs the line, and answers with
/// [`Webhook::reply`] only when the outcome is known: the acknowledgement is never the connector's.
pub trait Webhook: Send + Sync {
    /// Under which path the instance is reached.
    fn mount(&self) -> Mount {
        Mount::In
    }

    /// Methods that are let through to `admit`, upper case; others get 405.
    fn methods(&self) -> &[&'static str] {
        &["POST"]
    }

    /// Limit of requests from one address; `None` = no limit of its own.
    fn rate(&self) -> Option<AddressRate> {
        None
    }

    /// Cap of the body in bytes, where it should differ from the gateway's.
    fn body_max_bytes(&self) -> Option<usize> {
        None
    }

    /// Checks the signature over the raw bytes and the replay window, answers handshakes and pages. Pure: the clock
    /// comes in, and a public key that is not in `keys` is asked for with [`Admission::Need`].
    fn admit(&self, request: &RawEvent, keys: &Keys, now: Timestamp) -> Admission;

    /// Which answer keeps *this* provider's data: the status that makes it retry what is not safe, and only that.
    fn reply(&self, request: &RawEvent, outcome: &Outcome) -> Reply {
        let _ = request;
        Reply::default_for(outcome)
    }

    /// Signs a request as the provider would at `now`: for `inlet simulate` and the conformance suite. A request that
    /// needs no signature is left as it is.
    fn sign(&self, request: &mut RawEvent, now: Timestamp);
}

/// Where a webhook is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mount {
    /// `/in/{instance}` and below.
    In,
    /// `/forms/{instance}` and below.
    Forms,
}

/// At most `burst` requests at once from one address (IPv6: one /64), refilled one each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRate {
    pub burst: u32,
    pub every: Duration,
}

/// Decision about a request.
#[derive(Clone, Debug)]
pub enum Admission {
    /// Genuine input: runs the line.
    Accept,
    /// A handshake, a probe, a page: this is the answer, and there is no input.
    Answer(Reply),
    /// A public key is needed: the driver fetches, caches and asks again.
    Need(KeyRef),
    Refuse(Refusal),
}

/// Names a public key or certificate that verification needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef {
    /// Where to fetch it (https).
    pub url: String,
    /// Key id within a JWKS, where the document holds several.
    pub key_id: Option<String>,
}

/// Key documents fetched so far, by URL.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<String, Bytes>);

impl Keys {
    pub fn get(&self, url: &str) -> Option<&Bytes> {
        self.0.get(url)
    }

    pub fn insert(&mut self, url: impl Into<String>, document: Bytes) {
        self.0.insert(url.into(), document);
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Signature or secret wrong, missing, doubled, stale or from the future: 401.
    Signature,
    /// Genuine but not allowed (origin, source address): 403.
    Forbidden,
    /// A handshake or form that cannot be read: 400.
    Malformed,
    /// Media type not spoken here: 415.
    MediaType,
    /// Form fields with errors: 422.
    Invalid,
    /// No such page below the instance: 404.
    NotFound,
}

impl RefusalKind {
    pub fn status(self) -> u16 {
        match self {
            Self::Signature => 401,
            Self::Forbidden => 403,
            Self::Malformed => 400,
            Self::MediaType => 415,
            Self::Invalid => 422,
            Self::NotFound => 404,
        }
    }

    /// Label for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Forbidden => "forbidden",
            Self::Malformed => "malformed",
            Self::MediaType => "media_type",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
        }
    }
}

/// A refusal, with its reason in words that hold no secret and no content.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: RefusalKind,
    pub detail: String,
    /// The answer, where it is more than the status (field errors, a page).
    pub reply: Option<Reply>,
}

impl Refusal {
    pub fn new(kind: RefusalKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), reply: None }
    }

    pub fn signature(detail: impl Into<String>) -> Self {
        Self::new(RefusalKind::Signature, detail)
    }

    pub fn with_reply(mut self, reply: Reply) -> Self {
        self.reply = Some(reply);
        self
    }
}

/// What became of an input, as far as the sender may know it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every record and blob is safe. `event_ids` are of the published (or already known) events, in order.
    Safe {
        event_ids: Vec<String>,
    },
    /// Could not be understood; kept as a dead letter, which is safe too.
    DeadLettered,
    /// Not safe now (Kafka away and no spool, draining, overloaded): ask again after this span.
    NotSafeNow {
        retry_after: Duration,
    },
    /// Larger than the cap in bytes.
    TooLarge {
        limit_bytes: usize,
    },
    /// Over its rate.
    OverRate {
        retry_after: Duration,
    },
    Refused(Refusal),
}

impl Outcome {
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Safe { .. } | Self::DeadLettered)
    }
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The usual answers: 200 safe, 503 and 429 with Retry-After, 413, and a refusal's own status. Bodies say what went
    /// wrong and never carry user data: several providers read an answer's body as a message to send.
    pub fn default_for(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Safe { .. } | Outcome::DeadLettered => Self::status(200),
            Outcome::NotSafeNow { retry_after } => {
                Self::text(503, "not safe now, send again\n").header("retry-after", seconds(*retry_after))
            }
            Outcome::OverRate { retry_after } => {
                Self::text(429, "over the rate, send again later\n").header("retry-after", seconds(*retry_after))
            }
            Outcome::TooLarge { limit_bytes } => Self::text(413, format!("body over {limit_bytes} bytes\n")),
            Outcome::Refused(refusal) => refusal
                .reply
                .clone()
                .unwrap_or_else(|| Self::text(refusal.kind.status(), format!("{}\n", refusal.detail))),
        }
    }
}

/// Retry-After counts whole seconds; never 0, which some clients read as 'at once'.
fn seconds(span: Duration) -> String {
    span.as_millis().div_ceil(1000).max(1).to_string()
}
