//! Fixture cases: raw files in the provider's real shape.
//!
//! A case is a folder `fixtures/<case>/` with one input file, `case.toml` and `expected.json`:
//!
//! | file | becomes |
//! |---|---|
//! | `input.http` | a request: start line, header lines, blank line, body (as long as Content-Length says, else the rest) |
//! | `input.json` | an API item, wire `json` |
//! | `input.eml` | a mail, wire `mail` |
//! | `input.frames` | a session's frames, wire `frames` |
//! | `input.fetched` | what a fetch brought, wire `fetched` |
//!
//! `fixtures/defaults.toml` may hold the same keys as `case.toml`; a case's own win (tables are merged).

use std::collections::BTreeMap;

use bytes::Bytes;
use include_dir::Dir;
use inlet_schemas::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::headers::Headers;
use crate::raw::{RawEvent, Wire};

/// The public URL that fixtures are sent to, unless `public_url` says otherwise.
pub const PUBLIC_URL: &str = "https://inlet.example.com";

/// `case.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// One line: what the case shows.
    pub summary: String,
    /// Where the payload's shape is documented (name of a page or repository).
    pub source: String,
    /// The day on which that was looked up, ISO 8601.
    pub checked: String,
    /// The moment of receipt, RFC 3339; signatures are made for it.
    pub clock: String,
    /// Options of the instance.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Header lines of wires other than HTTP (`inlet-folder`, …).
    #[serde(default)]
    pub headers: Map<String, Value>,
    /// `RawEvent::uri` of wires other than HTTP.
    #[serde(default)]
    pub uri: String,
    #[serde(default)]
    pub public_url: Option<String>,
    /// What `admit` says of an `input.http`.
    #[serde(default)]
    pub admit: Expect,
    /// Required cases of the conformance suite that this one fulfils (`plain_text`, `unicode`, `empty_body`,
    /// `attachment`, `thread_reply`, `edit`, `delete`, `own_echo`, `unknown_type`, `batch`, `malformed`).
    #[serde(default)]
    pub covers: Vec<String>,
    /// What the proof of origin of an `input.http` is made of.
    #[serde(default)]
    pub admission: Proof,
    /// The answer to each outcome, with a line that says why: `safe`, `dead_lettered`, `not_safe_now`, `too_large`,
    /// `over_rate`, `refused` (a wrong signature).
    #[serde(default)]
    pub reply: BTreeMap<String, ExpectedReply>,
    /// Tokens within the input, besides those in `config`, that `redact` must mask and no event may hold.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Header lines that the provider adds or changes when it sends the same again.
    #[serde(default)]
    pub redelivery: BTreeMap<String, String>,
    /// JSON pointer of the array whose items are a batch: each has an outcome of its own.
    #[serde(default)]
    pub batch: Option<String>,
    /// How many items a batch holds that is not a JSON array.
    #[serde(default)]
    pub items: Option<usize>,
}

/// What a changed, old or stolen request is told by. Whatever the scheme does not protect needs a reason.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Headers without which, doubled, or with a byte changed the request is refused.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Query parameters of that sort.
    #[serde(default)]
    pub query: Vec<String>,
    /// Form or top-level JSON fields of that sort.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Any changed byte of the body is refused.
    #[serde(default)]
    pub body: bool,
    /// Another path or query is refused.
    #[serde(default)]
    pub url: bool,
    /// The proof is refused when it is older, or further in the future, than this.
    #[serde(default)]
    pub window_seconds: Option<u64>,
    /// Why the body is not covered.
    #[serde(default)]
    pub no_body: Option<String>,
    /// Why the proof does not age.
    #[serde(default)]
    pub no_window: Option<String>,
    /// Why there is no second secret while one is rotated.
    #[serde(default)]
    pub no_rotation: Option<String>,
}

/// A status and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedReply {
    pub status: u16,
    pub why: String,
}

/// Expected admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    #[default]
    Accept,
    /// A handshake, probe or page (`handshake_*`): answered, no input.
    Answer,
    Refuse,
}

/// A case ready to run.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub file: CaseFile,
    pub clock: Timestamp,
    pub raw: RawEvent,
    /// `expected.json`, where it is there.
    pub expected: Option<&'static str>,
}

impl Case {
    /// The instance's options as JSON.
    pub fn options(&self) -> Value {
        Value::Object(self.file.config.clone())
    }

