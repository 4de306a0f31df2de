//! What a message carries beside text: files and the orders for them, and the parts without bytes.

use connector_sdk::schemas::{
    Attachment, Channel, ContactCard, Conversation, Direction, Event, FetchState, Kind, Location, OrderItem, Part,
    Target,
};
use connector_sdk::{Draft, EventKey, FetchOrder, FetchedMedia, Parsed, RawEvent, json, phone, text as hygiene};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parse::{Cx, PROVIDER, stamp_input};
use crate::{Telegram, api, people};

pub const ORDER_KIND: &str = "file";
/// What `getFile` of the public Bot API gives at most; a server of one's own has no limit.
const PUBLIC_MAX_BYTES: u64 = 20_000_000;

/// Parameters of an order: which file, and the event that it belongs to. The token is the instance's, not in here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub file_id: String,
    pub attachment_id: String,
    pub message_id: String,
    pub conversation: Conversation,
    pub direction: Direction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// Fields that hold a file, and what it is shown as. An animation comes with a `document` of the same file.
const FILES: &[(&str, &str)] = &[
    ("animation", "animation"),
    ("audio", "audio"),
    ("document", "document"),
    ("live_photo", "video"),
    ("video", "video"),
    ("video_note", "video"),
    ("voice", "voice"),
];

/// Adds everything but the text to an event; returns the orders for the files.
pub fn fill(cx: &Cx<'_>, event: &mut Event, message: &Value, message_id: &str) -> Vec<FetchOrder> {
    let mut files = Files { cx, message_id, orders: Vec::new() };
    files.collect(event, message);
    for paid in message.pointer("/paid_media/paid_media").and_then(Value::as_array).into_iter().flatten() {
        files.collect(event, paid);
    }
    let orders = files.orders;
    without_bytes(event, message);
    orders
}

struct Files<'a> {
    cx: &'a Cx<'a>,
    message_id: &'a str,
    orders: Vec<FetchOrder>,
}

impl Files<'_> {
    fn collect(&mut self, event: &mut Event, holder: &Value) {
        for (field, shown_as) in FILES {
            if *field == "document" && holder.get("animation").is_some() {
                continue;
            }
            self.media(event, holder.get(*field), shown_as);
        }
        // The sizes of one picture, the largest of which is the picture itself.
        let sizes = holder.get("photo").and_then(Value::as_array).into_iter().flatten();
        let area = |size: &&Value| {
            let side = |name: &str| size.get(name).and_then(Value::as_u64).unwrap_or(0);
            side("width").saturating_mul(side("height"))
        };
        self.media(event, sizes.max_by_key(area), "image");
        self.sticker(event, holder.get("sticker"));
    }

    fn media(&mut self, event: &mut Event, file: Option<&Value>, shown_as: &str) {
        let Some(file) = file else { return };
        let Some(attachment_id) = self.attach(event, file, shown_as) else { return };
        event.content.push(Part::Media {
            attachment_id,
            media: shown_as.to_owned(),
            caption: None,
            duration_seconds: file.get("duration").and_then(Value::as_u64),
        });
    }

    fn sticker(&mut self, event: &mut Event, sticker: Option<&Value>) {
        let Some(sticker) = sticker else { return };
        let emoji = json::text(sticker, "/emoji").map(str::to_owned);
        let attachment_id = self.attach(event, sticker, "image");
        let id = attachment_id.clone().unwrap_or_default();
        if event.text.is_none() {
            event.text.clone_from(&emoji);
        }
        event.content.push(Part::Sticker { id, emoji, attachment_id });
    }

    /// Adds a file; `None` where it has no id and so cannot be had or spoken of.
    fn attach(&mut self, event: &mut Event, file: &Value, shown_as: &str) -> Option<String> {
        let file_id = json::text(file, "/file_id")?;
        // Stable over time and bots, unlike `file_id`.
        let attachment_id = json::text(file, "/file_unique_id").unwrap_or(file_id).to_owned();
        if event.attachments.iter().any(|have| have.id == attachment_id) {
            return Some(attachment_id);
        }
        let mut attachment = Attachment::new(&attachment_id, FetchState::Pending);
        let raw_name = json::text(file, "/file_name");
        attachment.file_name = raw_name.and_then(hygiene::file_name);
        if attachment.file_name.as_deref() != raw_name {
            attachment.file_name_raw = raw_name.map(str::to_owned);
        }
        attachment.media_type = json::text(file, "/mime_type").map(str::to_owned);
        if shown_as == "image" && attachment.media_type.is_none() && file.get("emoji").is_none() {
            // Pictures sent as such are always re-coded.
            attachment.media_type = Some("image/jpeg".to_owned());
        }
        attachment.size_bytes = file.get("file_size").and_then(Value::as_u64);
        let telegram = self.cx.telegram;
        let is_public = telegram.api_url == api::PUBLIC_API;
        if telegram.bot_token.is_none() {
            attachment.fetch_state = FetchState::Failed;
            attachment.reason = Some("no `bot_token` is configured".to_owned());
        } else if is_public && attachment.size_bytes.is_some_and(|size| size > PUBLIC_MAX_BYTES) {
            attachment.fetch_state = FetchState::TooLarge;
            attachment.reason = Some("over 20 MB, the limit of the public Bot API".to_owned());
        } else {
            self.orders.push(self.order(event, file_id, &attachment));
        }
        event.attachments.push(attachment);
        Some(attachment_id)
    }

    fn order(&self, event: &Event, file_id: &str, attachment: &Attachment) -> FetchOrder {
        let order = Order {
            file_id: file_id.to_owned(),
            attachment_id: attachment.id.clone(),
            message_id: self.message_id.to_owned(),
            conversation: Conversation { in_reply_to: None, ..event.conversation.clone() },
            direction: event.direction.clone(),
            file_name: attachment.file_name.clone(),
            media_type: attachment.media_type.clone(),
        };
        FetchOrder {
            id: format!("{}:{}:{}", event.account, self.message_id, attachment.id),
            kind: ORDER_KIND.to_owned(),
            // Plain data always becomes JSON; a null would come back as an order that cannot be carried out.
            params: serde_json::to_value(order).unwrap_or(Value::Null),
            expires_at: None,
        }
    }
}

