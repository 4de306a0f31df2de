//! Attachments: bytes in the item, files to fetch, links; and what came of fetching.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use connector_sdk::schemas::{
    Attachment, Channel, Conversation, Disposition, Event, FetchState, KeyBasis, Kind, Target,
};
use connector_sdk::{Draft, EventKey, FetchOrder, FetchedMedia, Parsed, RawEvent, text};
use serde::Deserialize;

use super::Source;
use crate::fetch::{FileParams, allowed};
use crate::wire::File;

/// How long a download is tried; URLs with a signature seldom live longer.
const TRY_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Adds attachments to an event whose conversation is already set.
pub fn attach(draft: &mut Draft, files: Vec<File>, source: &Source, raw: &RawEvent) -> Result<Vec<FetchOrder>, String> {
    let mut orders = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let id = file.id.get().unwrap_or_else(|| (index + 1).to_string());
        let mut attachment = Attachment::new(id, FetchState::External);
        attachment.file_name = file.name.as_deref().and_then(text::file_name);
        attachment.file_name_raw = file.name.filter(|name| Some(name) != attachment.file_name.as_ref());
        attachment.media_type = file.media_type;
        attachment.size_bytes = file.size_bytes;
        attachment.content_id = file.content_id;
        attachment.disposition = match file.inline {
            Some(true) => Some(Disposition::Inline),
            _ => Some(Disposition::Attachment),
        };
        match (file.data, file.url) {
            (Some(data), url) => {
                let bytes = STANDARD
                    .decode(data.trim())
                    .map_err(|_| format!("attachments[{index}].data: expected standard base64"))?;
                attachment.provider_url = url;
                draft.attach(attachment, bytes.into());
            }
            (None, Some(url)) => {
                attachment.provider_url = Some(url.clone());
                if allowed(&url, &source.attachment_hosts) {
                    attachment.fetch_state = FetchState::Pending;
                    orders.push(order(draft, &attachment, url, raw));
                }
                draft.event.attachments.push(attachment);
            }
            (None, None) => return Err(format!("attachments[{index}]: needs `url` or `data`")),
        }
    }
    Ok(orders)
}

fn order(draft: &Draft, attachment: &Attachment, url: String, raw: &RawEvent) -> FetchOrder {
    let event = &draft.event;
    let conversation = &event.conversation;
    let params = FileParams {
        url,
        provider: event.provider.clone(),
        account: event.account.clone(),
        channel: event.channel.to_string(),
        conversation: conversation.key.clone(),
        key_basis: conversation.key_basis.to_string(),
        attachment_id: attachment.id.clone(),
        message_id: event.provenance.message_ids.first().cloned().or_else(|| Some(draft.key.event_id.clone())),
        file_name: attachment.file_name.clone(),
        media_type: attachment.media_type.clone(),
    };
    FetchOrder {
        // The source's ids are unique within provider and account only.
        id: format!("{}/{}/{}/{}", event.provider, event.account, draft.key.event_id, attachment.id),
        kind: "file".to_owned(),
        // Plain strings: serialising them cannot fail.
        params: serde_json::to_value(&params).unwrap_or_default(),
        expires_at: Some(raw.received_at.plus(TRY_FOR)),
    }
}

/// `attachment.stored` or `attachment.failed` for what a fetch brought.
pub fn fetched(fetched: FetchedMedia, raw: &RawEvent, source: &Source) -> Parsed {
    let state = fetched.state();
    let FetchedMedia { order, blob, media_type, sniffed, failure, .. } = fetched;
    let params = match FileParams::deserialize(&order.params) {
        Ok(params) => params,
        Err(error) => return Parsed::reject("malformed_fetch_result", error.to_string()),
    };
    let kind = if blob.is_some() { Kind::AttachmentStored } else { Kind::AttachmentFailed };
    let channel = Channel::from(params.channel.as_str());
    let mut event = Event::new(kind, channel, &params.provider, &params.account, raw.received_at);
    event.provenance.parser_version = Some(source.parser_version.clone());
    event.provenance.provider_type = Some(order.kind.clone());
    event.provenance.message_ids.extend(params.message_id.clone());
    event.conversation = Conversation::new(KeyBasis::from(params.key_basis.as_str()), &params.conversation);
    event.target = Some(Target {
        message_id: params.message_id,
        attachment_id: Some(params.attachment_id.clone()),
        ..Target::default()
    });
    let mut attachment = Attachment::new(params.attachment_id, state);
    if blob.is_none() {
        attachment.reason = Some(failure.unwrap_or_else(|| "the download brought nothing".to_owned()));
    }
    attachment.blob = blob;
    attachment.file_name = params.file_name;
    attachment.media_type = params.media_type.or(media_type);
    attachment.media_type_sniffed = sniffed;
    attachment.provider_url = Some(params.url);
    event.attachments.push(attachment);
    Parsed::one(Draft::new(EventKey::new(order.id), event))
}
