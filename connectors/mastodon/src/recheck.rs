//! Looks at the latest mentions again: the API tells nobody that a mention was edited or deleted.
//!
//! The list of mentions carries each status as it is now, so edits cost nothing beyond that list. A mention that is
//! missing from it is asked for by its status: 404 and 410 mean that the server has it no longer (deleted, or no longer
//! to be seen by this account); where it is still there, only the notification was dismissed, and it is let go.

use std::time::Duration;

use connector_sdk::{Bytes, IntakeError, json};
use serde_json::Value;

use crate::api::{Api, Entry, Found, PAGE_LIMIT};
use crate::cursor::{Watch, Watched};
use crate::id;
use crate::poll::Roots;
use crate::wire::{Item, Tombstone, id_order};

/// Vanished mentions that are asked for in one round; the others wait for the next.
const LOOKUPS_MAX: usize = 20;

/// One change of a status.
pub struct Change {
    pub item: Item,
    pub status: String,
    pub root: Option<String>,
    pub body: Bytes,
}

/// What one look brought.
#[derive(Default)]
pub struct Round {
    pub changes: Vec<Change>,
    pub wait: Option<Duration>,
}

/// Compares the mentions as they are now with `watch`, and brings that up to date.
pub async fn round(api: &Api<'_>, watch: &mut Watch, roots: &mut Roots) -> Result<Round, IntakeError> {
    let mut round = Round::default();
    let listed = list(api, watch, &mut round).await?;
    for entry in &listed.entries {
        let Ok(doc) = json::parse(&entry.json) else { continue };
        if json::text(&doc.value, "/type") != Some("mention") {
            continue;
        }
        let Some(status) = doc.value.get("status").filter(|status| json::id(status, "/id").is_some()) else { continue };
        let root = roots.of(api, status).await?;
        let Some(now) = watched(&entry.id, status, root.as_deref()) else { continue };
        let known = watch.mentions.iter_mut().find(|have| have.notification == entry.id);
        let changed = match known {
            Some(have) => std::mem::replace(&mut have.edited_at, now.edited_at.clone()) != now.edited_at,
            // Edited between the stream of notifications' look and this one: which version that saw is not known here.
            None => {
                let edited = now.edited_at.is_some();
                watch.add(now.clone(), api.options.recheck_mentions);
                edited
            }
        };
        if changed && now.edited_at.is_some() {
            let body = Bytes::from(status.to_string());
            round.changes.push(Change { item: Item::Edited, status: now.status, root, body });
        }
    }
    vanished(api, watch, &listed, &mut round).await?;
    Ok(round)
}

/// The newest mentions and how far down they reach.
struct Listed {
    entries: Vec<Entry>,
    /// Everything above this id is listed.
    reaches: String,
}

async fn list(api: &Api<'_>, watch: &Watch, round: &mut Round) -> Result<Listed, IntakeError> {
    let mut listed = Listed { entries: Vec::new(), reaches: watch.floor.clone() };
    let mut below: Option<String> = None;
    loop {
        let page = api.notifications(None, below.as_deref(), &["mention"], PAGE_LIMIT).await?;
        round.wait = round.wait.max(page.wait);
        let Some(oldest) = page.entries.first().map(|entry| entry.id.clone()) else { break };
        listed.entries.extend(page.entries.into_iter().filter(|entry| id_order(&entry.id, &watch.floor).is_gt()));
        if id_order(&oldest, &watch.floor).is_le() {
            break;
        }
        if listed.entries.len() >= api.options.recheck_mentions {
            listed.reaches = oldest;
            break;
        }
        below = Some(oldest);
    }
    listed.entries.sort_by(|a, b| id_order(&a.id, &b.id));
    Ok(listed)
}

/// Deals with watched mentions that are no longer listed.
async fn vanished(api: &Api<'_>, watch: &mut Watch, listed: &Listed, round: &mut Round) -> Result<(), IntakeError> {
    let here = |have: &Watched| {
        id_order(&have.notification, &listed.reaches).is_lt()
            || listed.entries.iter().any(|entry| entry.id == have.notification)
    };
    let missing: Vec<Watched> = watch.mentions.iter().filter(|have| !here(have)).take(LOOKUPS_MAX).cloned().collect();
    for gone in missing {
        let path = format!("/api/v1/statuses/{}", gone.status);
        match api.find::<Value>(&path, "a status").await? {
            Found::Gone(status_code) => {
                let tombstone = Tombstone {
                    id: gone.status.clone(),
                    conversation: gone.conversation,
                    visibility: gone.visibility,
                    uri: gone.uri,
                    acct: gone.acct,
                    in_reply_to_id: gone.in_reply_to_id,
                    status_code,
                };
                let body = serde_json::to_vec(&tombstone)
                    .map_err(|e| IntakeError::Broken(format!("a deletion does not encode: {e}")))?;
                round.changes.push(Change { item: Item::Deleted, status: gone.status, root: None, body: body.into() });
            }
            Found::There(_) | Found::TooLarge => {}
        }
        watch.mentions.retain(|have| have.notification != gone.notification);
    }
    Ok(())
}

fn watched(notification: &str, status: &Value, root: Option<&str>) -> Option<Watched> {
    let text = |pointer| json::text(status, pointer).map(str::to_owned);
    Some(Watched {
        notification: notification.to_owned(),
        status: json::id(status, "/id")?,
        edited_at: text("/edited_at"),
        conversation: id::conversation(status, root)?.key,
        visibility: text("/visibility").unwrap_or_else(|| "public".to_owned()),
        uri: text("/uri"),
        acct: text("/account/acct"),
        in_reply_to_id: json::id(status, "/in_reply_to_id"),
    })
}
