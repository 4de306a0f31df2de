//! The mail as an event.

use std::time::Duration;

use bytes::Bytes;
use connector_sdk::schemas::{
    Actor, Attachment, Channel, Charset, Conversation, ConversationType, Direction, Event, FetchState, Identity,
    KeyBasis, Kind, Part, Provenance, Recipient, Role, Target, TextFormat, scheme,
};
use connector_sdk::{Draft, EventKey, Parsed, Timestamp, html, key, text};
use serde_json::{Map, Value, json};

use crate::address::{self, Mailbox};
use crate::body::{MAX_TEXT_BYTES, Readable};
use crate::class::{self, Class, Facts};
use crate::files::{self, Notes, truncated};
use crate::header::{self, Headers};
use crate::mime::{self, Fault};
use crate::report::{self, Report};
use crate::thread::{self, Thread};
use crate::{auth, date, id};

/// [`Event::provider`] of every mail, so that its id does not depend on the way that it came.
pub const PROVIDER: &str = "email";

/// A Date later than the receipt by more than this is a wrong clock.
const MAX_AHEAD: Duration = Duration::from_hours(24);
/// A Date before this (1990-01-01) is a wrong clock.
const EARLIEST_UNIX_SECONDS: i64 = 631_152_000;
/// A conversation key longer than this is replaced by its hash.
const MAX_KEY_BYTES: usize = 400;
/// Cap of the headers in `provider_data`, names and values.
const MAX_HEADER_DATA_BYTES: usize = 64 << 10;

/// Headers that have a field of their own in the event; only their first occurrence is left out of `provider_data`.
const MAPPED: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "subject",
    "message-id",
    "in-reply-to",
    "references",
    "reply-to",
    "content-type",
    "content-transfer-encoding",
    "mime-version",
    "date",
];

const ADDRESS_LISTS: &[&str] = &["from", "to", "cc", "bcc", "reply-to"];

/// What is known about a mail beside its bytes.
#[derive(Clone, Debug)]
pub struct MailInput<'a> {
    /// The mailbox that received it.
    pub account: &'a str,
    /// Addresses of the business, lower case: mail from them is an echo of its own.
    pub own_addresses: &'a [String],
    /// When the store received it.
    pub internal_date: Option<Timestamp>,
    /// When Inlet received it.
    pub received_at: Timestamp,
    /// Where it was found, for `provider_data`.
    pub source: Value,
    /// Size of the whole mail where only its headers were read, because it is over the cap.
    pub only_headers_of_bytes: Option<u64>,
    pub resync: bool,
    pub backfill: bool,
    pub verified_by: &'a str,
    pub parser_version: &'a str,
}

/// The event of a mail. Total: what has no header at all is rejected, anything else becomes an event.
pub fn parse(mail: &Bytes, input: &MailInput<'_>) -> Parsed {
    let (headers, body_at) = header::split(mail);
    if headers.0.is_empty() {
        return Parsed::reject("not_a_mail", "no header line was found");
    }
    let body = mail.get(body_at..).unwrap_or_default();
    let root = match input.only_headers_of_bytes {
        Some(_) => Err(Fault::Unreadable),
        None => mime::parse(mail, &headers, body_at),
    };
    let facts = MailFacts::of(&headers, root.as_ref().ok());
    let key = match input.only_headers_of_bytes {
        Some(size) => id::of_headers(&headers, size),
        None => id::of_mail(&headers, body),
    };
    let occurred_at = occurred_at(&headers, input);
    let event = Event::new(facts.class.kind.clone(), Channel::Email, PROVIDER, input.account, occurred_at);
    let mut draft = Draft::new(EventKey::new(key), event);
    let mut notes = Notes::default();
    people(&mut draft, &headers, &facts, input, &mut notes);
    provenance(&mut draft, &headers, &facts, input);
    match (&root, input.only_headers_of_bytes) {
        (Ok(root), _) => content(&mut draft, root, mail, &mut notes),
        (Err(_), Some(size)) => only_headers(&mut draft, size, mail.len() as u64),
        (Err(fault), None) => {
            notes.flag(if *fault == Fault::TooNested { "too_nested" } else { "unreadable_structure" });
            files::attach_whole(&mut draft, mail);
        }
    }
    conversation(&mut draft, &headers, &facts, input);
    if let Some(subject) = headers.first("subject").map(crate::words::decode).filter(|subject| subject.lossy) {
        note_lossy(&mut draft.event.provenance, subject.declared);
    }
    draft.event.provenance.sanitized |= header_bytes(&headers).any(|raw| raw.contains(&0));
    draft.event.provider_data = Some(provider_data(&mut draft, &headers, &facts, input, notes).into());
    Parsed::one(draft)
}

