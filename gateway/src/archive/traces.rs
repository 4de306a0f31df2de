//! What the events' topic knows of what is to be erased: which events those are, in which conversations, and which blobs
//! they and all others refer to.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use connector_sdk::schemas::{BlobRef, Channel, Event, Kind, Target};

use super::erase::Wanted;

/// Where a consumer meets an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub tenant: String,
    pub provider: String,
    pub account: String,
    pub channel: String,
    /// The conversation's key.
    pub key: String,
}

/// An event that refers to blobs, or that another one may belong to.
struct Holder {
    id: String,
    place: Place,
    kind: Kind,
    target: Option<Target>,
    blobs: Vec<String>,
    /// The whole event is in this blob, with further references.
    claim_check: Option<BlobRef>,
}

/// Gathered from every event on the topic.
#[derive(Default)]
pub struct Traces {
    /// Events to be erased. Those of raw inputs that are gone from the topic have no place.
    pub events: BTreeMap<String, Option<Place>>,
    /// Events of earlier requests: still on the topic, but no reason to keep a blob.
    erased_before: HashSet<String>,
    messages: HashSet<(String, String)>,
    holders: Vec<Holder>,
}

impl Place {
    pub fn of(event: &Event) -> Self {
        Self {
            tenant: event.tenant.clone(),
            provider: event.provider.clone(),
            account: event.account.clone(),
            channel: event.channel.as_str().to_owned(),
            key: event.conversation.key.clone(),
        }
    }

    pub fn channel(&self) -> Channel {
        serde_json::from_value(self.channel.clone().into()).unwrap_or(Channel::System)
    }

    fn account_of(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.provider, self.account)
    }
}

impl Wanted {
    /// Whether an event is meant by its id or its sender.
    pub fn meets(&self, event: &Event) -> bool {
        match self {
            Self::Event(id) => event.id == *id,
            Self::Sender(identity) => {
                let identities = event.sender.iter().flat_map(|sender| &sender.identities);
                identities.map(|own| own.value.to_lowercase()).any(|own| own == identity.to_lowercase())
            }
        }
    }
}

impl Traces {
    /// One event of the topic, in any order.
    pub fn take(&mut self, wanted: &Wanted, event: Event) {
        if let Some(erasure) = &event.erasure {
            self.erased_before.extend(erasure.event_ids.iter().cloned());
            return;
        }
        let place = Place::of(&event);
        if wanted.meets(&event) {
            self.add(&event);
        }
        let blobs: Vec<_> = blobs(&event).map(|blob| blob.path.clone()).collect();
        if !blobs.is_empty() || event.claim_check.is_some() || event.target.is_some() {
            let Event { id, kind, target, claim_check, .. } = event;
            self.holders.push(Holder { id, place, kind, target, blobs, claim_check });
        }
    }

    /// An event to be erased, from the topic or made anew of a raw input.
    pub fn add(&mut self, event: &Event) {
        let place = Place::of(event);
        self.messages.extend(event.provenance.message_ids.iter().map(|id| (place.account_of(), id.clone())));
        self.events.insert(event.id.clone(), Some(place));
    }

    /// Adds what hangs on those: the files of a message, and its edits, which repeat its text.
    pub fn add_followers(&mut self) {
        let found: Vec<_> = self.holders.iter().filter(|holder| self.follows(holder)).collect();
        let found: Vec<_> = found.into_iter().map(|holder| (holder.id.clone(), Some(holder.place.clone()))).collect();
        self.events.extend(found);
    }

    fn follows(&self, holder: &Holder) -> bool {
        let carries = [Kind::AttachmentStored, Kind::AttachmentFailed, Kind::MessageEdited].contains(&holder.kind);
        let Some(target) = holder.target.as_ref().filter(|_| carries) else { return false };
        let by_id = target.event_id.as_ref().is_some_and(|id| self.events.contains_key(id));
        let by_message = |id: &String| self.messages.contains(&(holder.place.account_of(), id.clone()));
        by_id || target.message_id.as_ref().is_some_and(by_message)
    }

    /// Blobs of events to be erased, and blobs of all others. Where the whole event is in a blob, `open` reads it.
    pub async fn blobs<F: Future<Output = Option<Event>>>(
        &self,
        open: impl Fn(BlobRef) -> F,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
        for holder in &self.holders {
            let is_own = self.events.contains_key(&holder.id);
            if !is_own && self.erased_before.contains(&holder.id) {
                continue;
            }
            let into = if is_own { &mut own } else { &mut others };
            into.extend(holder.blobs.iter().cloned());
            if let Some(claim_check) = &holder.claim_check {
                into.insert(claim_check.path.clone());
                if let Some(whole) = open(claim_check.clone()).await {
                    into.extend(blobs(&whole).map(|blob| blob.path.clone()));
                }
            }
        }
        (own, others)
    }

    /// Events by conversation, as consumers are told.
    pub fn by_place(&self) -> BTreeMap<Option<Place>, Vec<String>> {
        let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, place) in &self.events {
            places.entry(place.clone()).or_default().push(id.clone());
        }
        places
    }
}

fn blobs(event: &Event) -> impl Iterator<Item = &BlobRef> {
    event.attachments.iter().filter_map(|attachment| attachment.blob.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_sdk::schemas::{Actor, Attachment, Erasure, FetchState, Identity, Timestamp};

    fn event(id: &str, sender: &str, blob: Option<&str>) -> Event {
        let mut event = Event::new(Kind::MessageCreated, Channel::Email, "p", "a", Timestamp::UNIX_EPOCH);
        event.id = id.to_owned();
        event.sender = Some(Actor::new(vec![Identity::claimed("email", sender)]));
        event.provenance.message_ids = vec![format!("message of {id}")];
        if let Some(blob) = blob {
            let mut file = Attachment::new("1", FetchState::Stored);
            file.blob = Some(BlobRef { path: blob.to_owned(), sha256: blob.to_owned(), size_bytes: 1 });
            event.attachments = vec![file];
        }
        event
    }

    async fn gone(traces: &Traces) -> Vec<String> {
        let (own, others) = traces.blobs(|_| async { None }).await;
        own.difference(&others).cloned().collect()
    }

    #[tokio::test]
    async fn a_blob_of_two_goes_with_the_second() {
        let all = || [event("1", "Jane@x", Some("shared")), event("2", "joe@x", Some("shared"))];
        let mut first = Traces::default();
        all().into_iter().for_each(|event| first.take(&Wanted::Event("1".to_owned()), event));
        assert!(gone(&first).await.is_empty());
        let mut told = event("3", "", None);
        told.erasure = Some(Erasure { event_ids: vec!["1".to_owned()], identity: None });
        let mut second = Traces::default();
        let later = all().into_iter().chain([told]);
        later.for_each(|event| second.take(&Wanted::Event("2".to_owned()), event));
        assert_eq!(gone(&second).await, ["shared"]);
    }

    #[tokio::test]
    async fn files_and_edits_go_with_their_message() {
        let mut stored = event("2", "", Some("file"));
        (stored.kind, stored.sender) = (Kind::AttachmentStored, None);
        stored.target = Some(Target::message("message of 1"));
        let mut elsewhere = stored.clone();
        (elsewhere.id, elsewhere.account) = ("3".to_owned(), "other account".to_owned());
        let mut traces = Traces::default();
        let all = [stored, elsewhere, event("1", "Jane@x", None), event("4", "joe@x", None)];
        all.into_iter().for_each(|event| traces.take(&Wanted::Sender("jane@X".to_owned()), event));
        traces.add_followers();
        assert_eq!(traces.events.keys().collect::<Vec<_>>(), ["1", "2"]);
    }
}
