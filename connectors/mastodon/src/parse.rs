//! What happened: notifications, changed and vanished statuses, fetched media → events.

use std::cell::RefCell;
use std::sync::Arc;

use connector_sdk::schemas::{
    Attachment, Channel, Conversation, Direction, Event, KeyBasis, Kind, Part, Target, UnsupportedPart,
};
use connector_sdk::{Draft, EventKey, FetchedMedia, Parse, Parsed, RawEvent, Timestamp, Wire, json, key::content_key};
use serde::Deserialize;
use serde_json::Value;

use crate::fetch::{self, Owner, Params};
use crate::wire::{self, Item, Tombstone};
use crate::{Options, PROVIDER, id, status};

const PARSER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Fields that have a place of their own in the event; everything else goes to `provider_data`.
const TOLD: &[&str] = &[
    "/id",
    "/type",
    "/created_at",
    "/account/id",
    "/account/acct",
    "/account/username",
    "/account/display_name",
    "/account/url",
    "/account/avatar",
    "/account/bot",
];
const TOLD_OF_STATUS: &[&str] = &[
    "/id",
    "/uri",
    "/in_reply_to_id",
    "/content",
    "/spoiler_text",
    "/mentions",
    "/poll",
    "/account/id",
    "/account/acct",
    "/account/username",
    "/account/display_name",
    "/account/url",
    "/account/avatar",
    "/account/bot",
];

/// The instance's parser.
pub struct Parser {
    options: Arc<Options>,
}

impl Parser {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

impl Parse for Parser {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        let doc = match json::parse(&raw.body) {
            Ok(doc) => doc,
            Err(rejected) => return Parsed { rejected: vec![rejected], ..Parsed::default() },
        };
        let mut parsed = match (raw.wire, Item::of(raw.headers.get(wire::ITEM))) {
            (Wire::Fetched, _) => fetched(raw, &doc.value),
            (Wire::Json, Some(item)) => match Input::new(&self.options, raw) {
                Some(input) => match item {
                    Item::Notification => input.notification(&doc.value),
                    Item::Edited => input.edited(&doc.value, &doc.value, None, "status.update"),
                    Item::Deleted => input.deleted(&doc.value),
                },
                None => Parsed::reject("missing_header", format!("{} is not set", wire::ACCOUNT)),
            },
            (Wire::Json, None) => Parsed::reject("unknown_item", format!("{} is not known", wire::ITEM)),
            (other, _) => Parsed::reject("unexpected_wire", format!("{other:?} input is not this connector's")),
        };
        for draft in &mut parsed.events {
            draft.event.provenance.sanitized |= doc.sanitized;
            draft.event.provenance.parser_version = Some(PARSER.into());
        }
        parsed
    }
}

/// An input and what its headers say of it.
struct Input<'a> {
    options: &'a Options,
    raw: &'a RawEvent,
    account: &'a str,
    account_id: Option<&'a str>,
    root: Option<&'a str>,
}

impl<'a> Input<'a> {
    fn new(options: &'a Options, raw: &'a RawEvent) -> Option<Self> {
        let header = |name| raw.headers.get(name).filter(|value| !value.is_empty());
        Some(Self {
            options,
            raw,
            account: header(wire::ACCOUNT)?,
            account_id: header(wire::ACCOUNT_ID),
            root: header(wire::THREAD_ROOT),
        })
    }

    fn notification(&self, value: &Value) -> Parsed {
        let (Some(id), Some(name)) = (json::id(value, "/id"), json::text(value, "/type")) else {
            return Parsed::reject("missing_field", "a notification without id or type");
        };
        let status = value.get("status").filter(|status| json::id(status, "/id").is_some());
        match (name, status) {
            ("mention" | "status" | "quote", Some(status)) => self.created(value, &id, name, status),
            ("update" | "quoted_update", Some(status)) => self.edited(value, status, Some(&id), name),
            ("reblog" | "favourite", Some(status)) => self.reaction(value, &id, name, status),
            ("follow", _) => self.follow(value, &id),
            _ => self.unsupported(value, &id, name, status),
        }
    }

    fn created(&self, value: &Value, id: &str, name: &str, status: &Value) -> Parsed {
        let status_id = json::id(status, "/id").unwrap_or_default();
        let mut event = self.event(Kind::MessageCreated, value, Some(id), name);
        event.occurred_at = time(status, "/created_at").unwrap_or(event.occurred_at);
        if let Some(quoted) = json::id(status, "/quote/quoted_status/id") {
            event.conversation.references.push(quoted);
        }
        self.message(id::message(&status_id), event, status)
    }

