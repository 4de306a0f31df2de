//! Options of an instance.

use std::collections::BTreeMap;

use connector_sdk::verify::Secrets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const MIN_SECONDS: u64 = 2;
const MAX_SECONDS: u64 = 24 * 60 * 60;
const DEDUPE_SECONDS: u64 = 10 * 60;
const BODY_MAX_BYTES: usize = 32 << 20;
const FILE_MAX_BYTES: usize = 25 << 20;
const FILES_MAX: usize = 10;
const RATE_BURST: u32 = 30;
const RATE_EVERY_SECONDS: u64 = 2;

/// Options of a contact form.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Signs the time-trap token of each page; two secrets while one is being rotated.
    pub secret: Secrets,
    /// Id of the form in events (`account`); the instance's name by default. Set it before renaming an instance.
    #[serde(default)]
    pub form_id: Option<String>,
    /// Name of the form in events; the title by default.
    #[serde(default)]
    pub form_name: Option<String>,
    /// Language of the page, BCP 47. Texts exist in en, de, fr, es, ru, he and ar; any other gets English ones, to be overridden by `texts`.
    #[serde(default = "english")]
    pub lang: String,
    /// Heading of the page.
    #[serde(default)]
    pub title: Option<String>,
    /// Text below the heading.
    #[serde(default)]
    pub intro: Option<String>,
    /// Caption of the send button.
    #[serde(default)]
    pub button: Option<String>,
    /// Text shown after sending.
    #[serde(default)]
    pub thanks: Option<String>,
    /// Overrides single texts of the page by key, such as error messages (keys: src/assets/texts.toml).
    #[serde(default)]
    pub texts: BTreeMap<String, String>,
    /// Colour of the button, `#rrggbb`.
    #[serde(default)]
    pub accent: Option<String>,
    /// The form's fields in order; by default name, email, message and file.
    #[serde(default)]
    pub fields: Option<Vec<Field>>,
    /// Where a browser is sent after a submission (URL) instead of the thanks page. Never taken from a request.
    #[serde(default)]
    pub redirect: Option<String>,
    /// Sites that may embed the form: exact origins (`https://www.example.com`).
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Also accept the origin `null` (sandboxed frames, local files).
    #[serde(default)]
    pub allow_null_origin: bool,
    /// What becomes of submissions that look like spam.
    #[serde(default)]
    pub spam: SpamPolicy,
    /// A submission faster than this after the page was made is suspect; seconds.
    #[serde(default = "min_seconds")]
    pub min_seconds: u64,
    /// A page older than this when it is submitted is suspect; seconds.
    #[serde(default = "max_seconds")]
    pub max_seconds: u64,
    /// Whether a submission without a time-trap token is suspect; switch it off for servers that post to the form.
    #[serde(default = "yes")]
    pub require_token: bool,
    /// Name of the field that people do not see and programs fill in.
    #[serde(default = "honeypot")]
    pub honeypot_field: String,
    /// Key of the field with the sender's name; found by type, key and label where not set, as the four below.
    #[serde(default)]
    pub name_field: Option<String>,
    /// Key of the field with the sender's e-mail address.
    #[serde(default)]
    pub email_field: Option<String>,
    /// Key of the field with the sender's phone number.
    #[serde(default)]
    pub phone_field: Option<String>,
    /// Key of the field with the subject.
    #[serde(default)]
    pub subject_field: Option<String>,
    /// Key of the field with the message.
    #[serde(default)]
    pub message_field: Option<String>,
    /// Submissions from one address.
    #[serde(default)]
    pub rate: Rate,
    /// Cap of a request's body in bytes, files included.
    #[serde(default = "body_max_bytes")]
    pub body_max_bytes: usize,
    /// Cap of one file in bytes.
    #[serde(default = "file_max_bytes")]
    pub file_max_bytes: usize,
    /// Cap of the number of files in a submission.
    #[serde(default = "files_max")]
    pub files_max: usize,
    /// Equal submissions without a page token within this span are one, in seconds; 0 = every request is its own event.
    #[serde(default = "dedupe_seconds")]
    pub dedupe_seconds: u64,
    /// Keep the sender's IP address in the event.
    #[serde(default = "yes")]
    pub keep_ip: bool,
    /// Mask numbers that look like payment cards.
    #[serde(default = "yes")]
    pub mask_card_numbers: bool,
    /// `routing.department` of the events.
    #[serde(default)]
    pub department: Option<String>,
    /// `routing.queue` of the events.
    #[serde(default)]
    pub queue: Option<String>,
    /// `routing.priority` of the events.
    #[serde(default)]
    pub priority: Option<String>,
    /// `routing.tags` of the events.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// What becomes of suspected spam.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpamPolicy {
    /// Published with `provenance.spam`.
    #[default]
    Mark,
    /// Refused with 422 and a request to send again.
    Refuse,
}

