//! Messages that come in, and what became of those that went out.

use connector_sdk::schemas::{
    Actor, Attachment, Channel, Conversation, ConversationType, DeliveryReport, Direction, Event, FetchState, KeyBasis,
    Kind, Location, Part, Quoted, Recipient, Referral, Role, Target,
};
use connector_sdk::{Draft, Parsed, text};

use super::address::Address;
use super::{Context, media};
use crate::id;

/// Parameters that have a field of their own, whatever the callback.
const ENVELOPE: &[&str] = &["MessageSid", "SmsSid", "SmsMessageSid", "AccountSid", "From", "To"];
/// Parameters of an incoming message that have a field of their own.
const CONTENT: &[&str] = &[
    "Body",
    "SmsStatus",
    "MessageStatus",
    "ProfileName",
    "WaId",
    "ExternalUserId",
    "ButtonText",
    "ButtonPayload",
    "ListId",
    "ListTitle",
    "Latitude",
    "Longitude",
    "Address",
    "Label",
    "OriginalRepliedMessageSid",
    "OriginalRepliedMessageSender",
];
/// Parameters of a message that an advertisement led to.
const REFERRAL: &[&str] =
    &["ReferralSourceUrl", "ReferralHeadline", "ReferralBody", "ReferralSourceType", "ReferralSourceId"];
/// Most media that a message can have; a hostile count is not believed beyond it.
const MEDIA_MAX: u64 = 50;

/// A callback with a message SID: input by its status, or a receipt.
pub fn parse(cx: &Context<'_>) -> Parsed {
    let params = cx.params;
    let sids = ["MessageSid", "SmsMessageSid", "SmsSid"];
    let Some(sid) = sids.iter().find_map(|name| params.get(name)) else { return Context::missing("MessageSid") };
    // A read receipt of a chat channel says so in EventType beside the status.
    let read = params.get("EventType").is_some_and(|event| event.eq_ignore_ascii_case("READ"));
    let status = params.get("MessageStatus").or_else(|| params.get("SmsStatus"));
    match status {
        _ if read => receipt(cx, sid, Kind::ReceiptRead, "read"),
        Some("received" | "receiving") => incoming(cx, sid),
        None if params.has("Body") || params.has("NumMedia") => incoming(cx, sid),
        Some("delivered") => receipt(cx, sid, Kind::ReceiptDelivered, "delivered"),
        Some("read") => receipt(cx, sid, Kind::ReceiptRead, "read"),
        Some(status @ ("failed" | "undelivered")) => receipt(cx, sid, Kind::ReceiptFailed, status),
        Some(status @ ("accepted" | "scheduled" | "queued" | "sending" | "sent" | "canceled")) => {
            Parsed::skip(format!("MessageStatus:{status}"), "an intermediate status: nothing has reached the customer")
        }
        Some(status) => cx.unsupported(&format!("MessageStatus:{status}")),
        None => cx.unsupported("message"),
    }
}

fn incoming(cx: &Context<'_>, sid: &str) -> Parsed {
    let params = cx.params;
    let Some(from) = params.get("From") else { return Context::missing("From") };
    let Some(to) = params.get("To") else { return Context::missing("To") };
    let (from, to) = (Address::of(from), Address::of(to));
    let pressed = params.get("ButtonPayload").is_some() || params.get("ButtonText").is_some();
    let chosen = params.get("ListId").is_some() || params.get("ListTitle").is_some();
    let kind = if pressed || chosen { Kind::Postback } else { Kind::MessageCreated };

    let media = media_params(cx);
    let names: Vec<String> = media.iter().flat_map(|m| [m.url_name.clone(), m.type_name.clone()]).collect();
    let referred = params.get("ReferralSourceUrl").is_some();
    let referral: &[&str] = if referred { REFERRAL } else { &[] };
    let own = ENVELOPE.iter().chain(CONTENT).chain(referral).copied();
    let used: Vec<&str> = own.chain(names.iter().map(String::as_str)).collect();
    let mut event = cx.event(kind, from.channel(), "received", &used);
    event.provenance.message_ids = vec![sid.to_owned()];
    event.conversation = chat(from, to, to);
    event.sender = Some(sender(cx, from));
    event.recipients = vec![Recipient { role: Role::To, actor: Actor::new(vec![to.identity()]) }];

    content(cx, &mut event);
    quote(cx, &mut event);
    if event.kind == Kind::Postback {
        event.target = event.conversation.in_reply_to.clone().map(Target::message);
    }
    let mut events = Vec::new();
    if referred {
        events.push(Draft::new(id::message(sid), from_referral(&event, sid)));
    }
    let fetches = attach(cx, &mut event, media);
    events.push(Draft::new(id::message(sid), event));
    Parsed { events, fetches, ..Parsed::default() }
}

