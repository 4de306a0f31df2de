//! HMAC over a template: one engine for every scheme that signs the body, Standard Webhooks among them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use connector_sdk::key::sha256_hex;
use connector_sdk::verify::{self, Secrets};
use connector_sdk::{ConfigError, RawEvent, Refusal, Timestamp};

use super::scheme::{Algorithm, Encoding, KeyEncoding, Scheme, TOLERANCE_SECONDS, TimeUnit};

/// What the secret of Standard Webhooks begins with where it is base64.
const WHSEC: &str = "whsec_";
/// Version of the signature in Standard Webhooks, with its comma.
const STANDARD_VERSION: &str = "v1,";
/// Most signatures in one header that are tried.
const SIGNATURES_MAX: usize = 16;

/// An HMAC scheme with its keys.
pub struct Hmac {
    name: &'static str,
    header: String,
    algorithm: Algorithm,
    encoding: Encoding,
    layout: Layout,
    template: Vec<Piece>,
    id_header: Option<String>,
    /// An id with this character would make the signed text ambiguous.
    forbidden_in_id: Option<char>,
    timestamp: Option<Stamp>,
    secrets: Secrets,
    /// Of the secrets, in their order.
    keys: Vec<Vec<u8>>,
}

/// How signatures stand in their header.
enum Layout {
    /// One, after a prefix.
    One { prefix: String },
    /// Several, apart by spaces; those with the prefix count.
    Spaced { prefix: &'static str },
    /// `t=…,v1=…`.
    Elements { signature: String, timestamp: Option<String> },
}

/// Where the signed time is.
struct Stamp {
    /// `None` = within the signature's header.
    header: Option<String>,
    unit: TimeUnit,
    tolerance: Duration,
}

/// A piece of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Body,
    Timestamp,
    Id,
    Method,
    Url,
}

