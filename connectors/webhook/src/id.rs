//! Ids of events.

use connector_sdk::EventKey;
use connector_sdk::key::content_key;

/// Where in its delivery an event came from.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Index of the item, where the delivery has several.
    pub item: Option<usize>,
    /// Index among the events that the mapping made of the item, where it made several.
    pub output: Option<usize>,
}

/// The key of an event: the mapping's own id; else the delivery's with the event's place in it; else the content.
pub fn event(
    own: Option<&str>,
    delivery: Option<&str>,
    content: &[u8],
    place: Place,
    revision: Option<String>,
) -> EventKey {
    let numbered = |id: String, index: Option<usize>| match index {
        Some(index) => format!("{id}#{index}"),
        None => id,
    };
    let event_id = match (own, delivery) {
        (Some(own), _) => own.to_owned(),
        (None, Some(delivery)) => numbered(numbered(delivery.to_owned(), place.item), place.output),
        // Content is the same wherever it stands in a batch.
        (None, None) => numbered(content_key(&[content]), place.output),
    };
    EventKey { event_id, revision: revision.unwrap_or_default() }
}
