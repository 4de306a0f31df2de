//! The form as built: options checked, defaults filled in, patterns compiled, style fixed.

use connector_sdk::ConfigError;
use connector_sdk::verify::to_base64;
use regex::Regex;
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::{Config, Field, FieldKind};
use crate::page;
use crate::texts::{Texts, direction};

const KEY_MAX_BYTES: usize = 64;
const MAX_SECONDS_MAX: u64 = 30 * 24 * 60 * 60;
const ACCENT: &str = "#1d4ed8";
/// Compiled size of one pattern; a hostile pattern must not take the process down.
const PATTERN_MAX_BYTES: usize = 1 << 20;

/// An instance's form.
pub struct Form {
    pub config: Config,
    pub id: String,
    pub name: String,
    pub title: String,
    pub direction: &'static str,
    pub texts: Texts,
    pub fields: Vec<FormField>,
    /// Style sheet of page and embed.
    pub style: String,
    /// Content-Security-Policy of every page.
    pub csp: String,
}

/// A field with its label and compiled pattern.
pub struct FormField {
    pub spec: Field,
    pub label: String,
    pub pattern: Option<Regex>,
}

impl FormField {
    pub fn key(&self) -> &str {
        &self.spec.key
    }

    /// A checkbox without choices: one yes or nothing.
    pub fn is_single_checkbox(&self) -> bool {
        self.spec.kind == FieldKind::Checkbox && self.spec.options.is_empty()
    }
}

impl Form {
    /// Checks the options; errors name the option.
    pub fn build(config: Config, instance: &str) -> Result<Self, ConfigError> {
        let texts = Texts::build(&config.lang, &config.texts)?;
        check_site(&config)?;
        let specs = config.fields.clone().unwrap_or_else(|| default_fields(&texts));
        if specs.is_empty() {
            return Err(ConfigError::new("fields", "a form needs at least one field"));
        }
        let mut fields: Vec<FormField> = Vec::new();
        for (at, spec) in specs.into_iter().enumerate() {
            let field = build_field(spec, &config, &format!("fields[{at}]"))?;
            if fields.iter().any(|have| have.key() == field.key()) {
                return Err(ConfigError::new(format!("fields[{at}].key"), "another field has this key"));
            }
            fields.push(field);
        }
        check_roles(&config, &fields)?;
        let id = config.form_id.clone().unwrap_or_else(|| instance.to_owned());
        let title = config.title.clone().unwrap_or_else(|| texts.get("title").to_owned());
        let style = page::style(config.accent.as_deref().unwrap_or(ACCENT));
        Ok(Self {
            id: if id.is_empty() { "contact".to_owned() } else { id },
            name: config.form_name.clone().unwrap_or_else(|| title.clone()),
            direction: direction(&config.lang),
            csp: csp(&config, &style),
            title,
            texts,
            fields,
            style,
            config,
        })
    }

    pub fn field(&self, key: &str) -> Option<&FormField> {
        self.fields.iter().find(|field| field.key() == key)
    }

    pub fn takes_files(&self) -> bool {
        self.fields.iter().any(|field| field.spec.kind == FieldKind::File)
    }
}

fn check_site(config: &Config) -> Result<(), ConfigError> {
    let error = |path: &str, message: &str| Err(ConfigError::new(path, message));
    if config.lang.is_empty() || !config.lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return error("lang", "not a language tag; give one such as en or pt-BR");
    }
    if config.accent.as_deref().is_some_and(|accent| page::luminance(accent).is_none()) {
        return error("accent", "not a colour; give one such as #1d4ed8");
    }
    if let Some(redirect) = &config.redirect
        && !Url::parse(redirect).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return error("redirect", "not a URL; give one such as https://www.example.com/thanks");
    }
    for (at, origin) in config.allowed_origins.iter().enumerate() {
        if !Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin) {
            let message = "not an origin; give scheme, host and port as browsers send them: https://www.example.com";
            return error(&format!("allowed_origins[{at}]"), message);
        }
    }
    if config.min_seconds >= config.max_seconds {
        return error("min_seconds", "must be less than max_seconds");
    }
    if config.max_seconds > MAX_SECONDS_MAX {
        return error("max_seconds", "more than 30 days; a token is for one visit");
    }
    if !valid_key(&config.honeypot_field) {
        return error("honeypot_field", "letters, digits, '_', '.' and '-' only, beginning with a letter");
    }
    if config.file_max_bytes > config.body_max_bytes {
        return error("file_max_bytes", "larger than body_max_bytes, so that it could never be reached");
    }
    Ok(())
}

