//! From the API's entities to actors, content and attachments.

use connector_sdk::schemas::{
    Actor, Attachment, Event, FetchState, Identity, Part, Recipient, Role, TextFormat, scheme,
};
use connector_sdk::{html, json, text};
use serde_json::Value;

/// Scheme of the server's own account ids.
const USER_ID: &str = "mastodon_user_id";

/// The actor of an Account (or Mention) entity; `domain` completes handles of the server's own users.
pub fn actor(account: &Value, domain: &str) -> Actor {
    let mut identities = Vec::new();
    if let Some(id) = json::id(account, "/id") {
        identities.push(Identity::by_provider(USER_ID, id));
    }
    if let Some(acct) = json::text(account, "/acct") {
        identities.push(Identity::by_provider(scheme::ACCT, handle(acct, domain)));
    }
    if let Some(url) = json::text(account, "/url") {
        identities.push(Identity::by_provider(scheme::URL, url));
    }
    let name = json::text(account, "/display_name").or_else(|| json::text(account, "/username"));
    let mut actor = Actor::new(identities).named(name.map(text::one_line));
    actor.avatar_url = json::text(account, "/avatar").map(str::to_owned);
    actor.is_bot = account.pointer("/bot").and_then(Value::as_bool);
    actor
}

/// `acct` as the API writes it lacks the host for local users.
pub fn handle(acct: &str, domain: &str) -> String {
    if acct.contains('@') { acct.to_owned() } else { format!("{acct}@{domain}") }
}

/// Fills in who was mentioned, what was said and what was attached; `source` decides what is to be fetched.
pub fn fill(event: &mut Event, status: &Value, domain: &str, source: impl Fn(&Value, &mut Attachment)) {
    event.recipients = list(status, "/mentions")
        .map(|mention| Recipient { role: Role::Mention, actor: actor(mention, domain) })
        .collect();
    let markup = json::text(status, "/content").unwrap_or("");
    let mut paragraphs: Vec<String> = Vec::new();
    paragraphs.extend(json::text(status, "/spoiler_text").map(str::to_owned));
    let body = html::to_text(markup);
    if !body.is_empty() {
        paragraphs.push(body);
    }
    if let Some(safe) = html::sanitize(markup).filter(|safe| !safe.is_empty()) {
        event.content.push(Part::Text { format: TextFormat::Html, text: safe, reply_text: None });
    }
    for media in list(status, "/media_attachments") {
        let Some((attachment, part)) = media_part(media, &source) else { continue };
        event.attachments.push(attachment);
        event.content.push(part);
    }
    if let Some(poll) = status.get("poll").filter(|poll| poll.is_object()) {
        let options: Vec<String> =
            list(poll, "/options").filter_map(|o| json::text(o, "/title")).map(|o| format!("- {o}")).collect();
        paragraphs.push(options.join("\n"));
        event.content.push(Part::Interactive {
            action: "poll".into(),
            id: json::id(poll, "/id"),
            title: None,
            payload: Some(poll.to_string()),
        });
    }
    if let Some(url) = json::text(status, "/card/url") {
        event.content.push(Part::Link {
            url: url.to_owned(),
            title: json::text(status, "/card/title").map(str::to_owned),
            description: json::text(status, "/card/description").map(str::to_owned),
        });
    }
    if paragraphs.is_empty() {
        paragraphs.extend(event.content.iter().filter_map(alternative));
    }
    let whole = paragraphs.join("\n\n");
    let cleaned = text::clean(&whole);
    event.provenance.sanitized |= *cleaned != whole;
    event.text = Some(cleaned.into_owned());
}

/// What stands for a file where nothing was written beside it.
fn alternative(part: &Part) -> Option<String> {
    match part {
        Part::Media { media, caption, .. } => Some(caption.clone().unwrap_or_else(|| format!("[{media}]"))),
        _ => None,
    }
}

fn media_part(media: &Value, source: impl Fn(&Value, &mut Attachment)) -> Option<(Attachment, Part)> {
    let mut attachment = Attachment::new(json::id(media, "/id")?, FetchState::External);
    source(media, &mut attachment);
    let kind = match json::text(media, "/type") {
        Some("image") => "image",
        Some("video") => "video",
        Some("gifv") => "animation",
        Some("audio") => "audio",
        _ => "document",
    };
    let seconds = media.pointer("/meta/original/duration").and_then(Value::as_f64).filter(|s| s.is_finite());
    let part = Part::Media {
        attachment_id: attachment.id.clone(),
        media: kind.into(),
        caption: json::text(media, "/description").map(str::to_owned),
        // A length for people to read; the server's fraction stays in `provider_data`.
        duration_seconds: seconds.map(|s| s.max(0.0).round() as u64),
    };
    Some((attachment, part))
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}
