//! One field as HTML: label, hint, error, control; groups as `fieldset`.

use std::fmt::Write;

use super::{View, errors_of, escape, shown_values};
use crate::check::bytes;
use crate::config::FieldKind;
use crate::form::{Form, FormField};
use crate::mask;
use crate::roles;

const TEXTAREA_ROWS: usize = 6;

/// Id of the element that a link to the field's error leads to.
pub fn first_id(field: &FormField) -> String {
    match is_group(field) {
        true => format!("f-{}-1", field.key()),
        false => format!("f-{}", field.key()),
    }
}

/// Writes a field.
pub fn write(out: &mut String, form: &Form, field: &FormField, view: &View<'_>) {
    if field.spec.kind == FieldKind::Hidden {
        let value = shown_values(view, field).first().copied().unwrap_or_default();
        let _ = writeln!(out, "<input type=\"hidden\" name=\"{}\" value=\"{}\">", escape(field.key()), escape(value));
        return;
    }
    let (around, label) = if is_group(field) { ("fieldset", "legend") } else { ("div", "label") };
    let invalid = if errors_of(view, field).is_empty() { "" } else { " invalid" };
    let _ = writeln!(out, "<{around} class=\"field{invalid}\" data-field=\"{}\">", escape(field.key()));
    if field.is_single_checkbox() {
        notes(out, form, field, view);
        let _ = write!(out, "<div class=\"choice\">");
        checkbox(out, form, field, view);
        write_label(out, form, field, label);
        out.push_str("</div>\n");
    } else {
        write_label(out, form, field, label);
        notes(out, form, field, view);
        control(out, form, field, view);
    }
    let _ = writeln!(out, "</{around}>");
}

/// Radio buttons and check boxes with choices.
fn is_group(field: &FormField) -> bool {
    matches!(field.spec.kind, FieldKind::Radio | FieldKind::Checkbox) && !field.is_single_checkbox()
}

fn write_label(out: &mut String, form: &Form, field: &FormField, element: &str) {
    let target = if element == "label" { format!(" for=\"{}\"", first_id(field)) } else { String::new() };
    let optional = match field.spec.required {
        true => String::new(),
        false => format!(" <span class=\"optional\">({})</span>", escape(form.texts.get("optional"))),
    };
    let _ = writeln!(out, "<{element}{target}>{}{optional}</{element}>", escape(&field.label));
}

/// Hint and errors, which the control refers to.
fn notes(out: &mut String, form: &Form, field: &FormField, view: &View<'_>) {
    let key = escape(field.key());
    if let Some(hint) = hint(form, field) {
        let _ = writeln!(out, "<p class=\"hint\" id=\"f-{key}-hint\">{}</p>", escape(&hint));
    }
    let errors = errors_of(view, field);
    if !errors.is_empty() {
        let texts = errors.iter().map(|error| escape(&error.message).into_owned()).collect::<Vec<_>>().join("<br>");
        let _ = writeln!(out, "<p class=\"error\" id=\"f-{key}-error\">{texts}</p>");
    }
}

fn hint(form: &Form, field: &FormField) -> Option<String> {
    let of_files = || {
        let count = if field.spec.multiple { form.config.files_max } else { 1 }.to_string();
        form.texts.fill("file_hint", &[("count", &count), ("size", &bytes(form.config.file_max_bytes))])
    };
    match (&field.spec.hint, field.spec.kind) {
        (Some(hint), _) => Some(hint.clone()),
        (None, FieldKind::File) => Some(of_files()),
        (None, _) => None,
    }
}

fn control(out: &mut String, form: &Form, field: &FormField, view: &View<'_>) {
    let values = shown_values(view, field);
    let attributes = attributes(form, field, view);
    match field.spec.kind {
        FieldKind::Textarea => {
            let text = escape(values.first().copied().unwrap_or_default()).into_owned();
            // A line break right behind the tag is swallowed by browsers; the one written here is.
            let _ = writeln!(out, "<textarea rows=\"{TEXTAREA_ROWS}\"{attributes}>\n{text}</textarea>");
        }
        FieldKind::Select => select(out, form, field, &values, &attributes),
        FieldKind::Radio | FieldKind::Checkbox => group(out, form, field, &values, view),
        FieldKind::File => {
            let _ = writeln!(out, "<input type=\"file\"{attributes}>");
        }
        kind => {
            let value = match values.first() {
                // What is not stored is not shown either.
                Some(value) if !mask::is_secret(field.key()) => format!(" value=\"{}\"", escape(value)),
                _ => String::new(),
            };
            let _ = writeln!(out, "<input type=\"{}\"{attributes}{value}>", kind.as_str());
        }
    }
}

