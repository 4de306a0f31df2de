//! From a request's bytes to what was filled in: urlencoded, multipart and JSON alike.

mod json;
pub mod urlencoded;

use connector_sdk::body::{self, Part};
use connector_sdk::schemas::Charset;
use connector_sdk::text::one_line;
use connector_sdk::{Bytes, RawEvent};
use serde_json::{Map, Value};

/// Values and files of one submission together; beyond that it is no form.
pub const FIELDS_MAX: usize = 200;
/// Bytes of an id that the sender gives to a submission.
const SUBMISSION_ID_MAX_BYTES: usize = 200;

pub const TOKEN: &str = "_token";
pub const SUBMISSION_ID: &str = "_submission_id";
pub const PAGE_URL: &str = "_page_url";
pub const REFERRER: &str = "_referrer";
pub const LOCALE: &str = "_locale";
/// Browsers fill it with the page's encoding.
pub const CHARSET: &str = "_charset_";

/// What was filled in, in the order of the body, nothing cleaned or masked yet.
#[derive(Debug, Default)]
pub struct Submission {
    pub entries: Vec<Entry>,
    pub files: Vec<File>,
    /// Fields of the form itself (`_token` and so on).
    pub control: Map<String, Value>,
    pub charset: Option<Charset>,
    /// JSON types of values that are not strings, by key.
    pub json_types: Map<String, Value>,
}

/// A field with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub values: Vec<String>,
}

/// A file as it was uploaded.
#[derive(Clone, Debug)]
pub struct File {
    pub key: String,
    /// As sent, percent-encoding of browsers undone.
    pub name: String,
    pub media_type: Option<String>,
    pub bytes: Bytes,
}

/// Why a body is no submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireError {
    MediaType(String),
    Malformed(String),
    TooMany,
}

impl WireError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::MediaType(_) => "media_type",
            Self::Malformed(_) => "malformed",
            Self::TooMany => "too_many_fields",
        }
    }

    pub fn detail(&self) -> String {
        match self {
            Self::MediaType(given) => format!("media type '{given}' is not spoken here"),
            Self::Malformed(detail) => detail.clone(),
            Self::TooMany => format!("more than {FIELDS_MAX} fields"),
        }
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Urlencoded,
    Multipart,
    Json,
}

/// The encoding that a request names.
pub fn encoding(raw: &RawEvent) -> Result<Encoding, WireError> {
    match raw.headers.media_type().as_deref() {
        Some("application/x-www-form-urlencoded") => Ok(Encoding::Urlencoded),
        Some("multipart/form-data") => Ok(Encoding::Multipart),
        Some("application/json") => Ok(Encoding::Json),
        other => Err(WireError::MediaType(one_line(other.unwrap_or("")))),
    }
}

/// Reads a submission; total.
pub fn read(raw: &RawEvent) -> Result<Submission, WireError> {
    let submission = match encoding(raw)? {
        Encoding::Urlencoded => urlencoded::read(&raw.body, charset_parameter(raw).as_deref())?,
        Encoding::Multipart => from_parts(parts(raw)?),
        Encoding::Json => json::read(&raw.body)?,
    };
    if submission.count() > FIELDS_MAX {
        return Err(WireError::TooMany);
    }
    Ok(submission)
}

/// The parts of a multipart body.
pub fn parts(raw: &RawEvent) -> Result<Vec<Part>, WireError> {
    let content_type = raw.headers.get("content-type").unwrap_or_default();
    body::multipart(content_type, &raw.body, FIELDS_MAX).map_err(|error| WireError::Malformed(error.to_string()))
}

impl Submission {
    /// Adds a value, to the field of that key where it is there. PHP's `key[]` is `key`.
    fn add(&mut self, key: &str, value: String) {
        let key = key.strip_suffix("[]").unwrap_or(key);
        if [TOKEN, SUBMISSION_ID, PAGE_URL, REFERRER, LOCALE, CHARSET].contains(&key) {
            self.control.entry(key).or_insert(Value::from(value));
            return;
        }
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.values.push(value),
            None => self.entries.push(Entry { key: key.to_owned(), values: vec![value] }),
        }
    }

    /// Makes sure that a field is there although it may have no value.
    fn declare(&mut self, key: &str) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            self.entries.push(Entry { key: key.to_owned(), values: Vec::new() });
        }
    }

    /// Values and files; a field without a value counts as well.
    fn count(&self) -> usize {
        self.entries.iter().map(|entry| entry.values.len().max(1)).sum::<usize>() + self.files.len()
    }

    pub fn values(&self, key: &str) -> &[String] {
        self.entries.iter().find(|entry| entry.key == key).map_or(&[], |entry| &entry.values)
    }

    pub fn files_of<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.key == key)
    }

    /// A field of the form itself, as one line.
    pub fn control(&self, key: &str) -> Option<String> {
        self.control.get(key)?.as_str().map(one_line).filter(|text| !text.is_empty())
    }

    pub fn token(&self) -> Option<&str> {
        self.control.get(TOKEN)?.as_str()
    }

    /// The id that the sender gave: header Idempotency-Key, else the field.
    pub fn id(&self, raw: &RawEvent) -> Option<String> {
        let given = raw.headers.get("idempotency-key").map(|text| one_line(text.trim_matches('"')));
        let id = given.filter(|id| !id.is_empty()).or_else(|| self.control(SUBMISSION_ID))?;
        Some(connector_sdk::text::cut(&id, SUBMISSION_ID_MAX_BYTES).0.to_owned())
    }
}

fn from_parts(parts: Vec<Part>) -> Submission {
    let mut submission = Submission::default();
    let mut lossy = false;
    for part in parts {
        match part.file_name {
            // A browser sends an empty part where no file was chosen.
            Some(name) if name.is_empty() && part.bytes.is_empty() => {}
            Some(name) => submission.files.push(File {
                key: part.name.strip_suffix("[]").unwrap_or(&part.name).to_owned(),
                name: unescape_file_name(&name),
                media_type: part.content_type.map(|text| one_line(&text)),
                bytes: part.bytes,
            }),
            None => {
                let text = String::from_utf8_lossy(&part.bytes);
                lossy |= matches!(text, std::borrow::Cow::Owned(_));
                submission.add(&part.name, text.into_owned());
            }
        }
    }
    if lossy {
        submission.charset = Some(Charset { declared: None, used: "utf-8".to_owned(), lossy });
    }
    submission
}

/// Browsers write quotes and line breaks of a file name as `%22`, `%0D` and `%0A` and nothing else so (WHATWG HTML,
/// multipart/form-data encoding algorithm).
fn unescape_file_name(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

fn charset_parameter(raw: &RawEvent) -> Option<String> {
    let header = raw.headers.get("content-type")?;
    header.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The boundary parameter of a Content-Type.
pub fn boundary(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
    let rest = &content_type[at..];
    let boundary = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([';', ' ']).next(),
    };
    boundary.filter(|boundary| !boundary.is_empty()).map(str::to_owned)
}

/// Writes parts as a multipart body with the boundary of `content_type`.
pub fn write_parts(content_type: &str, parts: &[Part]) -> Option<Vec<u8>> {
    let boundary = boundary(content_type)?;
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quote(&part.name)).bytes());
        if let Some(name) = &part.file_name {
            body.extend(format!("; filename=\"{}\"", quote(name)).bytes());
        }
        if let Some(content_type) = &part.content_type {
            body.extend(format!("\r\ncontent-type: {content_type}").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(&part.bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    Some(body)
}

fn quote(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