/// The subject lost something in decoding.
fn note_lossy(provenance: &mut Provenance, declared: Option<String>) {
    match &mut provenance.charset {
        Some(charset) => charset.lossy = true,
        None => {
            let used = declared.clone().unwrap_or_else(|| "utf-8".to_owned());
            provenance.charset = Some(Charset { declared, used, lossy: true });
        }
    }
}

/// What the headers and reports say about the mail as a whole.
struct MailFacts {
    thread: Thread,
    report: Option<Report>,
    /// Who failed, of a bounce that is no standard report.
    failed: Option<Vec<String>>,
    envelope_from: Option<String>,
    class: Class,
}

impl MailFacts {
    fn of(headers: &Headers<'_>, root: Option<&mime::Part<'_>>) -> Self {
        let thread = Thread::of(headers);
        let envelope_from = headers.plain("return-path").map(|path| path.trim_matches(['<', '>', ' ']).to_owned());
        let null_sender = envelope_from.as_deref() == Some("");
        let report = root.and_then(|root| report::find(root, headers));
        let failed = if report.is_none() { report::informal_bounce(headers, null_sender) } else { None };
        let facts = Facts {
            report: report.as_ref(),
            informal_bounce: failed.is_some(),
            null_sender,
            is_reply: class::is_reply(&thread),
        };
        let class = class::classify(headers, facts);
        Self { thread, report, failed, envelope_from, class }
    }
}

/// The Date header where it is possible, else when the mail was received; both are kept in `provider_data`.
fn occurred_at(headers: &Headers<'_>, input: &MailInput<'_>) -> Timestamp {
    let received = input.internal_date.unwrap_or(input.received_at);
    headers
        .plain("date")
        .and_then(|text| date::parse(&text))
        .filter(|at| at.unix_seconds() >= EARLIEST_UNIX_SECONDS && at.since(received) <= MAX_AHEAD)
        .unwrap_or(received)
}

fn people(draft: &mut Draft, headers: &Headers<'_>, facts: &MailFacts, input: &MailInput<'_>, notes: &mut Notes) {
    let from = headers.first("from").or_else(|| headers.first("sender")).map(|raw| address::parse(raw).0);
    let from = from.unwrap_or_default();
    if headers.all("from").count() > 1 || from.len() > 1 {
        notes.flag("several_from");
    }
    let event = &mut draft.event;
    let sender = from.into_iter().next().or_else(|| {
        let envelope = facts.envelope_from.clone().filter(|address| !address.is_empty())?;
        Some(Mailbox { name: None, address: Some(envelope) })
    });
    let own = sender.as_ref().and_then(|mailbox| mailbox.address.as_deref()).is_some_and(|a| is_own(a, input));
    if own && event.kind != Kind::Bounce {
        event.direction = Direction::OutboundEcho;
    }
    event.sender = sender.map(actor);
    for (role, names) in [
        (Role::To, &["to"][..]),
        (Role::Cc, &["cc"]),
        (Role::Bcc, &["bcc"]),
        (Role::ReplyTo, &["reply-to"]),
        (Role::DeliveredTo, &["delivered-to", "x-original-to", "x-delivered-to", "envelope-to", "x-envelope-to"]),
    ] {
        let raws = names.iter().flat_map(|name| headers.all(name));
        for raw in raws {
            let (list, count) = address::parse(raw);
            if count > list.len() {
                truncated(draft, "/recipients", raw.len() as u64, (raw.len() * list.len() / count) as u64);
            }
            for mailbox in list {
                let recipient = Recipient { role: role.clone(), actor: actor(mailbox) };
                if !draft.event.recipients.contains(&recipient) {
                    draft.event.recipients.push(recipient);
                }
            }
        }
    }
}

