//! From a mapping's output to an event.

use connector_sdk::schemas::{
    Actor, Call, Channel, Conversation, ConversationType, Direction, Event, FormField, Identity, KeyBasis, Kind, Part,
    Recipient, Role, Target, TextFormat, UnsupportedPart, scheme,
};
use connector_sdk::{Draft, EventKey, FetchOrder, RawEvent, html, phone, text};
use serde_json::Value;

use super::{Source, files};
use crate::wire::{Addressee, Form, Id, Mapped, Person, PlaceFields, strict};

/// Kinds that are made by Inlet itself, or by other keys of the output.
const NOT_BY_MAPPING: &[Kind] =
    &[Kind::AttachmentStored, Kind::AttachmentFailed, Kind::ConnectorHealth, Kind::ConnectorGap, Kind::Unsupported];

/// What an event is made of beside the output.
pub struct Context<'a> {
    pub source: &'a Source,
    pub raw: &'a RawEvent,
    pub item: &'a Value,
    pub delivery_id: Option<&'a str>,
}

impl Context<'_> {
    pub fn draft(&self, key: EventKey, mut mapped: Mapped) -> Result<(Draft, Vec<FetchOrder>), String> {
        let mut event = self.envelope(&key, &mut mapped)?;
        event.sender = mapped.sender.take().map(person);
        event.recipients = recipients(mapped.recipients.take())?;
        event.call = mapped.call.as_ref().map(|call| strict::<Call>(call, "call")).transpose()?;
        event.target = mapped.target.as_ref().map(target).transpose()?;
        event.quoted = mapped.quoted.as_ref().map(|quoted| strict(quoted, "quoted")).transpose()?;
        event.referral = mapped.referral.as_ref().map(|referral| strict(referral, "referral")).transpose()?;
        let reports = mapped.delivery.take().unwrap_or_default();
        event.delivery = reports.iter().map(|report| strict(report, "delivery")).collect::<Result<_, _>>()?;
        self.content(&mut event, &mut mapped)?;
        event.conversation = conversation(&event, &key, mapped.conversation.take().map(|place| place.0))?;
        event.conversation.subject = mapped.subject.as_deref().map(text::one_line).filter(|line| !line.is_empty());
        complete(&event)?;
        let mut draft = Draft::new(key, event);
        let attachments = mapped.attachments.take().unwrap_or_default();
        let fetches = files::attach(&mut draft, attachments, self.source, self.raw)?;
        Ok((draft, fetches))
    }

    fn envelope(&self, key: &EventKey, mapped: &mut Mapped) -> Result<Event, String> {
        let kind = match (&mapped.unsupported, mapped.kind.as_deref()) {
            (Some(_), _) => Kind::Unsupported,
            (None, Some(name)) => known_kind(name)?,
            (None, None) if mapped.fields.is_some() => Kind::FormSubmitted,
            (None, None) if mapped.call.is_some() => return Err("a `call` needs a `kind`".to_owned()),
            (None, None) => Kind::MessageCreated,
        };
        let channel = match mapped.channel.as_deref() {
            Some(name) => known_channel(name)?,
            None => self.source.channel.clone(),
        };
        let account = mapped.account.get().unwrap_or_else(|| self.source.account.clone());
        let at = mapped.occurred_at.map_or(self.raw.received_at, |time| time.0);
        let mut event = Event::new(kind, channel, &self.source.provider, account, at);
        event.direction = match mapped.direction.as_deref() {
            Some(name) => known(Direction::KNOWN, Direction::from(name), "direction")?,
            None => Direction::Inbound,
        };
        event.provider_sequence = mapped.sequence.get();
        let provenance = &mut event.provenance;
        provenance.message_ids = mapped.message_id.get().into_iter().collect();
        let delivery_id = self.delivery_id.filter(|id| *id != key.event_id).map(str::to_owned);
        provenance.provider_event_id = mapped.event_id.get().or(delivery_id);
        provenance.provider_type = mapped.provider_type.take();
        provenance.verified_by = self.source.verified_by.map(str::to_owned);
        provenance.parser_version = Some(self.source.parser_version.clone());
        match mapped.unsupported.take() {
            Some(provider_type) => {
                event.provenance.provider_type.get_or_insert_with(|| provider_type.clone());
                event.unsupported = Some(UnsupportedPart { provider_type, raw: self.item.clone() });
            }
            // Which keys a mapping has read is not known: without its word the item is kept whole.
            None => {
                let data = mapped.provider_data.take().unwrap_or_else(|| self.item.clone());
                event.provider_data = (!data.is_null()).then(|| data.into());
            }
        }
        Ok(event)
    }

    fn content(&self, event: &mut Event, mapped: &mut Mapped) -> Result<(), String> {
        let plain = mapped.text.take().filter(|text| !text.is_empty());
        let rich = mapped.html.take().filter(|html| !html.is_empty());
        let whole = plain.clone().or_else(|| rich.as_deref().map(html::to_text)).map(|whole| {
            let clean = text::clean(&whole).into_owned();
            event.provenance.sanitized |= clean != whole;
            clean
        });
        if let Some(clean) = &whole {
            event.content.push(Part::plain(clean.clone()));
        }
        if let Some(safe) = rich.as_deref().and_then(html::sanitize) {
            event.content.push(Part::Text { format: TextFormat::Html, text: safe, reply_text: None });
        }
        event.text = whole;
        if let Some(fields) = mapped.fields.take() {
            let fields = form_fields(fields)?;
            if event.text.is_none() {
                event.text = Some(form_text(&fields)).filter(|text| !text.is_empty());
            }
            event.content.push(form(mapped.form.take().unwrap_or_default(), fields));
        } else if mapped.form.is_some() {
            return Err("`form` needs `fields`".to_owned());
        }
        for (index, part) in mapped.content.take().unwrap_or_default().iter().enumerate() {
            let what = format!("content[{index}]");
            match strict(part, &what)? {
                Part::Unknown(_) => return Err(format!("{what}: unknown type of part")),
                known => event.content.push(known),
            }
        }
        Ok(())
    }
}