impl Hmac {
    /// Standard Webhooks, version v1.
    pub fn standard(options: &Scheme, secrets: &Secrets) -> Result<Self, ConfigError> {
        let prefix = options.header_prefix.as_deref().unwrap_or("webhook").to_ascii_lowercase();
        let name = |part: &str| format!("{prefix}-{part}");
        // A secret without the prefix is used as it is.
        let keys = keys(secrets, |secret| match secret.strip_prefix(WHSEC) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| "what follows whsec_ is not base64"),
            None => Ok(secret.as_bytes().to_vec()),
        })?;
        Ok(Self {
            name: "standard-webhooks",
            header: name("signature"),
            algorithm: Algorithm::Sha256,
            encoding: Encoding::Base64,
            layout: Layout::Spaced { prefix: STANDARD_VERSION },
            template: template("{id}.{timestamp}.{body}")?,
            id_header: Some(name("id")),
            forbidden_in_id: Some('.'),
            timestamp: Some(Stamp {
                header: Some(name("timestamp")),
                unit: TimeUnit::Seconds,
                tolerance: Duration::from_secs(options.tolerance_seconds.unwrap_or(TOLERANCE_SECONDS)),
            }),
            secrets: secrets.clone(),
            keys,
        })
    }

    pub fn configured(options: &Scheme, secrets: &Secrets) -> Result<Self, ConfigError> {
        let bad = |field: &str, message: &str| ConfigError::new(format!("verify.{field}"), message);
        let template = template(options.signed.as_deref().unwrap_or("{body}"))?;
        let uses = |piece: Piece| template.contains(&piece);
        if !uses(Piece::Body) {
            return Err(bad("signed", "must hold {body}, or the body could be exchanged"));
        }
        if uses(Piece::Timestamp) != options.timestamp.is_some() {
            return Err(bad(
                "timestamp",
                "is needed exactly where `signed` holds {timestamp}: a time that is not signed protects from nothing",
            ));
        }
        if uses(Piece::Id) != options.id_header.is_some() {
            return Err(bad("id_header", "is needed exactly where `signed` holds {id}"));
        }
        let mut timestamp_element = None;
        let timestamp = match &options.timestamp {
            None => None,
            Some(at) => {
                match (&at.header, &at.element) {
                    (Some(_), None) => {}
                    (None, Some(element)) if options.element.is_some() => timestamp_element = Some(element.clone()),
                    _ => return Err(bad("timestamp", "needs `header`, or `element` where the signature is one too")),
                }
                Some(Stamp {
                    header: at.header.as_ref().map(|name| name.to_ascii_lowercase()),
                    unit: at.unit,
                    tolerance: Duration::from_secs(at.tolerance_seconds),
                })
            }
        };
        let layout = match &options.element {
            Some(_) if options.prefix.is_some() => return Err(bad("prefix", "cannot be used with `element`")),
            Some(element) => Layout::Elements { signature: element.clone(), timestamp: timestamp_element },
            None => Layout::One { prefix: options.prefix.clone().unwrap_or_default() },
        };
        let keys = keys(secrets, |secret| match options.key.unwrap_or_default() {
            KeyEncoding::Utf8 => Ok(secret.as_bytes().to_vec()),
            KeyEncoding::Hex => hex::decode(secret).map_err(|_| "is not hex, as the recipe expects"),
            KeyEncoding::Base64 => STANDARD.decode(secret).map_err(|_| "is not base64, as the recipe expects"),
        })?;
        let algorithm = options.algorithm.unwrap_or_default();
        Ok(Self {
            name: match algorithm {
                Algorithm::Sha256 => "hmac-sha256",
                Algorithm::Sha1 => "hmac-sha1",
            },
            header: options.header.as_deref().unwrap_or_default().to_ascii_lowercase(),
            algorithm,
            encoding: options.encoding.unwrap_or_default(),
            layout,
            template,
            id_header: options.id_header.as_ref().map(|name| name.to_ascii_lowercase()),
            forbidden_in_id: None,
            timestamp,
            secrets: secrets.clone(),
            keys,
        })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn header(&self) -> &str {
        &self.header
    }

    pub fn matches_secret(&self, candidate: &str) -> bool {
        self.secrets.any(|secret| secret.matches(candidate.as_bytes()))
    }

    pub fn check(&self, request: &RawEvent, now: Timestamp) -> Result<(), Refusal> {
        let line = unique(request, &self.header)?;
        let stamp = self.stamp_of(request, line)?;
        if let (Some(at), Some(text)) = (&self.timestamp, stamp) {
            let time = at.unit.parse(text).ok_or_else(|| Refusal::signature("the signed timestamp cannot be read"))?;
            if !verify::within(time, now, at.tolerance) {
                return Err(Refusal::signature("the signed timestamp is too far from now"));
            }
        }
        let id = self.id_header.as_deref().map(|name| unique(request, name)).transpose()?;
        if let (Some(id), Some(forbidden)) = (id, self.forbidden_in_id)
            && id.contains(forbidden)
        {
            return Err(Refusal::signature(format!("the id holds '{forbidden}'")));
        }
        let given = self.signatures(line);
        let mut passed = false;
        for key in &self.keys {
            let mac = self.mac(key, request, id, stamp);
            for signature in &given {
                passed |= match self.encoding {
                    Encoding::Hex => verify::hex_matches(&mac, signature),
                    Encoding::Base64 => verify::base64_matches(&mac, signature),
                };
            }
        }
        if passed { Ok(()) } else { Err(Refusal::signature(format!("{} does not match", self.header))) }
    }

    fn stamp_of<'a>(&'a self, request: &'a RawEvent, line: &'a str) -> Result<Option<&'a str>, Refusal> {
        let Some(at) = &self.timestamp else { return Ok(None) };
        match (&at.header, &self.layout) {
            (Some(name), _) => unique(request, name).map(Some),
            (None, Layout::Elements { timestamp: Some(name), .. }) => {
                let mut all = elements(line, name);
                match (all.next(), all.next()) {
                    (Some(one), None) => Ok(Some(one)),
                    _ => Err(Refusal::signature(format!("{}: needs one {name}=", self.header))),
                }
            }
            (None, _) => Ok(None),
        }
    }

    fn signatures<'a>(&'a self, line: &'a str) -> Vec<&'a str> {
        let all: Box<dyn Iterator<Item = &str>> = match &self.layout {
            Layout::One { prefix } => Box::new(line.strip_prefix(prefix.as_str()).into_iter()),
            Layout::Spaced { prefix } => Box::new(line.split(' ').filter_map(|one| one.strip_prefix(*prefix))),
            Layout::Elements { signature, .. } => Box::new(elements(line, signature)),
        };
        all.take(SIGNATURES_MAX).collect()
    }

    fn mac(&self, key: &[u8], request: &RawEvent, id: Option<&str>, stamp: Option<&str>) -> Vec<u8> {
        let parts: Vec<&[u8]> = self
            .template
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_bytes(),
                Piece::Body => &request.body,
                Piece::Timestamp => stamp.unwrap_or_default().as_bytes(),
                Piece::Id => id.unwrap_or_default().as_bytes(),
                Piece::Method => request.method.as_bytes(),
                Piece::Url => request.uri.as_bytes(),
            })
            .collect();
        match self.algorithm {
            Algorithm::Sha256 => verify::hmac_sha256(key, &parts).to_vec(),
            Algorithm::Sha1 => verify::hmac_sha1(key, &parts).to_vec(),
        }
    }

    /// Signs with the first key. An id that is missing is made from the body, so that the same body keeps it.
    pub fn sign(&self, request: &mut RawEvent, now: Timestamp) {
        let id = self.id_header.as_deref().map(|name| match request.headers.get(name) {
            Some(id) => id.to_owned(),
            None => {
                let id = format!("msg_{}", &sha256_hex(&request.body)[..24]);
                request.headers.set(name, id.clone());
                id
            }
        });
        let stamp = self.timestamp.as_ref().map(|at| at.unit.format(now));
        let Some(key) = self.keys.first() else { return };
        let mac = self.mac(key, request, id.as_deref(), stamp.as_deref());
        let text = match self.encoding {
            Encoding::Hex => hex::encode(mac),
            Encoding::Base64 => verify::to_base64(&mac),
        };
        if let (Some(Stamp { header: Some(name), .. }), Some(stamp)) = (&self.timestamp, &stamp) {
            request.headers.set(name, stamp.clone());
        }
        let line = match &self.layout {
            Layout::One { prefix } => format!("{prefix}{text}"),
            Layout::Spaced { prefix } => format!("{prefix}{text}"),
            Layout::Elements { signature, timestamp: Some(name) } => {
                format!("{name}={},{signature}={text}", stamp.unwrap_or_default())
            }
            Layout::Elements { signature, timestamp: None } => format!("{signature}={text}"),
        };
        request.headers.set(&self.header, line);
    }
}