/// The message of the business that the customer answers.
fn quote(cx: &Context<'_>, event: &mut Event) {
    let Some(sid) = cx.params.get("OriginalRepliedMessageSid") else { return };
    event.conversation.in_reply_to = Some(sid.to_owned());
    let sender = cx.params.get("OriginalRepliedMessageSender").map(Address::of);
    event.quoted = Some(Quoted {
        message_id: Some(sid.to_owned()),
        sender: sender.map(|sender| Actor::new(vec![sender.identity()])),
        ..Quoted::default()
    });
}

/// That an advertisement led the customer here, as an event of its own before the message.
fn from_referral(message: &Event, sid: &str) -> Event {
    let mut event = message.clone();
    event.kind = Kind::Referral;
    event.target = Some(Target::message(sid));
    event.text = None;
    event.content.retain(|part| matches!(part, Part::Link { .. }));
    event
}

/// A message that the business sent, as Event Streams tell; callbacks of sent messages hold no text.
pub fn sent(cx: &Context<'_>) -> Parsed {
    let params = cx.params;
    let (Some(sid), Some(from), Some(to)) = (params.get("MessageSid"), params.get("From"), params.get("To")) else {
        return Context::missing("MessageSid, From or To");
    };
    if params.get("Body").is_none() {
        return parse(cx);
    }
    let (from, to) = (Address::of(from), Address::of(to));
    let used: Vec<&str> = ENVELOPE.iter().chain(&["Body", "MessageStatus"]).copied().collect();
    let mut event = cx.event(Kind::MessageCreated, to.channel(), "sent", &used);
    event.direction = Direction::OutboundEcho;
    event.provenance.message_ids = vec![sid.to_owned()];
    event.conversation = chat(from, to, from);
    event.sender = Some(Actor::new(vec![from.identity()]));
    event.recipients = vec![Recipient { role: Role::To, actor: Actor::new(vec![to.identity()]) }];
    text_part(cx, &mut event);
    Parsed::one(Draft::new(id::message(sid), event))
}

fn sender(cx: &Context<'_>, from: Address<'_>) -> Actor {
    let mut identities = vec![from.identity()];
    for (name, scheme) in [("WaId", "whatsapp_id"), ("ExternalUserId", "whatsapp_user_id")] {
        if let Some(value) = cx.params.get(name) {
            let identity = connector_sdk::schemas::Identity::by_provider(scheme, value);
            if !identities.contains(&identity) {
                identities.push(identity);
            }
        }
    }
    Actor::new(identities).named(cx.params.get("ProfileName").map(text::one_line))
}

fn text_part(cx: &Context<'_>, event: &mut Event) {
    if let Some(body) = cx.params.get("Body") {
        let clean = text::clean(body);
        event.provenance.sanitized = clean != body;
        event.content.push(Part::plain(clean.clone()));
        event.text = Some(clean.into_owned());
    }
}

/// Text and the parts that a chat channel adds to it.
fn content(cx: &Context<'_>, event: &mut Event) {
    let params = cx.params;
    text_part(cx, event);
    let own = |name: &str| params.get(name).map(str::to_owned);
    if params.get("ButtonText").is_some() || params.get("ButtonPayload").is_some() {
        event.content.push(Part::Interactive {
            action: "button".to_owned(),
            id: None,
            title: own("ButtonText"),
            payload: own("ButtonPayload"),
        });
    }
    if params.get("ListId").is_some() || params.get("ListTitle").is_some() {
        event.content.push(Part::Interactive {
            action: "list".to_owned(),
            id: own("ListId"),
            title: own("ListTitle"),
            payload: None,
        });
    }
    // STOP, START and HELP are answered by Twilio itself; the consumer learns that the customer may not be written to.
    if let Some(keyword) = params.get("OptOutType") {
        event.content.push(Part::Interactive {
            action: "command".to_owned(),
            id: Some(keyword.to_owned()),
            title: own("Body"),
            payload: None,
        });
    }
    if let Some(url) = params.get("ReferralSourceUrl") {
        let (title, description) = (own("ReferralHeadline"), own("ReferralBody"));
        event.referral = Some(Referral {
            source: own("ReferralSourceType").unwrap_or_else(|| "ad".to_owned()),
            source_id: own("ReferralSourceId"),
            url: Some(url.to_owned()),
            title: title.clone(),
            payload: None,
        });
        event.content.push(Part::Link { url: url.to_owned(), title, description });
    }
    location(cx, event);
}

