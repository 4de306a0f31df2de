//! The form as HTML: the hosted page, the fragment that the embed script puts into a site, and pages without a form.
//!
//! Everything works without a script: errors come as a summary with links, each field names its error, and what was
//! typed stays. Whatever comes from outside goes through [`escape`].

use std::borrow::Cow;
use std::fmt::Write;

use crate::check::FieldError;
use crate::config::FieldKind;
use crate::form::{Form, FormField};
use crate::wire::{self, Submission};

mod field;

const STYLE: &str = include_str!("assets/form.css");

/// What a page shows beyond the empty form.
#[derive(Default)]
pub struct View<'a> {
    pub token: String,
    pub submission_id: String,
    /// What was typed, to be shown again.
    pub typed: Option<&'a Submission>,
    pub errors: &'a [FieldError],
    /// A message about the whole form.
    pub banner: Option<String>,
    pub referrer: Option<String>,
}

/// The whole page with the form.
pub fn page(form: &Form, view: &View<'_>) -> String {
    let mut body = format!("<h1>{}</h1>\n", escape(&form.title));
    if let Some(intro) = &form.config.intro {
        let _ = writeln!(body, "<p class=\"intro\">{}</p>", escape(intro));
    }
    body.push_str(&fragment(form, view));
    let wrong = !view.errors.is_empty() || view.banner.is_some();
    let title = match wrong {
        // Screen readers say the title first.
        true => format!("{}: {}", form.texts.get("error"), form.title),
        false => form.title.clone(),
    };
    document(form, &title, &body)
}

/// A page that only says something; `back` = a link to the form, relative to the page.
pub fn notice(form: &Form, heading: &str, text: &str, back: Option<&str>) -> String {
    let mut body = format!(
        "<div class=\"notice\" role=\"status\" tabindex=\"-1\" autofocus>\n<h1>{}</h1>\n<p>{}</p>\n",
        escape(heading),
        escape(text)
    );
    if let Some(back) = back {
        let label = escape(form.texts.get("another")).into_owned();
        let _ = writeln!(body, "<p><a href=\"{}\">{label}</a></p>", escape(back));
    }
    body.push_str("</div>\n");
    document(form, heading, &body)
}

fn document(form: &Form, title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"{lang}\" dir=\"{direction}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{style}</style>\n</head>\n<body class=\"page\">\n<main>\n{body}</main>\n</body>\n</html>\n",
        lang = escape(&form.config.lang),
        direction = form.direction,
        title = escape(title),
        style = form.style,
    )
}

/// The form alone with its error summary.
pub fn fragment(form: &Form, view: &View<'_>) -> String {
    let mut out = summary(form, view);
    let encoding = if form.takes_files() { "multipart/form-data" } else { "application/x-www-form-urlencoded" };
    // Without an action it goes to the page's own address, query included.
    let _ = writeln!(out, "<form method=\"post\" enctype=\"{encoding}\" accept-charset=\"utf-8\">");
    let referrer = view.referrer.as_deref().unwrap_or_default();
    let hidden = [(wire::TOKEN, &*view.token), (wire::SUBMISSION_ID, &view.submission_id), (wire::REFERRER, referrer)];
    for (name, value) in hidden.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
    }
    for field in &form.fields {
        field::write(&mut out, form, field, view);
    }
    out.push_str(&honeypot(form));
    let button = form.config.button.as_deref().unwrap_or_else(|| form.texts.get("send"));
    let _ = writeln!(out, "<p class=\"actions\"><button type=\"submit\">{}</button></p>\n</form>", escape(button));
    out
}

fn summary(form: &Form, view: &View<'_>) -> String {
    if view.errors.is_empty() && view.banner.is_none() {
        return String::new();
    }
    let heading = view.banner.as_deref().unwrap_or_else(|| form.texts.get("errors"));
    let mut out = format!(
        "<div class=\"summary\" id=\"summary\" role=\"alert\" tabindex=\"-1\" autofocus \
         aria-labelledby=\"summary-title\">\n<h2 id=\"summary-title\">{}</h2>\n",
        escape(heading)
    );
    let lost_files = view.typed.is_some_and(|typed| !typed.files.is_empty());
    if !view.errors.is_empty() || lost_files {
        out.push_str("<ul>\n");
        for error in view.errors {
            let message = escape(&error.message);
            let _ = match form.field(&error.field) {
                Some(field) => writeln!(out, "<li><a href=\"#{}\">{message}</a></li>", field::first_id(field)),
                None => writeln!(out, "<li>{message}</li>"),
            };
        }
        if lost_files {
            let _ = writeln!(out, "<li>{}</li>", escape(form.texts.get("files_again")));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</div>\n");
    out
}

/// Out of sight for people (by style, not by `hidden`, which programs know), out of the order of focus, and said to be
/// left empty where style does not reach.
fn honeypot(form: &Form) -> String {
    let name = escape(&form.config.honeypot_field);
    let label = escape(form.texts.get("honeypot"));
    format!(
        "<div class=\"apart\" aria-hidden=\"true\"><label for=\"f-{name}\">{label}</label>\
         <input id=\"f-{name}\" name=\"{name}\" type=\"text\" tabindex=\"-1\" autocomplete=\"off\"></div>\n"
    )
}

/// The style sheet with the form's accent and a text colour that can be read on it.
pub fn style(accent: &str) -> String {
    // Half-way in perceived contrast between black and white text (WCAG 2: equal ratios at 0.179).
    const EQUAL_CONTRAST: f32 = 0.179;
    let on_accent = if luminance(accent).unwrap_or(0.0) > EQUAL_CONTRAST { "#000000" } else { "#ffffff" };
    STYLE.replace("__ACCENT__", accent).replace("__ON_ACCENT__", on_accent)
}

/// Relative luminance (WCAG 2) of `#rrggbb`, 0…1.
pub fn luminance(colour: &str) -> Option<f32> {
    let digits = colour.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let channel = |at: usize| {
        let value = f32::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or(0)) / 255.0;
        if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    Some(0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4))
}

/// Safe as text and within quoted attributes.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '\0']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// Errors of one field.
fn errors_of<'a>(view: &View<'a>, field: &FormField) -> Vec<&'a FieldError> {
    view.errors.iter().filter(|error| error.field == field.key()).collect()
}

/// The values to show in a field: what was typed, else its value at the start.
fn shown_values<'a>(view: &View<'a>, field: &'a FormField) -> Vec<&'a str> {
    match (view.typed, &field.spec.value) {
        // Hidden values are the form's own.
        (Some(typed), _) if field.spec.kind != FieldKind::Hidden => {
            typed.values(field.key()).iter().map(String::as_str).collect()
        }
        (_, value) => value.iter().map(String::as_str).collect(),
    }
}
