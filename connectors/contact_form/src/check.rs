//! Whether a submission is filled in as the form asks, with an error for each field that is not.

use std::collections::HashSet;

use connector_sdk::text::{file_name, one_line};
use url::Url;

use crate::config::FieldKind;
use crate::form::{Form, FormField};
use crate::wire::{File, Submission};

/// Longest value in characters, whatever `max_length` says.
const VALUE_MAX_CHARS: usize = 64 << 10;
/// Longest address (RFC 5321: 256 octets of path with its brackets).
const EMAIL_MAX_BYTES: usize = 254;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Key of the field; empty where it is about the whole form.
    pub field: String,
    /// Stable: `required`, `email`, `url`, `date`, `number`, `option`, `pattern`, `too_long`, `too_large`,
    /// `too_many_files`, `file_type`, `empty`.
    pub code: &'static str,
    /// In the form's language.
    pub message: String,
}

impl FieldError {
    pub fn whole(code: &'static str, message: impl Into<String>) -> Self {
        Self { field: String::new(), code, message: message.into() }
    }
}

/// Everything that is wrong, in the form's order.
pub fn errors(form: &Form, submission: &Submission) -> Vec<FieldError> {
    let nothing = |text: &String| text.trim().is_empty();
    let honeypot = &form.config.honeypot_field;
    let filled = submission.entries.iter().any(|e| e.key != *honeypot && !e.values.iter().all(nothing));
    if !filled && submission.files.is_empty() {
        return vec![FieldError::whole("empty", form.texts.get("e_empty"))];
    }
    let mut errors: Vec<FieldError> = Vec::new();
    for field in &form.fields {
        let found = match field.spec.kind {
            FieldKind::File => file_errors(form, field, submission),
            _ => value_error(form, field, submission.values(field.key())).into_iter().collect(),
        };
        errors.extend(found);
    }
    let unlisted = submission.entries.iter().filter(|entry| form.field(&entry.key).is_none());
    for entry in unlisted.filter(|entry| entry.values.iter().any(|value| length(value) > VALUE_MAX_CHARS)) {
        let max = VALUE_MAX_CHARS.to_string();
        let message = form.texts.fill("e_too_long", &[("label", &one_line(&entry.key)), ("max", &max)]);
        errors.push(FieldError { field: one_line(&entry.key), code: "too_long", message });
    }
    let stray: Vec<&File> = submission.files.iter().filter(|file| !takes_files(form, &file.key)).collect();
    errors.extend(stray.into_iter().filter_map(|file| too_large(form, &one_line(&file.key), &file.key, file)));
    if submission.files.len() > form.config.files_max {
        let max = form.config.files_max.to_string();
        let field = form.fields.iter().find(|field| field.spec.kind == FieldKind::File);
        let message = form.texts.fill("e_too_many_files", &[("max", &max)]);
        errors.push(FieldError { field: field.map_or("", |f| f.key()).to_owned(), code: "too_many_files", message });
    }
    errors
}

fn takes_files(form: &Form, key: &str) -> bool {
    form.field(key).is_some_and(|field| field.spec.kind == FieldKind::File)
}

fn error(form: &Form, field: &FormField, code: &'static str, values: &[(&str, &str)]) -> FieldError {
    let mut places = vec![("label", field.label.as_str())];
    places.extend(values);
    let message = form.texts.fill(&format!("e_{code}"), &places);
    FieldError { field: field.key().to_owned(), code, message }
}

fn value_error(form: &Form, field: &FormField, values: &[String]) -> Option<FieldError> {
    let filled: Vec<&str> = values.iter().map(String::as_str).filter(|value| !value.trim().is_empty()).collect();
    if filled.is_empty() {
        return field.spec.required.then(|| error(form, field, "required", &[]));
    }
    filled.into_iter().find_map(|value| one_value_error(form, field, value))
}

fn one_value_error(form: &Form, field: &FormField, value: &str) -> Option<FieldError> {
    let max = field.spec.max_length.unwrap_or(VALUE_MAX_CHARS).min(VALUE_MAX_CHARS);
    if length(value) > max {
        return Some(error(form, field, "too_long", &[("max", &max.to_string())]));
    }
    let options = &field.spec.options;
    let value = value.trim();
    let bad = match field.spec.kind {
        FieldKind::Email if !value.split(is_separator(field)).all(|one| is_email(one.trim())) => Some("email"),
        FieldKind::Url if !Url::parse(value).is_ok_and(|url| url.has_host()) => Some("url"),
        FieldKind::Date if !is_date(value) => Some("date"),
        FieldKind::Number if !is_number(value) => Some("number"),
        _ if !options.is_empty() && !options.iter().any(|choice| choice.value() == value) => Some("option"),
        _ => None,
    };
    if let Some(code) = bad {
        return Some(error(form, field, code, &[]));
    }
    let matches = field.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value));
    let hint = || field.spec.pattern_hint.as_deref().unwrap_or_else(|| form.texts.get("e_format"));
    (!matches).then(|| error(form, field, "pattern", &[("hint", hint())]))
}

