//! The notifications that the server has kept: for backfills and audits.

use std::sync::Arc;

use connector_sdk::{History, IntakeError, Io, Listed, Reach, StreamId, Timestamp, async_trait, json};

use crate::Options;
use crate::api::Api;
use crate::cursor::Position;
use crate::poll::{NOTIFICATIONS, Poller, since_id};
use crate::walk;

/// The instance's notifications, when asked. Their names are the server's ids.
pub struct NotificationHistory {
    options: Arc<Options>,
    poller: Poller,
}

impl NotificationHistory {
    pub fn new(options: Arc<Options>) -> Self {
        Self { poller: Poller::new(Arc::clone(&options)), options }
    }

    /// Behind which id to look.
    async fn floor(&self, reach: &Reach, passed: Option<&Position>, io: &Io) -> Result<String, IntakeError> {
        let begun = passed.and_then(|position| position.from.clone());
        match (&reach.after, reach.since) {
            (Some(after), _) => Ok(after.clone()),
            (None, Some(since)) => since_id(&Api { options: &self.options, io }, since).await,
            (None, None) => Ok(begun.unwrap_or_else(|| "0".to_owned())),
        }
    }
}

#[async_trait]
impl History for NotificationHistory {
    async fn streams(&mut self, _: &Io) -> Result<Vec<StreamId>, IntakeError> {
        Ok(vec![StreamId::new(NOTIFICATIONS)])
    }

    async fn list(&mut self, _: &StreamId, reach: &Reach, io: &Io) -> Result<Vec<Listed>, IntakeError> {
        let passed = reach.passed_by.as_ref().map(Position::decode).transpose()?;
        let mut floor = self.floor(reach, passed.as_ref(), io).await?;
        let options = Arc::clone(&self.options);
        loop {
            let batch = walk::next(&Api { options: &options, io }, &Position::after(&floor)).await?;
            let Some(last) = batch.fresh.last().map(|entry| entry.id.clone()) else { return Ok(Vec::new()) };
            let mut listed = Vec::new();
            for entry in batch.fresh {
                let within = is_within(&entry.json, reach);
                if within && passed.as_ref().is_none_or(|position| position.passed(&entry.id)) {
                    listed.push(Listed { name: entry.id.clone(), raw: Some(self.poller.raw_of(entry, io).await?) });
                }
            }
            if !listed.is_empty() {
                return Ok(listed);
            }
            // A page of which nothing is meant says nothing about the next.
            floor = last;
        }
    }

    /// Listing gives every item whole.
    async fn read(&mut self, _: &StreamId, _: &[String], _: &Io) -> Result<Vec<Listed>, IntakeError> {
        Ok(Vec::new())
    }
}

/// By the notification's own time; one without a time is always meant.
fn is_within(notification: &[u8], reach: &Reach) -> bool {
    let doc = json::parse(notification).map(|doc| doc.value).unwrap_or_default();
    let Some(at) = json::text(&doc, "/created_at").and_then(Timestamp::parse) else { return true };
    reach.since.is_none_or(|since| at >= since) && reach.until.is_none_or(|until| at < until)
}
