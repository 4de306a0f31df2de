//! What a folder holds, by UIDVALIDITY and UID: for backfills and audits, over connections of their own.

use std::collections::HashMap;
use std::sync::Arc;

use connector_sdk::schemas::Event;
use connector_sdk::{History, IntakeError, Io, Listed, Reach, StreamId, Timestamp, async_trait};

use crate::batch::{Fetcher, Limits};
use crate::client::{Client, Folder};
use crate::fault::Fault;
use crate::folder::since_day;
use crate::id::{self, Mark, Position};
use crate::login::Account;
use crate::wire::{Content, Fetched, raw_event};

/// Names given at once.
const LIST_MAX: usize = 5000;
/// UIDs whose dates are asked for at once.
const STRETCH_MAILS: usize = 500;
/// A mail at which the connection breaks is given up after so many tries.
const ATTEMPTS: u32 = 3;

/// The instance's folders, when asked.
pub struct ImapHistory {
    account: Arc<Account>,
    /// Kept for the next question while it is about the same folder.
    open: Option<(StreamId, Client, Folder)>,
    /// Mails that were asked for alone and broke the connection.
    broken: HashMap<String, u32>,
}

impl ImapHistory {
    pub fn new(account: Arc<Account>) -> Self {
        Self { account, open: None, broken: HashMap::new() }
    }

    async fn open(&mut self, stream: &StreamId, io: &Io) -> Result<(Client, Folder), IntakeError> {
        if let Some((of, client, folder)) = self.open.take()
            && of == *stream
        {
            return Ok((client, folder));
        }
        let name = self.folder(stream)?;
        let mut client = self.account.connect(io, now()).await.map_err(Fault::into_intake)?;
        let folder = client.examine(name).await.map_err(Fault::into_intake)?;
        Ok((client, folder))
    }

    fn folder(&self, stream: &StreamId) -> Result<&str, IntakeError> {
        let folders = &self.account.settings.folders;
        let found = folders.iter().find(|folder| id::stream(folder) == *stream);
        found.map(String::as_str).ok_or_else(|| IntakeError::Broken(format!("folder {stream} is not configured")))
    }

    async fn uids(client: &mut Client, folder: Folder, reach: &Reach) -> Result<Vec<u32>, Fault> {
        let Some((above, up_to)) = bounds(folder.uidvalidity, reach)? else { return Ok(Vec::new()) };
        let mut criteria = match up_to {
            Some(up_to) => format!("UID {}:{up_to}", above.saturating_add(1)),
            None => format!("UID {}:*", above.saturating_add(1)),
        };
        if let Some(since) = reach.since {
            criteria = format!("{criteria} {}", since_day(since));
        }
        // `n:*` always holds the last mail, even one below n.
        let (mut found, _) = client.search(&criteria).await?;
        found.retain(|uid| *uid > above && up_to.is_none_or(|up_to| *uid <= up_to));
        if reach.since.is_none() && reach.until.is_none() {
            found.truncate(LIST_MAX);
            return Ok(found);
        }
        let mut within = Vec::new();
        for stretch in found.chunks(STRETCH_MAILS) {
            let received = client.received_at(stretch).await?;
            let is_within = |at: &Timestamp| {
                reach.since.is_none_or(|since| *at >= since) && reach.until.is_none_or(|until| *at < until)
            };
            within.extend(received.iter().filter(|(_, at)| is_within(at)).map(|(uid, _)| *uid));
            if within.len() >= LIST_MAX {
                break;
            }
        }
        Ok(within)
    }

    async fn fetch(&self, client: &mut Client, uids: &[u32]) -> Result<Vec<Fetched>, Fault> {
        let limits = Limits { max_mail_bytes: self.account.settings.max_mail_bytes, careful: uids.len() == 1 };
        let mut fetcher = Fetcher::start(client, uids, limits).await?;
        let mut mails = Vec::new();
        while let Some(fetch) = fetcher.next().await? {
            mails.extend(fetch.mails);
        }
        Ok(mails)
    }

    /// A single mail that breaks the connection again and again is given as unreadable.
    fn given_up(&mut self, names: &[String], uids: &[u32], fault: &Fault) -> Option<Fetched> {
        let ([name], [uid]) = (names, uids) else { return None };
        if !fault.may_be_the_mails() {
            return None;
        }
        let tries = self.broken.entry(name.clone()).or_default();
        *tries += 1;
        let reason = format!("this mail could not be read, also when tried again: {fault}");
        (*tries >= ATTEMPTS).then(|| Fetched { uid: *uid, internal_date: None, content: Content::Unreadable(reason) })
    }
}