/// Characters; a browser sends a line break as two, and counts it as one.
fn length(value: &str) -> usize {
    value.chars().filter(|c| *c != '\r').count()
}

/// Browsers send several addresses of one field with commas between them.
fn is_separator(field: &FormField) -> impl Fn(char) -> bool {
    let several = field.spec.multiple;
    move |c| several && c == ','
}

/// A mail address as far as its shape tells; whether it exists only a mail can show.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '(' | ')' | ',' | ';');
    let labels_filled = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    text.len() <= EMAIL_MAX_BYTES
        && !local.is_empty()
        && !local.contains('@')
        && text.chars().all(plain)
        && labels_filled
}

/// `2026-01-31`, as date inputs send it, with a day that exists.
fn is_date(text: &str) -> bool {
    text.len() == "2026-01-31".len() && connector_sdk::Timestamp::parse(&format!("{text}T00:00:00Z")).is_some()
}

/// HTML's floating-point number; checked by shape, never converted.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mantissa = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    (digits(whole) || whole.is_empty())
        && digits(fraction)
        && digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))
        && !mantissa.is_empty()
}

fn file_errors(form: &Form, field: &FormField, submission: &Submission) -> Vec<FieldError> {
    let files: Vec<&File> = submission.files_of(field.key()).collect();
    if files.is_empty() && field.spec.required {
        return vec![error(form, field, "required", &[])];
    }
    let wrong_type = files.iter().filter(|file| !accepted(&field.spec.accept, file)).map(|file| {
        let accept = field.spec.accept.join(", ");
        error(form, field, "file_type", &[("file", &shown(file)), ("accept", &accept)])
    });
    let too_large = files.iter().filter_map(|file| too_large(form, &field.label, field.key(), file));
    wrong_type.chain(too_large).collect()
}

fn too_large(form: &Form, label: &str, key: &str, file: &File) -> Option<FieldError> {
    let max = form.config.file_max_bytes;
    let values = [("label", label), ("file", &shown(file)), ("max", &bytes(max))];
    let message = || form.texts.fill("e_too_large", &values);
    (file.bytes.len() > max).then(|| FieldError { field: key.to_owned(), code: "too_large", message: message() })
}

fn shown(file: &File) -> String {
    file_name(&file.name).unwrap_or_else(|| "?".to_owned())
}

/// Whether a file's name, declared type or first bytes fit one of the accepted extensions and types.
fn accepted(accept: &[String], file: &File) -> bool {
    let name = file.name.to_lowercase();
    let sniffed = infer::get(&file.bytes).map(|found| found.mime_type().to_owned());
    let types: HashSet<String> =
        [file.media_type.clone(), sniffed].into_iter().flatten().map(|found| found.to_lowercase()).collect();
    accept.is_empty()
        || accept.iter().map(|wanted| wanted.to_lowercase()).any(|wanted| match wanted.strip_suffix("/*") {
            _ if wanted.starts_with('.') => name.ends_with(&wanted),
            Some(family) => types.iter().any(|found| found.split('/').next() == Some(family)),
            None => types.contains(&wanted),
        })
}

/// A size for people, in binary units.
pub fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{} KB", count / 1024),
        _ => format!("{} MB", count / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_values() {
        for good in ["a@b.example", "o'neil+x@sub.b.example", "用户@例え.jp", "\"odd\"@b.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "a@b", "@b.example", "a@b..example", "a b@c.example", "a@b@c.example", "a@b.\r\nx"] {
            assert!(!is_email(bad), "{bad}");
        }
        for good in ["0", "-1.5", "1e9", ".5", "12345678901234567890"] {
            assert!(is_number(good), "{good}");
        }
        for bad in ["", "-", "1,5", "x", "1e", "1.", "NaN"] {
            assert!(!is_number(bad), "{bad}");
        }
        assert!(is_date("2028-02-29") && !is_date("2026-02-29") && !is_date("31.01.2026"));
    }
}