    /// `whole` is what came, `status` the status within it.
    fn edited(&self, whole: &Value, status: &Value, notification: Option<&str>, name: &str) -> Parsed {
        let Some(status_id) = json::id(status, "/id") else {
            return Parsed::reject("missing_field", "a status without id");
        };
        let mut event = self.event(Kind::MessageEdited, whole, notification, name);
        event.occurred_at = time(status, "/edited_at").unwrap_or(event.occurred_at);
        // Servers that tell of an edit without its time: the text tells the versions apart.
        let revision = json::text(status, "/edited_at")
            .map_or_else(|| content_key(&[json::text(status, "/content").unwrap_or("").as_bytes()]), str::to_owned);
        event.target = Some(Target::message(&status_id));
        self.message(id::edit(&status_id, &revision), event, status)
    }

    /// The rest of a message: author, conversation, content, media.
    fn message(&self, key: EventKey, mut event: Event, status: &Value) -> Parsed {
        if let Some(author) = status.get("account").filter(|account| account.is_object()) {
            self.acted(&mut event, author);
        }
        let fetches = self.said(&mut event, status);
        Parsed { events: vec![Draft::new(key, event)], fetches, ..Parsed::default() }
    }

    /// Conversation, ids and content of a status.
    fn said(&self, event: &mut Event, status: &Value) -> Vec<connector_sdk::FetchOrder> {
        self.about(event, status);
        let status_id = json::id(status, "/id").unwrap_or_default();
        let conversation = event.conversation.key.clone();
        let owner = Owner {
            status: &status_id,
            account: self.account,
            conversation: &conversation,
            visibility: json::text(status, "/visibility").unwrap_or("public"),
        };
        let orders = RefCell::new(Vec::new());
        status::fill(event, status, &self.options.domain, |media, attachment| {
            orders.borrow_mut().extend(fetch::order(self.options, &owner, media, attachment));
        });
        orders.into_inner()
    }

    fn about(&self, event: &mut Event, status: &Value) {
        event.provenance.message_ids = ["/id", "/uri"].iter().filter_map(|pointer| json::id(status, pointer)).collect();
        if let Some(conversation) = id::conversation(status, self.root) {
            let references = std::mem::take(&mut event.conversation.references);
            event.conversation = conversation;
            event.conversation.references = references;
        }
    }

    fn reaction(&self, value: &Value, id: &str, name: &str, status: &Value) -> Parsed {
        let mut event = self.event(Kind::ReactionAdded, value, Some(id), name);
        self.about(&mut event, status);
        event.target = json::id(status, "/id").map(Target::message);
        event.text = Some(name.to_owned());
        event.content.push(Part::Reaction { emoji: name.to_owned() });
        Parsed::one(Draft::new(id::notification(id), event))
    }

    fn follow(&self, value: &Value, id: &str) -> Parsed {
        let event = self.event(Kind::ParticipantJoined, value, Some(id), "follow");
        Parsed::one(Draft::new(id::notification(id), event))
    }

    /// Types without a kind of their own, known or not: named, whole, and with what can be told of them.
    fn unsupported(&self, value: &Value, id: &str, name: &str, status: Option<&Value>) -> Parsed {
        let mut event = self.event(Kind::Unsupported, value, Some(id), name);
        // The raw part below holds all of it.
        event.provider_data = None;
        if let Some(status) = status {
            // Media of a message that is not told as one is not fetched; its addresses are in the raw part.
            self.said(&mut event, status);
            event.attachments.clear();
            event.content.retain(|part| !matches!(part, Part::Media { .. }));
        }
        if name.starts_with("admin.") || matches!(name, "severed_relationships" | "moderation_warning") {
            event.direction = Direction::Internal;
        }
        event.unsupported = Some(UnsupportedPart { provider_type: name.to_owned(), raw: value.clone() });
        Parsed::one(Draft::new(id::notification(id), event))
    }