fn location(cx: &Context<'_>, event: &mut Event) {
    let params = cx.params;
    let degrees = |name: &str, limit: f64| {
        params.get(name)?.parse::<f64>().ok().filter(|degrees| degrees.is_finite() && degrees.abs() <= limit)
    };
    match (degrees("Latitude", 90.0), degrees("Longitude", 180.0)) {
        (Some(latitude), Some(longitude)) => event.content.push(Part::Location(Location {
            latitude,
            longitude,
            name: params.get("Label").map(str::to_owned),
            address: params.get("Address").map(str::to_owned),
            live: None,
        })),
        // What is no place on earth stays readable as it came.
        _ => {
            for name in ["Latitude", "Longitude", "Address", "Label"] {
                if let Some(value) = params.raw(name) {
                    let data = event.provider_data.get_or_insert_with(|| serde_json::json!({}).into());
                    data.value_mut()[name] = value.into();
                }
            }
        }
    }
}

/// One `MediaUrlN` with its `MediaContentTypeN`.
struct Media<'a> {
    index: u64,
    url_name: String,
    type_name: String,
    url: &'a str,
    media_type: Option<&'a str>,
}

fn media_params<'a>(cx: &Context<'a>) -> Vec<Media<'a>> {
    // NumMedia is what the sender counts; the URLs that are there are what can be fetched.
    (0..MEDIA_MAX)
        .filter_map(|index| {
            let (url_name, type_name) = (format!("MediaUrl{index}"), format!("MediaContentType{index}"));
            let url = cx.params.get(&url_name)?;
            let media_type = cx.params.get(&type_name);
            Some(Media { index, url_name, type_name, url, media_type })
        })
        .collect()
}

fn attach(cx: &Context<'_>, event: &mut Event, media: Vec<Media<'_>>) -> Vec<connector_sdk::FetchOrder> {
    let mut orders = Vec::new();
    for Media { index, url, media_type, .. } in media {
        let last = url.rsplit('/').next().filter(|last| last.starts_with("ME"));
        let mut attachment =
            Attachment::new(last.map_or_else(|| index.to_string(), str::to_owned), FetchState::Pending);
        attachment.media_type = media_type.map(str::to_owned);
        attachment.provider_url = Some(url.to_owned());
        orders.push(media::order(event, &attachment, url, cx.raw));
        event.content.push(Part::Media {
            attachment_id: attachment.id.clone(),
            media: media_word(media_type).to_owned(),
            caption: None,
            duration_seconds: None,
        });
        event.attachments.push(attachment);
    }
    orders
}

fn media_word(media_type: Option<&str>) -> &'static str {
    match media_type.and_then(|media_type| media_type.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}

/// `delivered`, `read`, `undelivered` or `failed`: about a message that the business sent.
fn receipt(cx: &Context<'_>, sid: &str, kind: Kind, status: &str) -> Parsed {
    let params = cx.params;
    let (from, to) = (params.get("From").map(Address::of), params.get("To").map(Address::of));
    let channel = to.or(from).map_or(Channel::Sms, |address| address.channel());
    let used: Vec<&str> = ENVELOPE.iter().chain(&["MessageStatus", "SmsStatus", "ErrorCode"]).copied().collect();
    let mut event = cx.event(kind, channel, status, &used);
    event.provenance.message_ids = vec![sid.to_owned()];
    event.target = Some(Target::message(sid));
    event.conversation = match (from, to) {
        (Some(from), Some(to)) => chat(from, to, from),
        // Before a messaging service has picked a number there is only the customer's.
        (_, Some(one)) | (Some(one), _) => {
            Conversation::new(KeyBasis::Sender, one.whole).of_type(ConversationType::Direct)
        }
        (None, None) => Conversation::new(KeyBasis::Event, ""),
    };
    // The customer's side reports: the receipt comes from whom the message went to.
    event.sender = to.map(|to| Actor::new(vec![to.identity()]));
    event.recipients =
        from.map(|from| Recipient { role: Role::To, actor: Actor::new(vec![from.identity()]) }).into_iter().collect();
    event.delivery = vec![DeliveryReport {
        recipient: to.map(|to| to.whole.to_owned()),
        status: status.to_owned(),
        code: params.get("ErrorCode").map(str::to_owned),
        ..DeliveryReport::default()
    }];
    Parsed::one(Draft::new(id::receipt(sid, status), event))
}

/// Twilio has no conversation id here: the two addresses are the chat.
fn chat(one: Address<'_>, other: Address<'_>, business: Address<'_>) -> Conversation {
    let mut conversation = Conversation::new(KeyBasis::Sender, id::chat(one.whole, other.whole));
    conversation.channel_id = Some(business.whole.to_owned());
    conversation.of_type(ConversationType::Direct)
}