fn actor(mailbox: Mailbox) -> Actor {
    let identities = mailbox.address.map(|address| Identity::claimed(scheme::EMAIL, address)).into_iter().collect();
    Actor::new(identities).named(mailbox.name)
}

/// Whether an address is the business's, with or without a plus tag.
fn is_own(address: &str, input: &MailInput<'_>) -> bool {
    let lower = address.to_lowercase();
    let untagged = address::plus_tag(&lower).map(|(base, _)| base);
    input.own_addresses.iter().any(|own| *own == lower || Some(own) == untagged.as_ref())
}

fn provenance(draft: &mut Draft, headers: &Headers<'_>, facts: &MailFacts, input: &MailInput<'_>) {
    draft.event.provenance = Provenance {
        message_ids: facts.thread.message_id.clone().into_iter().collect(),
        provider_type: Some(headers.first("content-type").map(crate::params::Params::parse).unwrap_or_default().main)
            .filter(|main| !main.is_empty()),
        parser_version: Some(input.parser_version.to_owned()),
        verified_by: Some(input.verified_by.to_owned()),
        authentication: auth::received(headers),
        automation: facts.class.automation.clone(),
        spam: class::spam(headers),
        backfill: input.backfill,
        resync: input.resync,
        truncations: std::mem::take(&mut draft.event.provenance.truncations),
        ..Provenance::default()
    };
}

fn content(draft: &mut Draft, root: &mime::Part<'_>, mail: &Bytes, notes: &mut Notes) {
    let readable = Readable::of(root);
    let whole = readable.text();
    let (shown, cut) = text::cut(&whole, MAX_TEXT_BYTES);
    let raw_html = readable.html();
    let safe_html = raw_html.as_deref().and_then(html::sanitize);
    if cut {
        truncated(draft, "/text", whole.len() as u64, shown.len() as u64);
    }
    if let (Some(raw), None) = (&raw_html, &safe_html) {
        truncated(draft, "/content", raw.len() as u64, 0);
    }
    let keep_text_parts = cut || raw_html.is_some() && safe_html.is_none();
    if !shown.is_empty() {
        draft.event.content.push(Part::Text {
            format: TextFormat::Plain,
            text: shown.to_owned(),
            reply_text: readable.reply_only(&whole),
        });
    }
    if let Some(html) = safe_html.filter(|html| !html.trim().is_empty()) {
        draft.event.content.push(Part::Text { format: TextFormat::Html, text: html, reply_text: None });
    }
    draft.event.text = Some(shown.to_owned());
    draft.event.provenance.sanitized = readable.sanitized;
    draft.event.provenance.charset = readable.charset.as_ref().map(|charset| Charset {
        declared: charset.declared.clone(),
        used: charset.used.clone(),
        lossy: charset.lossy,
    });
    let mut parts = if keep_text_parts { readable.text_parts.clone() } else { Vec::new() };
    parts.extend(&readable.files);
    files::attach(draft, &parts, raw_html.as_deref().unwrap_or_default(), mail, notes);
}

/// A mail over the cap: its headers are published, its content is named as too large.
fn only_headers(draft: &mut Draft, size_bytes: u64, kept_bytes: u64) {
    let mut attachment = Attachment::new(files::WHOLE_MAIL_ID, FetchState::TooLarge);
    attachment.reason = Some(format!("the mail of {size_bytes} bytes is over the cap; only its headers were read"));
    attachment.media_type = Some("message/rfc822".to_owned());
    attachment.size_bytes = Some(size_bytes);
    draft.event.attachments.push(attachment);
    truncated(draft, "/content", size_bytes, kept_bytes);
}