#[async_trait]
impl History for ImapHistory {
    async fn streams(&mut self, _: &Io) -> Result<Vec<StreamId>, IntakeError> {
        Ok(self.account.settings.folders.iter().map(|folder| id::stream(folder)).collect())
    }

    async fn list(&mut self, stream: &StreamId, reach: &Reach, io: &Io) -> Result<Vec<Listed>, IntakeError> {
        let (mut client, folder) = self.open(stream, io).await?;
        let uids = Self::uids(&mut client, folder, reach).await.map_err(Fault::into_intake)?;
        self.open = Some((stream.clone(), client, folder));
        Ok(uids.into_iter().map(|uid| Listed { name: name(folder.uidvalidity, uid), raw: None }).collect())
    }

    async fn read(&mut self, stream: &StreamId, names: &[String], io: &Io) -> Result<Vec<Listed>, IntakeError> {
        let (mut client, folder) = self.open(stream, io).await?;
        let uids: Vec<u32> = names
            .iter()
            .filter_map(|name| parsed(name))
            .filter(|(uidvalidity, _)| *uidvalidity == folder.uidvalidity)
            .map(|(_, uid)| uid)
            .collect();
        let mails = match self.fetch(&mut client, &uids).await {
            Ok(mails) => {
                self.open = Some((stream.clone(), client, folder));
                mails
            }
            Err(fault) => match self.given_up(names, &uids, &fault) {
                Some(mail) => vec![mail],
                None => return Err(fault.into_intake()),
            },
        };
        let configured = self.folder(stream)?;
        let settings = &self.account.settings;
        let listed = mails.into_iter().map(|mail| {
            let name = name(folder.uidvalidity, mail.uid);
            let raw = raw_event(settings, configured, folder.uidvalidity, Some(Mark::Backfill), mail, now());
            Listed { name, raw: Some(raw) }
        });
        Ok(listed.collect())
    }

    fn name_of(&self, event: &Event) -> Option<(StreamId, String)> {
        let data = event.provider_data.as_ref()?.to_value();
        let source = data.get("source")?;
        let number = |key: &str| u32::try_from(source.get(key)?.as_u64()?).ok();
        let folder = source.get("folder")?.as_str()?;
        Some((id::stream(folder), name(number("uidvalidity")?, number("uid")?)))
    }
}

/// A connector has no clock but this one; received times are not part of any id.
fn now() -> Timestamp {
    jiff::Timestamp::now().into()
}

fn name(uidvalidity: u32, uid: u32) -> String {
    format!("{uidvalidity}/{uid}")
}

fn parsed(name: &str) -> Option<(u32, u32)> {
    let (uidvalidity, uid) = name.split_once('/')?;
    Some((uidvalidity.parse().ok()?, uid.parse().ok()?))
}

/// Above which UID, and up to which one; `None`: nothing is in reach.
fn bounds(uidvalidity: u32, reach: &Reach) -> Result<Option<(u32, Option<u32>)>, Fault> {
    let (mut above, mut up_to) = (0, None);
    if let Some(cursor) = &reach.passed_by {
        let position = Position::decode(cursor)?;
        if position.uidvalidity != uidvalidity {
            let (known, now) = (position.uidvalidity, uidvalidity);
            let text = format!("the folder has UIDVALIDITY {now}, the live intake has not begun to read it ({known})");
            return Err(IntakeError::CursorLost(text).into());
        }
        (above, up_to) = (position.from.unwrap_or(0), Some(position.uid));
    }
    let after = reach.after.as_deref().and_then(parsed);
    if let Some((of, uid)) = after
        && of == uidvalidity
    {
        above = above.max(uid);
    }
    Ok(up_to.is_none_or(|up_to| up_to > above).then_some((above, up_to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_position_bounds_an_audit() {
        let position = Position::before(7, 5, 5, Mark::Backfill).after(9);
        let passed_by = Some(position.encode().unwrap());
        let reach = Reach { passed_by: passed_by.clone(), ..Reach::default() };
        assert_eq!(bounds(7, &reach).unwrap(), Some((5, Some(9))));
        assert!(matches!(bounds(8, &reach), Err(Fault::Order(IntakeError::CursorLost(_)))));
        let after =
            |name: &str| Reach { after: Some(name.to_owned()), passed_by: passed_by.clone(), ..Reach::default() };
        assert_eq!(bounds(7, &after("7/8")).unwrap(), Some((8, Some(9))));
        assert_eq!(bounds(7, &after("7/9")).unwrap(), None);
        // UIDs of another UIDVALIDITY mean nothing.
        assert_eq!(bounds(7, &after("6/8")).unwrap(), Some((5, Some(9))));
    }
}