fn build_field(spec: Field, config: &Config, path: &str) -> Result<FormField, ConfigError> {
    let error = |name: &str, message: String| Err(ConfigError::new(format!("{path}.{name}"), message));
    if !valid_key(&spec.key) {
        return error("key", "letters, digits, '_', '.' and '-' only, beginning with a letter, at most 64".to_owned());
    }
    if spec.key == config.honeypot_field {
        return error("key", "is the honeypot's; rename one of them".to_owned());
    }
    if matches!(spec.kind, FieldKind::Select | FieldKind::Radio) && spec.options.is_empty() {
        return error("options", format!("a field of type {} needs options", spec.kind.as_str()));
    }
    let pattern = match &spec.pattern {
        Some(pattern) => {
            let whole = format!("^(?:{pattern})$");
            match regex::RegexBuilder::new(&whole).size_limit(PATTERN_MAX_BYTES).build() {
                Ok(regex) => Some(regex),
                Err(e) => return error("pattern", format!("not a usable regular expression: {e}")),
            }
        }
        None => None,
    };
    let label = spec.label.clone().unwrap_or_else(|| spec.key.clone());
    Ok(FormField { spec, label, pattern })
}

fn check_roles(config: &Config, fields: &[FormField]) -> Result<(), ConfigError> {
    let roles = [
        ("name_field", &config.name_field),
        ("email_field", &config.email_field),
        ("phone_field", &config.phone_field),
        ("subject_field", &config.subject_field),
        ("message_field", &config.message_field),
    ];
    for (option, key) in roles {
        if let Some(key) = key
            && !fields.iter().any(|field| field.key() == key)
        {
            let known = fields.iter().map(FormField::key).collect::<Vec<_>>().join(", ");
            return Err(ConfigError::new(option, format!("no field has the key '{key}'; there are {known}")));
        }
    }
    Ok(())
}

/// Keys stand in HTML ids and names; a leading `_` marks fields of the form itself.
fn valid_key(key: &str) -> bool {
    key.len() <= KEY_MAX_BYTES
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn default_fields(texts: &Texts) -> Vec<Field> {
    let field = |key: &str, kind| Field {
        key: key.to_owned(),
        label: Some(texts.get(key).to_owned()),
        kind,
        ..Field::default()
    };
    vec![
        field("name", FieldKind::Text),
        Field { required: true, ..field("email", FieldKind::Email) },
        Field { required: true, ..field("message", FieldKind::Textarea) },
        Field { multiple: true, ..field("file", FieldKind::File) },
    ]
}

/// Nothing may load or run on the page but its own style. `form-action` names the redirect's origin too, since browsers
/// apply it to redirects after a submission.
fn csp(config: &Config, style: &str) -> String {
    let hash = to_base64(&Sha256::digest(style.as_bytes()));
    let target = config.redirect.as_deref().and_then(|url| Url::parse(url).ok());
    let target = target.map(|url| format!(" {}", url.origin().ascii_serialization())).unwrap_or_default();
    let frames: String = config.allowed_origins.iter().map(|origin| format!(" {origin}")).collect();
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'{target}; \
         frame-ancestors 'self'{frames}; base-uri 'none'"
    )
}