/// Places, contacts, polls, payments and the like.
fn without_bytes(event: &mut Event, message: &Value) {
    let mut words = Vec::new();
    // A venue comes with a `location` of the same place.
    if let Some(place) = message.get("venue").or_else(|| message.get("location")).and_then(location) {
        words.extend([place.name.clone(), place.address.clone()].into_iter().flatten());
        event.content.push(Part::Location(place));
    }
    if let Some(shared) = message.get("contact") {
        contact(event, message, shared, &mut words);
    }
    if let Some(poll) = message.get("poll") {
        event.content.push(poll_part(poll, &mut words));
    }
    if let Some(dice) = message.get("dice") {
        let value = json::id(dice, "/value").unwrap_or_default();
        words.push(format!("{} {value}", json::text(dice, "/emoji").unwrap_or("🎲")));
    }
    if let Some(title) = json::text(message, "/game/title") {
        words.push(title.to_owned());
    }
    if let Some(checklist) = message.get("checklist") {
        words.extend(json::text(checklist, "/title").map(str::to_owned));
        let tasks = checklist.get("tasks").and_then(Value::as_array).into_iter().flatten();
        words.extend(tasks.filter_map(|task| json::text(task, "/text")).map(|task| format!("- {task}")));
    }
    if let Some(data) = message.get("web_app_data") {
        let title = json::text(data, "/button_text").map(str::to_owned);
        let payload = json::text(data, "/data").map(str::to_owned);
        words.extend(payload.clone());
        event.content.push(Part::Interactive { action: "button".to_owned(), id: None, title, payload });
    }
    if let Some(invoice) = message.get("invoice") {
        words.extend(json::text(invoice, "/title").map(str::to_owned));
        event.content.push(order_part(invoice, json::text(invoice, "/start_parameter")));
    }
    for field in ["successful_payment", "refunded_payment"] {
        if let Some(payment) = message.get(field) {
            let payload = json::text(payment, "/invoice_payload");
            words.push(format!("{} {}", field.replace('_', " "), amount(payment)));
            event.content.push(order_part(payment, payload));
        }
    }
    if event.text.is_none() && !words.is_empty() {
        event.text = Some(hygiene::clean(&words.join("\n")).into_owned());
    }
}

fn location(place: &Value) -> Option<Location> {
    let at = place.get("location").unwrap_or(place);
    Some(Location {
        latitude: at.get("latitude")?.as_f64()?,
        longitude: at.get("longitude")?.as_f64()?,
        name: json::text(place, "/title").map(str::to_owned),
        address: json::text(place, "/address").map(str::to_owned),
        live: at.get("live_period").map(|_| true),
    })
}