    pub fn public_url(&self) -> &str {
        self.file.public_url.as_deref().unwrap_or(PUBLIC_URL)
    }
}

/// Every case below a fixtures folder, by name. An error names the case and file.
pub fn cases(fixtures: &'static Dir<'static>) -> Result<Vec<Case>, String> {
    let defaults = fixtures.get_file("defaults.toml").map(|file| text(file.contents(), "defaults.toml")).transpose()?;
    let mut cases = Vec::new();
    for dir in fixtures.dirs() {
        let name = dir.path().file_name().and_then(|name| name.to_str()).unwrap_or("?").to_owned();
        cases.push(case(dir, name.clone(), defaults).map_err(|error| format!("case {name}: {error}"))?);
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn case(dir: &'static Dir<'static>, name: String, defaults: Option<&str>) -> Result<Case, String> {
    let get = |file: &str| dir.get_file(dir.path().join(file));
    let own = get("case.toml").ok_or("case.toml is missing")?;
    let mut table = match defaults {
        Some(defaults) => parse_toml(defaults, "defaults.toml")?,
        None => Value::Object(Map::new()),
    };
    merge(&mut table, parse_toml(text(own.contents(), "case.toml")?, "case.toml")?);
    let file = CaseFile::deserialize(table).map_err(|e| format!("case.toml: {e}"))?;
    let clock = Timestamp::parse(&file.clock).ok_or("case.toml: clock is not RFC 3339")?;
    let inputs = [
        ("input.http", Wire::Http),
        ("input.json", Wire::Json),
        ("input.eml", Wire::Mail),
        ("input.frames", Wire::Frames),
        ("input.fetched", Wire::Fetched),
    ];
    let mut found = inputs.iter().filter_map(|(file, wire)| Some((get(file)?, *wire)));
    let (input, wire) = found.next().ok_or("no input file")?;
    if found.next().is_some() {
        return Err("more than one input file".into());
    }
    let raw = if wire == Wire::Http {
        let base = file.public_url.as_deref().unwrap_or(PUBLIC_URL);
        http_request(input.contents(), base, clock)?
    } else {
        other(input.contents(), wire, &file, clock)?
    };
    let expected = get("expected.json").map(|file| text(file.contents(), "expected.json")).transpose()?;
    Ok(Case { name, file, clock, raw, expected })
}

fn other(body: &'static [u8], wire: Wire, file: &CaseFile, clock: Timestamp) -> Result<RawEvent, String> {
    let mut raw = RawEvent::new(wire, Bytes::from_static(body), clock);
    raw.uri.clone_from(&file.uri);
    for (name, value) in &file.headers {
        let value = value.as_str().ok_or_else(|| format!("case.toml: headers.{name} must be a string"))?;
        raw.headers.push(name, value.to_owned());
    }
    Ok(raw)
}

/// Reads a raw request file. Lines of the head may end in LF or CRLF.
pub fn http_request(bytes: &[u8], public_url: &str, received_at: Timestamp) -> Result<RawEvent, String> {
    let mut rest = bytes;
    let mut line = || -> Result<&str, String> {
        let end = rest.iter().position(|b| *b == b'\n').ok_or("input.http: no blank line after the head")?;
        let (head, tail) = rest.split_at(end);
        rest = &tail[1..];
        text(head, "input.http").map(|line| line.trim_end_matches('\r'))
    };
    let start = line()?;
    let mut words = start.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(format!("input.http: start line '{start}' is not 'METHOD target HTTP/1.1'"));
    };
    let mut headers = Headers::default();
    loop {
        let header = line()?;
        if header.is_empty() {
            break;
        }
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("input.http: '{header}' is no header line"))?;
        headers.push(name.trim(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map(str::parse::<usize>).transpose().map_err(|e| e.to_string())?;
    let body = match length {
        Some(length) => rest.get(..length).ok_or("input.http: body is shorter than Content-Length")?,
        None => rest,
    };
    let mut raw = RawEvent::new(Wire::Http, Bytes::copy_from_slice(body), received_at);
    raw.method = method.to_owned();
    raw.uri = format!("{public_url}{target}");
    raw.headers = headers;
    Ok(raw)
}

fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8"))
}

fn parse_toml(text: &str, what: &str) -> Result<Value, String> {
    toml::from_str(text).map_err(|e| format!("{what}: {e}"))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(&key) {
                    Some(have) => merge(have, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (into, from) => *into = from,
    }
}
