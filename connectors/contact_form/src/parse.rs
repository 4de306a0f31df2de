//! A submission to its event. Total and lenient: what `admit` let in is published, whatever the schema says by now.

use std::sync::Arc;

use connector_sdk::schemas::{
    Actor, Attachment, Channel, Conversation, ConversationType, Disposition, Event, FetchState, FormField, Identity,
    KeyBasis, Kind, Part, Provenance, Routing, Spam, scheme,
};
use connector_sdk::text::{clean, file_name, one_line};
use connector_sdk::{Draft, EventKey, Parse, Parsed, RawEvent, phone};

use crate::config::FieldKind;
use crate::form::Form;
use crate::roles::{self, Roles};
use crate::token::Token;
use crate::wire::{self, Submission};
use crate::{PROVIDER, id, mask, redact, spam};

mod extra;

/// `field_type` of a field that the form does not have.
const UNLISTED: &str = "unlisted";

/// [`Parse`] of one form.
pub struct FormParse(pub Arc<Form>);

impl Parse for FormParse {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        match wire::read(raw) {
            Ok(submission) => Parsed::one(draft(&self.0, raw, submission)),
            Err(error) => Parsed::reject(error.code(), error.detail()),
        }
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        redact::request(&self.0, raw)
    }
}

fn draft(form: &Form, raw: &RawEvent, submission: Submission) -> Draft {
    let event = Event::new(Kind::FormSubmitted, Channel::Form, PROVIDER, &form.id, raw.received_at);
    let mut draft = Draft::new(EventKey::new(""), event);
    for (at, file) in submission.files.iter().enumerate() {
        attach(&mut draft, at, file);
    }
    let fields = fields(form, &submission);
    let key = id::key(form, raw, &submission, &fields, &draft.event.attachments);
    let filled: Vec<FormField> = fields.iter().filter(|f| f.values.iter().any(|v| !v.is_empty())).cloned().collect();
    let roles = roles::find(&form.config, &filled);
    let event = &mut draft.event;
    event.sender = sender(&roles, &fields, extra::locale(raw, &submission));
    event.conversation = Conversation::new(KeyBasis::Submission, &key.event_id).of_type(ConversationType::Form);
    event.conversation.title = Some(form.name.clone());
    event.conversation.subject = roles.subject.as_deref().and_then(|key| first(&fields, key));
    event.text = Some(text(form, &fields));
    event.provider_data = Some(extra::provider_data(form, raw, &submission, &roles, &fields).into());
    event.provenance = provenance(form, raw, &submission);
    event.provenance.message_ids = vec![key.event_id.clone()];
    event.provenance.provider_event_id = submission.id(raw);
    event.routing = Routing {
        department: form.config.department.clone(),
        queue: form.config.queue.clone(),
        priority: form.config.priority.clone(),
        tags: form.config.tags.clone(),
        language: None,
    };
    event.content = vec![Part::Form {
        form_id: form.id.clone(),
        form_name: Some(form.name.clone()),
        fields,
        page_url: extra::page_url(raw, &submission),
    }];
    draft.key = key;
    draft
}

fn attach(draft: &mut Draft, at: usize, file: &wire::File) {
    let mut attachment = Attachment::new(format!("{}/{}", file.key, at + 1), FetchState::Stored);
    attachment.file_name = file_name(&file.name);
    attachment.file_name_raw = Some(file.name.clone()).filter(|raw| attachment.file_name.as_ref() != Some(raw));
    attachment.media_type = file.media_type.clone();
    attachment.media_type_sniffed = infer::get(&file.bytes).map(|found| found.mime_type().to_owned());
    attachment.size_bytes = Some(file.bytes.len() as u64);
    attachment.disposition = Some(Disposition::Attachment);
    draft.attach(attachment, file.bytes.clone());
}