/// What a kind cannot do without.
fn complete(event: &Event) -> Result<(), String> {
    let kind = event.kind.as_str();
    let family = kind.split('.').next().unwrap_or(kind);
    let (key, there) = match (family, &event.kind) {
        ("reaction" | "receipt", _) | (_, Kind::MessageEdited | Kind::MessageDeleted) => {
            ("target", event.target.is_some())
        }
        ("call", _) => ("call", event.call.is_some()),
        (_, Kind::Referral) => ("referral", event.referral.is_some()),
        (_, Kind::FormSubmitted) => ("fields", !event.content.is_empty()),
        _ => return Ok(()),
    };
    if there { Ok(()) } else { Err(format!("kind {kind} needs `{key}`")) }
}

/// A value of an open enum, which a mapping may not extend by a typing error.
fn known<T: Clone + PartialEq + std::fmt::Display>(all: &[T], value: T, what: &str) -> Result<T, String> {
    if all.contains(&value) {
        return Ok(value);
    }
    // Shown only where it looks like a name: the mapping may have taken it from somebody's text.
    const NAME_MAX_BYTES: usize = 40;
    let given = value.to_string();
    let is_name = given.len() <= NAME_MAX_BYTES && given.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b));
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    Err(format!("unknown {what} '{}'; known: {}", if is_name { &given } else { "…" }, names.join(", ")))
}

fn known_kind(name: &str) -> Result<Kind, String> {
    let by_mapping: Vec<Kind> = Kind::KNOWN.iter().filter(|kind| !NOT_BY_MAPPING.contains(kind)).cloned().collect();
    known(&by_mapping, Kind::from(name), "kind")
}

/// A channel that a source can have.
pub fn known_channel(name: &str) -> Result<Channel, String> {
    let all: Vec<Channel> = Channel::KNOWN.iter().filter(|channel| **channel != Channel::System).cloned().collect();
    known(&all, Channel::from(name), "channel")
}

fn person(person: Person) -> Actor {
    let mut actor = Actor::new(identities(person.id, person.username, person.email, person.phone));
    actor.identities.extend(person.url.map(|url| Identity::claimed(scheme::URL, url)));
    actor.locale = person.locale;
    actor.avatar_url = person.avatar_url;
    actor.is_bot = person.is_bot;
    actor.named(person.name.map(|name| text::one_line(&name)))
}

/// Ids and user names are the source's own; addresses are what somebody entered.
fn identities(id: Id, username: Option<String>, email: Option<String>, phone: Id) -> Vec<Identity> {
    let filled = |text: String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let mut all = Vec::new();
    all.extend(id.get().map(|id| Identity::by_provider(scheme::USER_ID, id)));
    all.extend(username.and_then(filled).map(|name| Identity::by_provider(scheme::USERNAME, name)));
    all.extend(email.and_then(filled).map(|email| Identity::claimed(scheme::EMAIL, text::one_line(&email))));
    all.extend(phone.get().map(|number| match phone::e164(&number, false) {
        Some(e164) => Identity::claimed(scheme::PHONE, e164),
        None => Identity::claimed(scheme::PHONE_RAW, number),
    }));
    all
}