fn contact(event: &mut Event, message: &Value, shared: &Value, words: &mut Vec<String>) {
    let names = [json::text(shared, "/first_name"), json::text(shared, "/last_name")];
    let name = names.into_iter().flatten().map(hygiene::one_line).collect::<Vec<_>>().join(" ");
    let number = json::text(shared, "/phone_number");
    words.extend(Some(name.clone()).filter(|name| !name.is_empty()));
    words.extend(number.map(str::to_owned));
    // Their own number: Telegram vouches for it.
    let is_own = json::id(shared, "/user_id").is_some_and(|user| json::id(message, "/from/id") == Some(user));
    if let (true, Some(number), Some(sender)) = (is_own, number, &mut event.sender) {
        sender.identities.push(phone::identity(number, true));
    }
    event.content.push(Part::Contact(ContactCard {
        name: Some(name).filter(|name| !name.is_empty()),
        phones: number
            .map(|number| phone::e164(number, true).unwrap_or_else(|| number.to_owned()))
            .into_iter()
            .collect(),
        emails: Vec::new(),
        vcard: json::text(shared, "/vcard").map(str::to_owned),
    }));
}

fn poll_part(poll: &Value, words: &mut Vec<String>) -> Part {
    let options = poll.get("options").and_then(Value::as_array).into_iter().flatten();
    let options: Vec<&str> = options.filter_map(|option| json::text(option, "/text")).collect();
    words.extend(json::text(poll, "/question").map(str::to_owned));
    words.extend(options.iter().map(|option| format!("- {option}")));
    Part::Interactive {
        action: "poll".to_owned(),
        id: json::id(poll, "/id"),
        title: json::text(poll, "/question").map(str::to_owned),
        payload: (!options.is_empty()).then(|| options.join("\n")),
    }
}

/// An invoice or payment as an order of one thing. Amounts stay in `provider_data`: Telegram counts them in the
/// currency's smallest unit, which is no price as text.
pub fn order_part(holder: &Value, product: Option<&str>) -> Part {
    Part::Order {
        items: vec![OrderItem {
            product_id: product.unwrap_or_default().to_owned(),
            name: json::text(holder, "/title").map(hygiene::one_line),
            quantity: 1,
            price: None,
            currency: json::text(holder, "/currency").map(str::to_owned),
        }],
        note: json::text(holder, "/description").map(str::to_owned),
    }
}

/// `145 USD (smallest units)`.
pub fn amount(holder: &Value) -> String {
    let total = json::id(holder, "/total_amount").unwrap_or_default();
    format!("{total} {} (smallest units)", json::text(holder, "/currency").unwrap_or("?"))
}

/// What came of an order: `attachment.stored` or `attachment.failed`.
pub fn fetched(telegram: &Telegram, raw: &RawEvent) -> Parsed {
    let Ok(media) = serde_json::from_slice::<FetchedMedia>(&raw.body) else {
        return Parsed::reject("unexpected_shape", "body is no result of a fetch order");
    };
    let Ok(order) = Order::deserialize(&media.order.params) else {
        return Parsed::reject("unexpected_shape", "the fetch order's parameters are not Telegram's");
    };
    let stored = media.blob.is_some();
    let kind = if stored { Kind::AttachmentStored } else { Kind::AttachmentFailed };
    let mut event = Event::new(kind, Channel::Chat, PROVIDER, &telegram.bot_id, raw.received_at);
    let state = media.state();
    let mut attachment = Attachment::new(&order.attachment_id, state);
    attachment.reason = media.failure;
    attachment.blob = media.blob;
    attachment.file_name = order.file_name;
    attachment.media_type = order.media_type.or(media.media_type);
    attachment.media_type_sniffed = media.sniffed;
    event.attachments.push(attachment);
    let key = EventKey::new(format!("{}:{}", order.message_id, order.attachment_id));
    event.target = Some(Target {
        message_id: Some(order.message_id),
        attachment_id: Some(order.attachment_id),
        ..Target::default()
    });
    event.conversation = order.conversation;
    event.direction = order.direction;
    stamp_input(&mut event, raw);
    Parsed::one(Draft::new(key, event))
}

/// The payer's e-mail address and number, which nobody vouches for.
pub fn payer(event: &mut Event, info: Option<&Value>) {
    use connector_sdk::schemas::{Identity, scheme};
    let (Some(info), Some(sender)) = (info, &mut event.sender) else { return };
    if let Some(email) = json::text(info, "/email") {
        sender.identities.push(Identity::claimed(scheme::EMAIL, email));
    }
    if let Some(number) = json::text(info, "/phone_number") {
        let mut identity = phone::identity(number, true);
        identity.verified_by = None;
        sender.identities.push(identity);
    }
}

/// The sender of anything that has a `from`.
pub fn from(holder: &Value) -> Option<connector_sdk::schemas::Actor> {
    holder.get("from").and_then(people::user)
}