/// The form's fields in its order, then what came beyond them, cleaned and masked.
fn fields(form: &Form, submission: &Submission) -> Vec<FormField> {
    let tidy = |key: &str, kind: Option<FieldKind>, value: &str| {
        let value = match kind {
            Some(FieldKind::Textarea) | None => clean(value).into_owned(),
            Some(_) => one_line(value),
        };
        let cards = form.config.mask_card_numbers && !matches!(kind, Some(FieldKind::Tel | FieldKind::Email));
        mask::value(key, &value, cards).into_owned()
    };
    let values = |key: &str, kind: Option<FieldKind>| -> Vec<String> {
        let files = submission.files_of(key).map(|file| file_name(&file.name).unwrap_or_default());
        let texts = submission.values(key).iter().map(|value| tidy(key, kind, value));
        texts.filter(|text| kind.is_none() || !text.is_empty()).chain(files).collect()
    };
    let mut fields: Vec<FormField> = form
        .fields
        .iter()
        .map(|field| FormField {
            key: field.key().to_owned(),
            label: Some(field.label.clone()),
            field_type: Some(field.spec.kind.as_str().to_owned()),
            values: values(field.key(), Some(field.spec.kind)),
        })
        .collect();
    let keys = submission.entries.iter().map(|entry| &entry.key).chain(submission.files.iter().map(|file| &file.key));
    for key in keys {
        let known = *key == form.config.honeypot_field || fields.iter().any(|field| field.key == *key);
        if !known {
            let values = values(key, None);
            fields.push(FormField { key: one_line(key), label: None, field_type: Some(UNLISTED.to_owned()), values });
        }
    }
    fields
}

/// Every filled field as `label: value`, a line each; several lines below their label.
fn text(form: &Form, fields: &[FormField]) -> String {
    let mut lines = Vec::new();
    for field in fields.iter().filter(|field| field.values.iter().any(|value| !value.is_empty())) {
        let label = field.label.as_deref().unwrap_or(&field.key);
        let spec = form.field(&field.key).map(|field| &field.spec);
        let shown = |value: &String| -> String {
            let choice = spec.and_then(|spec| spec.options.iter().find(|choice| choice.value() == value));
            choice.map_or_else(|| value.clone(), |choice| choice.label().to_owned())
        };
        let value = field.values.iter().map(shown).collect::<Vec<_>>().join(", ");
        let apart = if value.contains('\n') { "\n" } else { " " };
        lines.push(format!("{label}:{apart}{value}"));
    }
    lines.join("\n")
}

/// Who sent it, by their own word: nothing here is verified.
fn sender(roles: &Roles, fields: &[FormField], locale: Option<String>) -> Option<Actor> {
    let mut identities = Vec::new();
    if let Some(email) = roles.email.as_deref().and_then(|key| first(fields, key)) {
        identities.push(Identity::claimed(scheme::EMAIL, email));
    }
    if let Some(number) = roles.phone.as_deref().and_then(|key| first(fields, key)) {
        identities.push(match phone::e164(&number, false) {
            Some(number) => Identity::claimed(scheme::PHONE, number),
            None => Identity::claimed(scheme::PHONE_RAW, number),
        });
    }
    let names: Vec<String> = roles.name.iter().filter_map(|key| first(fields, key)).collect();
    let name = Some(names.join(" ")).filter(|name| !name.is_empty());
    let sender = Actor { locale, ..Actor::new(identities).named(name) };
    (sender != Actor::default()).then_some(sender)
}

/// The first value of a field as one line, so that it is safe in a header.
fn first(fields: &[FormField], key: &str) -> Option<String> {
    let field = fields.iter().find(|field| field.key == key)?;
    field.values.first().map(|value| one_line(value)).filter(|value| !value.is_empty())
}

fn provenance(form: &Form, raw: &RawEvent, submission: &Submission) -> Provenance {
    let reasons = spam::reasons(form, raw, submission, raw.received_at);
    let sealed = matches!(spam::token(form, submission, raw.received_at), Token::Sealed { .. });
    let dirty = |text: &String| matches!(clean(text), std::borrow::Cow::Owned(_)) && text.contains(is_illegal);
    Provenance {
        provider_type: Some("submission".to_owned()),
        parser_version: Some(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned()),
        verified_by: sealed.then(|| "form-token".to_owned()),
        sanitized: submission.charset.as_ref().is_some_and(|charset| charset.lossy)
            || submission.entries.iter().any(|entry| entry.values.iter().any(dirty)),
        charset: submission.charset.clone(),
        spam: (!reasons.is_empty()).then(|| Spam {
            suspected: true,
            reasons: reasons.into_iter().map(str::to_owned).collect(),
            score: None,
        }),
        ..Provenance::default()
    }
}

/// Control characters that cleaning takes out; line breaks are only made equal.
fn is_illegal(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}