/// At most `burst` requests at once, refilled one each `every_seconds`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests at once; 0 = no limit.
    #[serde(default = "rate_burst")]
    pub burst: u32,
    /// Seconds until one more is allowed.
    #[serde(default = "rate_every_seconds")]
    pub every_seconds: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: RATE_BURST, every_seconds: RATE_EVERY_SECONDS }
    }
}

/// One field of the form.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Name in submissions and events: letters, digits, `_`, `.`, `-`; not beginning with `_`.
    pub key: String,
    /// What people read; the key by default.
    #[serde(default)]
    pub label: Option<String>,
    /// Sort of input.
    #[serde(default, rename = "type")]
    pub kind: FieldKind,
    /// Must be filled in.
    #[serde(default)]
    pub required: bool,
    /// Takes several values: select, file, email.
    #[serde(default)]
    pub multiple: bool,
    /// Choices of select, radio and checkbox; a checkbox without choices is a single yes.
    #[serde(default)]
    pub options: Vec<Choice>,
    /// Explanation below the label.
    #[serde(default)]
    pub hint: Option<String>,
    /// Value at the start; the value of a hidden field.
    #[serde(default)]
    pub value: Option<String>,
    /// Longest value in characters.
    #[serde(default)]
    pub max_length: Option<usize>,
    /// Regular expression that the whole value must match.
    #[serde(default)]
    pub pattern: Option<String>,
    /// What the pattern wants, in words.
    #[serde(default)]
    pub pattern_hint: Option<String>,
    /// Files taken: extensions (`.pdf`) and media types (`image/*`).
    #[serde(default)]
    pub accept: Vec<String>,
    /// HTML `autocomplete` value, where it should differ from what the type suggests.
    #[serde(default)]
    pub autocomplete: Option<String>,
    /// Marks a consent; the value is the version of its wording (`privacy-2026-01`).
    #[serde(default)]
    pub consent: Option<String>,
}

/// Sort of input, as in HTML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    #[default]
    Text,
    Email,
    Tel,
    Url,
    Number,
    Date,
    Textarea,
    Select,
    Checkbox,
    Radio,
    File,
    Hidden,
}

impl FieldKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Email => "email",
            Self::Tel => "tel",
            Self::Url => "url",
            Self::Number => "number",
            Self::Date => "date",
            Self::Textarea => "textarea",
            Self::Select => "select",
            Self::Checkbox => "checkbox",
            Self::Radio => "radio",
            Self::File => "file",
            Self::Hidden => "hidden",
        }
    }
}

/// A choice: its value alone, or value and label.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum Choice {
    Value(String),
    Labelled(LabelledChoice),
}

/// A choice whose label differs from its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelledChoice {
    /// What is sent.
    pub value: String,
    /// What people read.
    pub label: String,
}

/// By hand, since serde's untagged enums do not say which key of a map is wrong.
impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Choice;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, or a map with value and label")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Choice, E> {
                Ok(Choice::Value(text.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Choice, A::Error> {
                let choice = LabelledChoice::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Choice::Labelled(choice))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Choice {
    pub fn value(&self) -> &str {
        match self {
            Self::Value(value) => value,
            Self::Labelled(choice) => &choice.value,
        }
    }

    pub fn label(&self) -> &str {
        match self {
            Self::Value(value) => value,
            Self::Labelled(choice) => &choice.label,
        }
    }
}

fn english() -> String {
    "en".to_owned()
}
fn honeypot() -> String {
    // Plausible enough to be filled in by programs, and nothing that a browser's autofill knows.
    "office_colour".to_owned()
}
fn yes() -> bool {
    true
}
fn min_seconds() -> u64 {
    MIN_SECONDS
}
fn max_seconds() -> u64 {
    MAX_SECONDS
}
fn dedupe_seconds() -> u64 {
    DEDUPE_SECONDS
}
fn body_max_bytes() -> usize {
    BODY_MAX_BYTES
}
fn file_max_bytes() -> usize {
    FILE_MAX_BYTES
}
fn files_max() -> usize {
    FILES_MAX
}
fn rate_burst() -> u32 {
    RATE_BURST
}
fn rate_every_seconds() -> u64 {
    RATE_EVERY_SECONDS
}
