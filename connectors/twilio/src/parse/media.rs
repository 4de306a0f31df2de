//! Media behind credentials: the order to fetch it, and what came of the order.

use std::time::Duration;

use connector_sdk::schemas::{Attachment, Channel, Conversation, ConversationType, Event, KeyBasis, Kind, Target};
use connector_sdk::{Draft, FetchOrder, FetchedMedia, Parsed, RawEvent};
use serde::{Deserialize, Serialize};

use super::provenance;
use crate::{PROVIDER, id};

/// How long a download is tried. Twilio keeps media until it is deleted; a day outlasts its outages.
const TRY_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Parameters of an order: where the file is and what it belongs to. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaParams {
    pub url: String,
    pub account: String,
    pub channel: String,
    pub conversation: String,
    pub attachment_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// The order for an attachment of `event`, whose conversation is already set.
pub fn order(event: &Event, attachment: &Attachment, url: &str, raw: &RawEvent) -> FetchOrder {
    let params = MediaParams {
        url: url.to_owned(),
        account: event.account.clone(),
        channel: event.channel.to_string(),
        conversation: event.conversation.key.clone(),
        attachment_id: attachment.id.clone(),
        message_id: event.provenance.message_ids.first().cloned(),
        call_id: event.call.as_ref().map(|call| call.call_id.clone()),
        media_type: attachment.media_type.clone(),
    };
    let owner = params.message_id.as_ref().or(params.call_id.as_ref());
    FetchOrder {
        id: format!("{}/{}", owner.map_or("", String::as_str), attachment.id),
        kind: "media".to_owned(),
        // Plain strings: serialising them cannot fail.
        params: serde_json::to_value(&params).unwrap_or_default(),
        expires_at: Some(raw.received_at.plus(TRY_FOR)),
    }
}

/// `attachment.stored` or `attachment.failed` for what a fetch brought.
pub fn fetched(fetched: FetchedMedia, raw: &RawEvent) -> Parsed {
    let state = fetched.state();
    let FetchedMedia { order, blob, media_type, sniffed, failure, .. } = fetched;
    let params = match MediaParams::deserialize(&order.params) {
        Ok(params) => params,
        Err(error) => return Parsed::reject("malformed_fetch_result", error.to_string()),
    };
    let kind = if blob.is_some() { Kind::AttachmentStored } else { Kind::AttachmentFailed };
    let channel = Channel::from(params.channel.as_str());
    let mut event = Event::new(kind, channel, PROVIDER, &params.account, raw.received_at);
    provenance(&mut event, raw, &order.kind);
    let (basis, conversation_type) = match params.call_id {
        Some(_) => (KeyBasis::Call, ConversationType::Call),
        None => (KeyBasis::Sender, ConversationType::Direct),
    };
    event.conversation = Conversation::new(basis, &params.conversation).of_type(conversation_type);
    event.provenance.message_ids.extend(params.message_id.clone());
    event.target = Some(Target {
        event_id: None,
        message_id: params.message_id,
        call_id: params.call_id,
        attachment_id: Some(params.attachment_id.clone()),
    });
    let mut attachment = Attachment::new(params.attachment_id, state);
    attachment.reason = match (&blob, failure) {
        (Some(_), _) => None,
        (None, failure) => Some(failure.unwrap_or_else(|| "the download brought nothing".to_owned())),
    };
    attachment.blob = blob;
    attachment.media_type = params.media_type.or(media_type);
    attachment.media_type_sniffed = sniffed;
    attachment.provider_url = Some(params.url);
    event.attachments.push(attachment);
    Parsed::one(Draft::new(id::fetched(&order.id), event))
}