/// Attributes that all controls share, each with a space before it.
fn attributes(form: &Form, field: &FormField, view: &View<'_>) -> String {
    let spec = &field.spec;
    let key = escape(field.key());
    let mut out = format!(" id=\"f-{key}\" name=\"{key}\"");
    if spec.required {
        out.push_str(" required");
    }
    if spec.multiple {
        out.push_str(" multiple");
    }
    let is_text = !matches!(spec.kind, FieldKind::Select | FieldKind::File | FieldKind::Date | FieldKind::Number);
    // Addresses and numbers run from left to right in every language; words as they are written.
    match spec.kind {
        FieldKind::Text | FieldKind::Textarea => out.push_str(" dir=\"auto\""),
        FieldKind::Email | FieldKind::Tel | FieldKind::Url if form.direction == "rtl" => out.push_str(" dir=\"ltr\""),
        _ => {}
    }
    if let Some(max) = spec.max_length.filter(|_| is_text) {
        let _ = write!(out, " maxlength=\"{max}\"");
    }
    if spec.kind == FieldKind::Number {
        out.push_str(" step=\"any\"");
    }
    if let Some(pattern) = &spec.pattern
        && is_text
        && spec.kind != FieldKind::Textarea
    {
        let _ = write!(out, " pattern=\"{}\"", escape(pattern));
        if let Some(hint) = &spec.pattern_hint {
            let _ = write!(out, " title=\"{}\"", escape(hint));
        }
    }
    if !spec.accept.is_empty() {
        let _ = write!(out, " accept=\"{}\"", escape(&spec.accept.join(",")));
    }
    if let Some(autocomplete) = autocomplete(form, field) {
        let _ = write!(out, " autocomplete=\"{}\"", escape(&autocomplete));
    }
    out + &described(form, field, view)
}

/// What browsers may fill in (WCAG 2.1, 1.3.5).
fn autocomplete(form: &Form, field: &FormField) -> Option<String> {
    let by_kind = match field.spec.kind {
        FieldKind::Email => Some("email"),
        FieldKind::Tel => Some("tel"),
        FieldKind::Url => Some("url"),
        FieldKind::Text if roles::is_name(&form.config, field.key()) => Some("name"),
        _ => None,
    };
    field.spec.autocomplete.clone().or_else(|| by_kind.map(str::to_owned))
}

/// `aria-describedby` and `aria-invalid`.
fn described(form: &Form, field: &FormField, view: &View<'_>) -> String {
    let key = escape(field.key());
    let invalid = !errors_of(view, field).is_empty();
    let mut ids = Vec::new();
    if hint(form, field).is_some() {
        ids.push(format!("f-{key}-hint"));
    }
    if invalid {
        ids.push(format!("f-{key}-error"));
    }
    let mut out = String::new();
    if !ids.is_empty() {
        let _ = write!(out, " aria-describedby=\"{}\"", ids.join(" "));
    }
    if invalid {
        out.push_str(" aria-invalid=\"true\"");
    }
    out
}

fn select(out: &mut String, form: &Form, field: &FormField, values: &[&str], attributes: &str) {
    let _ = writeln!(out, "<select{attributes}>");
    if !field.spec.multiple {
        let _ = writeln!(out, "<option value=\"\">{}</option>", escape(form.texts.get("choose")));
    }
    for choice in &field.spec.options {
        let selected = if values.contains(&choice.value()) { " selected" } else { "" };
        let (value, label) = (escape(choice.value()), escape(choice.label()));
        let _ = writeln!(out, "<option value=\"{value}\"{selected}>{label}</option>");
    }
    out.push_str("</select>\n");
}

fn group(out: &mut String, form: &Form, field: &FormField, values: &[&str], view: &View<'_>) {
    let kind = field.spec.kind.as_str();
    let key = escape(field.key());
    let described = described(form, field, view);
    // `required` on check boxes would demand every one of them.
    let required = if field.spec.required && field.spec.kind == FieldKind::Radio { " required" } else { "" };
    for (at, choice) in field.spec.options.iter().enumerate() {
        let id = format!("f-{key}-{}", at + 1);
        let checked = if values.contains(&choice.value()) { " checked" } else { "" };
        let _ = writeln!(
            out,
            "<div class=\"choice\"><input type=\"{kind}\" id=\"{id}\" name=\"{key}\" value=\"{}\"{checked}{required}{described}>\
             <label for=\"{id}\">{}</label></div>",
            escape(choice.value()),
            escape(choice.label())
        );
    }
}

fn checkbox(out: &mut String, form: &Form, field: &FormField, view: &View<'_>) {
    let yes = field.spec.value.as_deref().unwrap_or(YES);
    let checked = view.typed.is_some_and(|typed| !typed.values(field.key()).is_empty());
    let checked = if checked { " checked" } else { "" };
    let required = if field.spec.required { " required" } else { "" };
    let key = escape(field.key());
    let described = described(form, field, view);
    let _ = write!(
        out,
        "<input type=\"checkbox\" id=\"f-{key}\" name=\"{key}\" value=\"{}\"{checked}{required}{described}>",
        escape(yes)
    );
}

/// Value of a single check box that names none.
const YES: &str = "yes";