fn conversation(draft: &mut Draft, headers: &Headers<'_>, facts: &MailFacts, input: &MailInput<'_>) {
    let thread = &facts.thread;
    // A report belongs to the conversation of the mail that it is about.
    let about = facts.report.as_ref().map(|report| &report.original);
    let root = about.and_then(Thread::root).or_else(|| thread.root());
    let mut conversation = match root {
        Some(root) if root.len() <= MAX_KEY_BYTES => Conversation::new(KeyBasis::MailThread, root),
        Some(root) => Conversation::new(KeyBasis::MailThread, key::sha256_hex(root.as_bytes())),
        // Nothing names the thread: the event's own id becomes the key.
        None => Conversation::new(KeyBasis::Event, ""),
    };
    conversation.conversation_type = Some(ConversationType::MailThread);
    conversation.in_reply_to.clone_from(&thread.in_reply_to);
    conversation.references.clone_from(&thread.references);
    conversation.subject = headers.text("subject");
    let subject = conversation.subject.clone().unwrap_or_default();
    conversation.normalized_subject = conversation.subject.as_deref().map(thread::normalize_subject);
    conversation.plus_token = plus_token(&draft.event, input);
    conversation.ticket_markers = thread::ticket_markers(&subject, draft.event.text.as_deref().unwrap_or_default());
    if thread.reference_count > thread.references.len() {
        let (all, kept) = (thread.reference_count as u64, thread.references.len() as u64);
        let bytes = thread.references.iter().map(|id| id.len() as u64).sum::<u64>();
        truncated(draft, "/conversation/references", bytes * all / kept.max(1), bytes);
    }
    let event = &mut draft.event;
    if let Some(original) = about.and_then(|original| original.message_id.clone()) {
        event.target = Some(Target::message(original));
    }
    event.conversation = conversation;
}

/// The tag of the address by which the mail reached us.
fn plus_token(event: &Event, input: &MailInput<'_>) -> Option<String> {
    let tag = |role: Role, own_only: bool| {
        event.recipients.iter().filter(|recipient| recipient.role == role).find_map(|recipient| {
            let address = &recipient.actor.identities.first()?.value;
            let (_, tag) = address::plus_tag(address)?;
            (!own_only || is_own(address, input)).then_some(tag)
        })
    };
    tag(Role::DeliveredTo, false).or_else(|| tag(Role::To, true)).or_else(|| tag(Role::Cc, true))
}

fn header_bytes<'a>(headers: &'a Headers<'_>) -> impl Iterator<Item = &'a [u8]> {
    headers.0.iter().map(|field| field.raw)
}

/// What has no field of its own.
fn provider_data(
    draft: &mut Draft,
    headers: &Headers<'_>,
    facts: &MailFacts,
    input: &MailInput<'_>,
    notes: Notes,
) -> Value {
    let mut data = Map::new();
    data.insert("source".to_owned(), input.source.clone());
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            data.insert(name.to_owned(), value);
        }
    };
    put("date", json!(headers.plain("date")));
    put("internal_date", json!(input.internal_date.map(|at| at.to_string())));
    put("envelope_from", json!(facts.envelope_from));
    put("flags", json!(notes.flags));
    put("nested_messages", json!(notes.nested));
    put("failed_recipients", json!(facts.failed));
    if let Some(report) = &facts.report {
        let mut fields = report.fields.clone();
        fields["original_recipients"] = json!(report.original_recipients);
        put("report", fields);
    }
    put("headers", remaining_headers(draft, headers));
    Value::Object(data)
}

fn remaining_headers(draft: &mut Draft, headers: &Headers<'_>) -> Value {
    let mut seen: Vec<&str> = Vec::new();
    let mut list = Vec::new();
    let (mut kept, mut all) = (0usize, 0usize);
    for field in &headers.0 {
        let name = field.name.as_str();
        if MAPPED.contains(&name) && !seen.contains(&name) {
            seen.push(name);
            // An address list that holds no address (`undisclosed-recipients:;`) is in no other field.
            if !ADDRESS_LISTS.contains(&name) || !address::parse(field.raw).0.is_empty() {
                continue;
            }
        }
        let value = crate::words::decode(field.raw).text;
        all += field.name.len() + value.len();
        if all <= MAX_HEADER_DATA_BYTES {
            kept = all;
            list.push(json!({ "name": field.name, "value": value }));
        }
    }
    if all > kept {
        truncated(draft, "/provider_data/headers", all as u64, kept as u64);
    }
    Value::Array(list)
}
