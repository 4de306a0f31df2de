//! Files of messages: what Slack says of them, the orders to fetch them, and what the orders brought.
//!
//! Source: docs.slack.dev `reference/objects/file-object`; vercel/chat `packages/adapter-slack`.

use connector_sdk::schemas::{
    Attachment, Channel, Conversation, Direction, Event as Unified, FetchState, Kind, Part, Target,
};
use connector_sdk::{Draft, EventKey, FetchOrder, FetchedMedia, Parsed, RawEvent, text as hygiene};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parse::{PROVIDER, stamp_input};

pub(crate) const ORDER_KIND: &str = "file";
/// `file_access` of a file that has to be asked for.
const CHECK_FILE_INFO: &str = "check_file_info";

/// Parameters of an order: what to fetch, and the event that the file belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub account: String,
    pub file_id: String,
    pub message_id: String,
    pub conversation: Conversation,
    pub direction: Direction,
    /// Where the bytes are; absent = to be asked for with `files.info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// Adds the files of a message to its event; returns the orders for those whose bytes can be had.
pub(crate) fn attach(
    has_token: bool,
    unified: &mut Unified,
    files: Option<&Value>,
    message_id: &str,
) -> Vec<FetchOrder> {
    let mut orders = Vec::new();
    // A file is told by its id; what has none, or has been seen, stays in `provider_data` alone.
    for file in files.and_then(Value::as_array).into_iter().flatten() {
        let Some(file_id) = text(file, "id").map(str::to_owned) else { continue };
        if unified.attachments.iter().any(|have| have.id == file_id) {
            continue;
        }
        let mut attachment = describe(file, &file_id);
        if attachment.fetch_state == FetchState::Pending {
            if has_token {
                orders.push(order(unified, file, &attachment, message_id));
            } else {
                attachment.fetch_state = FetchState::Failed;
                attachment.reason = Some("no `bot_token` is configured".to_owned());
            }
        }
        unified.content.push(Part::Media {
            attachment_id: file_id,
            media: media(attachment.media_type.as_deref()).to_owned(),
            caption: text(file, "title").map(hygiene::one_line),
            duration_seconds: None,
        });
        unified.attachments.push(attachment);
    }
    orders
}

/// What Slack says of a file, and whether its bytes can be had.
fn describe(file: &Value, file_id: &str) -> Attachment {
    let (state, reason) = state(file);
    let mut attachment = Attachment::new(file_id, state);
    attachment.reason = reason;
    let raw_name = text(file, "name");
    attachment.file_name = raw_name.and_then(hygiene::file_name);
    if attachment.file_name.as_deref() != raw_name {
        attachment.file_name_raw = raw_name.map(str::to_owned);
    }
    attachment.media_type = text(file, "mimetype").map(str::to_owned);
    attachment.size_bytes = file.get("size").and_then(Value::as_u64);
    attachment.provider_url =
        text(file, "url_private_download").or_else(|| text(file, "url_private")).map(str::to_owned);
    attachment
}

fn state(file: &Value) -> (FetchState, Option<String>) {
    match (text(file, "mode"), text(file, "file_access")) {
        (_, Some(CHECK_FILE_INFO)) => (FetchState::Pending, None),
        (Some("external"), _) => (FetchState::External, Some("a link to another service".to_owned())),
        (Some("tombstone"), _) => (FetchState::External, Some("the file was deleted".to_owned())),
        (Some("hidden_by_limit"), _) => (FetchState::External, Some("hidden by the plan's limit".to_owned())),
        (_, Some(access)) if access != "visible" => (FetchState::Failed, Some(hygiene::one_line(access))),
        _ => (FetchState::Pending, None),
    }
}

fn order(unified: &Unified, file: &Value, attachment: &Attachment, message_id: &str) -> FetchOrder {
    let must_ask = text(file, "file_access") == Some(CHECK_FILE_INFO);
    let order = Order {
        account: unified.account.clone(),
        file_id: attachment.id.clone(),
        message_id: message_id.to_owned(),
        conversation: unified.conversation.clone(),
        direction: unified.direction.clone(),
        url: attachment.provider_url.clone().filter(|_| !must_ask),
        file_name: attachment.file_name.clone(),
        media_type: attachment.media_type.clone(),
    };
    FetchOrder {
        id: format!("{}:{message_id}:{}", unified.account, order.file_id),
        kind: ORDER_KIND.to_owned(),
        // Plain data always becomes JSON; a null would come back as an order that cannot be carried out.
        params: serde_json::to_value(order).unwrap_or(Value::Null),
        expires_at: None,
    }
}

/// What came of an order: `attachment.stored` or `attachment.failed`.
pub(crate) fn fetched(raw: &RawEvent) -> Parsed {
    let Ok(media) = serde_json::from_slice::<FetchedMedia>(&raw.body) else {
        return Parsed::reject("unexpected_shape", "body is no result of a fetch order");
    };
    let order = Order::deserialize(&media.order.params).ok().filter(|order| !order.account.is_empty());
    let Some(order) = order else {
        return Parsed::reject("unexpected_shape", "the fetch order's parameters are not Slack's");
    };
    let stored = media.blob.is_some();
    let kind = if stored { Kind::AttachmentStored } else { Kind::AttachmentFailed };
    let mut unified = Unified::new(kind, Channel::Chat, PROVIDER, order.account, raw.received_at);
    let state = media.state();
    let mut attachment = Attachment::new(&order.file_id, state);
    attachment.reason = media.failure;
    attachment.blob = media.blob;
    attachment.file_name = order.file_name;
    attachment.media_type = order.media_type.or(media.media_type);
    attachment.media_type_sniffed = media.sniffed;
    attachment.provider_url = order.url;
    unified.attachments.push(attachment);
    let key = EventKey::new(format!("{}:{}", order.message_id, order.file_id));
    unified.target =
        Some(Target { message_id: Some(order.message_id), attachment_id: Some(order.file_id), ..Target::default() });
    unified.conversation = order.conversation;
    unified.direction = order.direction;
    unified.conversation.in_reply_to = None;
    stamp_input(&mut unified, raw, false);
    Parsed::one(Draft::new(key, unified))
}

fn text<'a>(file: &'a Value, name: &str) -> Option<&'a str> {
    file.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn media(media_type: Option<&str>) -> &'static str {
    match media_type.and_then(|media_type| media_type.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        _ => "document",
    }
}