    fn deleted(&self, value: &Value) -> Parsed {
        let gone = match Tombstone::deserialize(value) {
            Ok(gone) => gone,
            Err(error) => return Parsed::reject("malformed_tombstone", error.to_string()),
        };
        let mut event = self.event(Kind::MessageDeleted, value, None, "delete");
        event.conversation = conversation(&gone.conversation, &gone.visibility);
        event.conversation.in_reply_to.clone_from(&gone.in_reply_to_id);
        event.target = Some(Target::message(&gone.id));
        event.provenance.message_ids = std::iter::once(gone.id.clone()).chain(gone.uri).collect();
        if let Some(acct) = &gone.acct {
            let account = serde_json::json!({ "acct": acct });
            event.sender = Some(status::actor(&account, &self.options.domain));
        }
        event.provider_data = Some(serde_json::json!({ "status_code": gone.status_code }).into());
        Parsed::one(Draft::new(id::message(&gone.id), event))
    }

    /// What every event of this input has.
    fn event(&self, kind: Kind, whole: &Value, notification: Option<&str>, name: &str) -> Event {
        let at = time(whole, "/created_at").unwrap_or(self.raw.received_at);
        let mut event = Event::new(kind, Channel::Social, PROVIDER, self.account, at);
        event.provenance.provider_event_id = notification.map(str::to_owned);
        event.provenance.provider_type = Some(name.to_owned());
        // The server proved itself by its certificate, the input came by our own log-in.
        event.provenance.verified_by = self.raw.uri.starts_with("https://").then(|| "tls-login".into());
        event.provider_data = rest(whole, notification.is_some()).map(Into::into);
        if let Some(account) = whole.get("account").filter(|account| account.is_object()) {
            self.acted(&mut event, account);
            if let Some(id) = json::id(account, "/id") {
                event.conversation = id::by_sender(&id);
            }
        }
        event
    }

    fn acted(&self, event: &mut Event, account: &Value) {
        event.sender = Some(status::actor(account, &self.options.domain));
        let own = self.account_id.is_some() && json::id(account, "/id").as_deref() == self.account_id;
        event.direction = if own { Direction::OutboundEcho } else { Direction::Inbound };
    }
}

fn fetched(raw: &RawEvent, value: &Value) -> Parsed {
    let media = match FetchedMedia::deserialize(value) {
        Ok(media) => media,
        Err(error) => return Parsed::reject("malformed_fetch", error.to_string()),
    };
    let params = match Params::deserialize(&media.order.params) {
        Ok(params) => params,
        Err(error) => return Parsed::reject("malformed_order", error.to_string()),
    };
    let kind = if media.blob.is_some() { Kind::AttachmentStored } else { Kind::AttachmentFailed };
    let mut event = Event::new(kind, Channel::Social, PROVIDER, params.account, raw.received_at);
    event.conversation = conversation(&params.conversation, &params.visibility);
    event.provenance.message_ids = vec![params.status.clone()];
    event.target = Some(Target { attachment_id: Some(params.attachment.clone()), ..Target::message(&params.status) });
    let state = media.state();
    let mut attachment = Attachment::new(&params.attachment, state);
    attachment.reason = media.failure;
    attachment.blob = media.blob;
    attachment.file_name = params.file_name;
    attachment.media_type = media.media_type;
    attachment.media_type_sniffed = media.sniffed;
    attachment.provider_url = Some(params.url);
    event.attachments.push(attachment);
    Parsed::one(Draft::new(id::media(&params.status, &params.attachment), event))
}

fn conversation(key: &str, visibility: &str) -> Conversation {
    Conversation::new(KeyBasis::Thread, key).of_type(id::thread_type(Some(visibility)))
}

fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    json::text(value, pointer).and_then(Timestamp::parse)
}

/// What the event's own fields do not tell.
fn rest(whole: &Value, notification: bool) -> Option<Value> {
    let mut rest = whole.clone();
    let (top, status): (&[&str], &[&str]) = if notification { (TOLD, TOLD_OF_STATUS) } else { (TOLD_OF_STATUS, &[]) };
    top.iter().for_each(|pointer| remove(&mut rest, pointer));
    if let Some(inner) = rest.get_mut("status") {
        status.iter().for_each(|pointer| remove(inner, pointer));
    }
    // The author once, where the notification and its status name the same one.
    if rest.get("account").is_some() && rest.pointer("/status/account") == rest.get("account") {
        remove(&mut rest, "/status/account");
    }
    Some(rest).filter(|rest| rest.as_object().is_some_and(|map| !map.is_empty()))
}

fn remove(value: &mut Value, pointer: &str) {
    if let Some((parent, field)) = pointer.rsplit_once('/')
        && let Some(map) = value.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        map.shift_remove(field);
    }
}