fn unique<'a>(request: &'a RawEvent, name: &str) -> Result<&'a str, Refusal> {
    request.headers.unique(name).map_err(|fault| Refusal::signature(format!("{name}: {fault}")))
}

/// Values of `name=` in a list apart by commas.
fn elements<'a>(line: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(',').filter_map(move |element| element.trim().strip_prefix(name)?.strip_prefix('='))
}

fn keys(
    secrets: &Secrets,
    decode: impl Fn(&str) -> Result<Vec<u8>, &'static str>,
) -> Result<Vec<Vec<u8>>, ConfigError> {
    let keys: Vec<Vec<u8>> = secrets
        .iter()
        .map(|secret| decode(secret.expose()).map_err(|message| ConfigError::new("secret", message)))
        .collect::<Result<_, _>>()?;
    match keys.iter().any(Vec::is_empty) {
        true => Err(ConfigError::new("secret", "the key is empty")),
        false => Ok(keys),
    }
}

fn template(text: &str) -> Result<Vec<Piece>, ConfigError> {
    let bad = |message: String| ConfigError::new("verify.signed", message);
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, tail) = rest.split_at(open);
        let close = tail.find('}').ok_or_else(|| bad("a { is not closed".to_owned()))?;
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        pieces.push(match &tail[1..close] {
            "body" => Piece::Body,
            "timestamp" => Piece::Timestamp,
            "id" => Piece::Id,
            "method" => Piece::Method,
            "url" => Piece::Url,
            other => {
                return Err(bad(format!(
                    "'{{{other}}}' is none of {{body}}, {{timestamp}}, {{id}}, {{method}}, {{url}}"
                )));
            }
        });
        rest = &tail[close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

impl TimeUnit {
    fn parse(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Seconds => Timestamp::from_unix_seconds(text.parse().ok()?),
            Self::Milliseconds => Timestamp::from_unix_millis(text.parse().ok()?),
            Self::Rfc3339 => Timestamp::parse(text),
        }
    }

    fn format(self, at: Timestamp) -> String {
        match self {
            Self::Seconds => at.unix_seconds().to_string(),
            Self::Milliseconds => at.unix_millis().to_string(),
            Self::Rfc3339 => at.to_string(),
        }
    }
}