fn recipients(given: Option<Vec<Addressee>>) -> Result<Vec<Recipient>, String> {
    let recipient = |one: Addressee| {
        let role = known(Role::KNOWN, Role::from(one.role.as_deref().unwrap_or("to")), "role")?;
        let actor = Actor::new(identities(one.id, one.username, one.email, one.phone));
        Ok(Recipient { role, actor: actor.named(one.name.map(|name| text::one_line(&name))) })
    };
    given.unwrap_or_default().into_iter().map(recipient).collect()
}

fn target(value: &Value) -> Result<Target, String> {
    match value {
        Value::String(id) => Ok(Target::message(id)),
        Value::Number(id) => Ok(Target::message(id.to_string())),
        value => strict(value, "target"),
    }
}

/// The source's own conversation; else the call; else the submission; else the sender; else the event alone.
fn conversation(event: &Event, key: &EventKey, given: Option<PlaceFields>) -> Result<Conversation, String> {
    let given = given.unwrap_or_default();
    let sender = event.sender.as_ref().and_then(|sender| sender.identities.first());
    let is_form = event.content.iter().any(|part| matches!(part, Part::Form { .. }));
    let mut conversation = match (given.id.as_deref(), &event.call) {
        (Some(id), _) => {
            let mut conversation = Conversation::new(KeyBasis::Thread, id);
            conversation.thread_id = Some(id.to_owned());
            conversation
        }
        (None, Some(call)) => Conversation::new(KeyBasis::Call, &call.call_id).of_type(ConversationType::Call),
        (None, None) if is_form => {
            let submission = event.provenance.message_ids.first().unwrap_or(&key.event_id);
            Conversation::new(KeyBasis::Submission, submission).of_type(ConversationType::Form)
        }
        (None, None) => match sender {
            Some(identity) => Conversation::new(KeyBasis::Sender, format!("{}:{}", identity.scheme, identity.value)),
            None => Conversation::new(KeyBasis::Event, ""),
        },
    };
    if let Some(name) = given.conversation_type {
        let known = known(ConversationType::KNOWN, ConversationType::from(name.as_str()), "conversation.type")?;
        conversation.conversation_type = Some(known);
    }
    conversation.channel_id = given.channel_id.get();
    conversation.parent_id = given.parent_id.get();
    conversation.title = given.title.map(|title| text::one_line(&title));
    conversation.in_reply_to = given.in_reply_to.get();
    conversation.references = given.references.unwrap_or_default();
    Ok(conversation)
}

fn form(form: Form, fields: Vec<FormField>) -> Part {
    Part::Form {
        form_id: form.id.get().unwrap_or_else(|| "form".to_owned()),
        form_name: form.name,
        fields,
        page_url: form.page_url,
    }
}

/// Fields as a list of `{key, label, type, value | values}`, or as an object of keys and values.
fn form_fields(given: Value) -> Result<Vec<FormField>, String> {
    match given {
        Value::Object(map) => {
            let field = |(key, value)| FormField { key, label: None, field_type: None, values: texts(value) };
            Ok(map.into_iter().map(field).collect())
        }
        Value::Array(list) => list.into_iter().enumerate().map(|(index, field)| form_field(index, field)).collect(),
        _ => Err("fields: expected an object or a list".to_owned()),
    }
}

fn form_field(index: usize, field: Value) -> Result<FormField, String> {
    let Value::Object(mut map) = field else { return Err(format!("fields[{index}]: expected an object")) };
    let mut word = |name: &str| match map.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("fields[{index}].{name}: expected text")),
    };
    let (key, label, field_type) = (word("key")?, word("label")?, word("type")?);
    let values = match (map.remove("values"), map.remove("value")) {
        (Some(values), None) => texts(values),
        (None, value) => texts(value.unwrap_or(Value::Null)),
        (Some(_), Some(_)) => return Err(format!("fields[{index}]: has both `value` and `values`")),
    };
    match map.keys().next() {
        Some(unknown) => Err(format!("fields[{index}]: unknown field `{unknown}`")),
        None => Ok(FormField { key: key.ok_or(format!("fields[{index}]: needs a `key`"))?, label, field_type, values }),
    }
}

/// Values as text; what is no scalar as JSON.
fn texts(value: Value) -> Vec<String> {
    let one = |value: Value| match value {
        Value::String(text) => text::clean(&text).into_owned(),
        other => other.to_string(),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.into_iter().filter(|value| !value.is_null()).map(one).collect(),
        other => vec![one(other)],
    }
}

fn form_text(fields: &[FormField]) -> String {
    let line = |field: &FormField| {
        let name = field.label.as_ref().unwrap_or(&field.key);
        format!("{}: {}", text::one_line(name), field.values.join(", "))
    };
    fields.iter().filter(|field| !field.values.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}
