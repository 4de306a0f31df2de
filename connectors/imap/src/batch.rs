//! Fetching many mails fast: batches of limited size, the next one asked for before the last one is in.

use std::collections::{BTreeMap, VecDeque};

use crate::client::{self, Answer, Attributes, Client};
use crate::fault::Fault;
use crate::wire::{Content, Fetched};

/// Mails of one FETCH.
const MAX_MAILS: usize = 50;
/// Bytes of one FETCH, unless a single mail is larger.
const MAX_BYTES: u64 = 4 << 20;
/// FETCH commands under way at once.
const DEPTH: usize = 2;
/// Servers are wrong about sizes (Exchange estimates): so much more than announced is read.
const SLACK_BYTES: u64 = 1 << 20;

/// Mails that are fetched together, ascending.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    uids: Vec<u32>,
    bytes: u64,
    /// Size of the one mail in it that is over the cap: only its headers are read.
    over_cap: Option<u64>,
}

/// How carefully to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_mail_bytes: u64,
    /// One mail at a time: something in this stretch broke the connection before.
    pub careful: bool,
}

/// What came of one batch.
#[derive(Debug)]
pub struct Fetch {
    /// Mails that are gone meanwhile are left out.
    pub mails: Vec<Fetched>,
    /// The last UID that was asked for, gone or not.
    pub last_uid: u32,
}

/// Fetches the mails of one stretch of UIDs, in order.
pub struct Fetcher<'c> {
    client: &'c mut Client,
    limits: Limits,
    waiting: VecDeque<Batch>,
    under_way: VecDeque<(String, Batch)>,
    arrived: BTreeMap<u32, Attributes>,
    /// Tags whose end was read while another's was waited for.
    ended: Vec<String>,
}

impl<'c> Fetcher<'c> {
    /// Asks for the sizes of these mails first, so that none over the cap is fetched whole.
    pub async fn start(client: &'c mut Client, uids: &[u32], limits: Limits) -> Result<Self, Fault> {
        let mut sizes = BTreeMap::new();
        let command = format!("UID FETCH {} (UID RFC822.SIZE)", set(uids));
        let asked = client
            .run(&command, |answer| {
                if let Answer::Fetch(found) = answer
                    && let (Some(uid), Some(size)) = (found.uid, found.size_bytes)
                {
                    sizes.insert(uid, size);
                }
            })
            .await;
        passing_over(asked)?;
        // A mail that names no size is fetched like a small one: the reading itself is limited too.
        let sizes: BTreeMap<u32, u64> = uids.iter().map(|uid| (*uid, sizes.get(uid).copied().unwrap_or(0))).collect();
        let waiting = plan(&sizes, limits);
        Ok(Self { client, limits, waiting, under_way: VecDeque::new(), arrived: BTreeMap::new(), ended: Vec::new() })
    }

    /// The UIDs that are next, for blaming one of them when the connection breaks.
    pub fn next_uids(&self) -> Option<(u32, u32)> {
        let batch = self.under_way.front().map(|(_, batch)| batch).or(self.waiting.front())?;
        Some((*batch.uids.first()?, *batch.uids.last()?))
    }

    /// The next batch; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Fetch>, Fault> {
        let depth = if self.limits.careful { 1 } else { DEPTH };
        while self.under_way.len() < depth {
            let Some(batch) = self.waiting.pop_front() else { break };
            let tag = self.ask(&batch).await?;
            self.under_way.push_back((tag, batch));
        }
        // It stays in `under_way` until its answer is in: `next_uids` names it when the connection breaks.
        let Some(tag) = self.under_way.front().map(|(tag, _)| tag.clone()) else { return Ok(None) };
        self.read(&tag).await?;
        let Some((_, batch)) = self.under_way.pop_front() else { return Ok(None) };
        let mut mails = Vec::with_capacity(batch.uids.len());
        for uid in &batch.uids {
            let found = self.arrived.remove(uid).unwrap_or_default();
            let mail = match found.body {
                Some(_) => Some(mail(*uid, found, batch.over_cap)),
                None => self.again(*uid, batch.over_cap).await?,
            };
            mails.extend(mail);
        }
        Ok(batch.uids.last().map(|last| Fetch { mails, last_uid: *last }))
    }

    async fn ask(&mut self, batch: &Batch) -> Result<String, Fault> {
        let section = if batch.over_cap.is_some() { "BODY.PEEK[HEADER]" } else { "BODY.PEEK[]" };
        let command = format!("UID FETCH {} (UID RFC822.SIZE INTERNALDATE {section})", set(&batch.uids));
        let expected = 2 * batch.bytes + self.limits.max_mail_bytes + SLACK_BYTES;
        self.client.send(&command, expected).await
    }

    /// Reads up to the end of a command. The ends of others under way that come before it are remembered.
    async fn read(&mut self, tag: &str) -> Result<(), Fault> {
        if let Some(at) = self.ended.iter().position(|ended| ended == tag) {
            self.ended.swap_remove(at);
            return Ok(());
        }
        let (arrived, ended) = (&mut self.arrived, &mut self.ended);
        let mut refused = Ok(());
        let done = self
            .client
            .finish(tag, |answer| match answer {
                Answer::Done { tag, status, text } => {
                    ended.push(tag);
                    refused = std::mem::replace(&mut refused, Ok(())).and(passing_over(client::done(status, text)));
                }
                answer => collect(arrived, answer),
            })
            .await;
        // NO: some mail of the set could not be given; which one shows in what has arrived.
        passing_over(done).and(refused)
    }

    /// Asks for one mail that did not come. `None`: it was removed meanwhile, as the server's own list says; that nothing
    /// came says nothing.
    async fn again(&mut self, uid: u32, over_cap: Option<u64>) -> Result<Option<Fetched>, Fault> {
        // Answers come in the order of the commands: what is under way is read on the way to this one's.
        let batch = Batch { uids: vec![uid], bytes: self.limits.max_mail_bytes, over_cap };
        let tag = self.ask(&batch).await?;
        self.read(&tag).await?;
        let found = self.arrived.remove(&uid).unwrap_or_default();
        if found.body.is_some() {
            return Ok(Some(mail(uid, found, over_cap)));
        }
        // Only this tells a session of what others removed.
        self.client.run("NOOP", |_| {}).await?;
        let (listed, _) = self.client.search(&format!("UID {uid}")).await?;
        if listed.contains(&uid) { Err(Fault::Withheld(uid)) } else { Ok(None) }
    }
}

/// NO about single mails is no reason to stop; one that asks to slow down is.
fn passing_over(done: Result<(), Fault>) -> Result<(), Fault> {
    match done {
        Err(fault @ Fault::No(_)) if !fault.is_passing() => Ok(()),
        done => done,
    }
}

/// Answers about one mail may be split over several lines; those without UID are of flags that others changed.
fn collect(arrived: &mut BTreeMap<u32, Attributes>, answer: Answer) {
    let Answer::Fetch(found) = answer else { return };
    let Some(uid) = found.uid else { return };
    let entry = arrived.entry(uid).or_default();
    entry.uid = Some(uid);
    entry.size_bytes = found.size_bytes.or(entry.size_bytes);
    entry.internal_date = found.internal_date.or(entry.internal_date);
    if found.body.is_some() {
        entry.body = found.body;
    }
}

fn mail(uid: u32, found: Attributes, over_cap: Option<u64>) -> Fetched {
    let body = found.body.unwrap_or_default();
    let content = match over_cap {
        Some(size_bytes) => Content::HeadersOf { size_bytes, headers: body },
        None => Content::Whole(body),
    };
    Fetched { uid, internal_date: found.internal_date, content }
}

fn plan(sizes: &BTreeMap<u32, u64>, limits: Limits) -> VecDeque<Batch> {
    let max_mails = if limits.careful { 1 } else { MAX_MAILS };
    let mut batches: VecDeque<Batch> = VecDeque::new();
    for (&uid, &size) in sizes {
        if size > limits.max_mail_bytes {
            batches.push_back(Batch { uids: vec![uid], bytes: 0, over_cap: Some(size) });
            continue;
        }
        match batches.back_mut() {
            Some(last) if last.over_cap.is_none() && last.uids.len() < max_mails && last.bytes + size <= MAX_BYTES => {
                last.uids.push(uid);
                last.bytes += size;
            }
            _ => batches.push_back(Batch { uids: vec![uid], bytes: size, over_cap: None }),
        }
    }
    batches
}

/// A sequence set; neighbours as a range.
pub fn set(uids: &[u32]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < uids.len() {
        let mut end = at;
        while uids.get(end + 1).is_some_and(|next| *next == uids[end].wrapping_add(1)) {
            end += 1;
        }
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&uids[at].to_string());
        if end > at {
            out.push_str(&format!(":{}", uids[end]));
        }
        at = end + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_mail_bytes: 10 << 20, careful: false };

    #[test]
    fn sets() {
        assert_eq!(set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(set(&[5]), "5");
        assert_eq!(set(&[]), "");
    }

    #[test]
    fn batches_are_limited_and_large_mails_stand_alone() {
        let small: BTreeMap<u32, u64> = (1..=120).map(|uid| (uid, 100)).collect();
        assert_eq!(plan(&small, LIMITS).iter().map(|b| b.uids.len()).collect::<Vec<_>>(), [50, 50, 20]);
        assert_eq!(plan(&small, Limits { careful: true, ..LIMITS }).len(), 120);
        let mixed = BTreeMap::from([(1, 100), (2, 3 << 20), (3, 2 << 20), (4, 11 << 20), (5, 1)]);
        let batches = plan(&mixed, LIMITS);
        assert_eq!(batches.iter().map(|b| b.uids.clone()).collect::<Vec<_>>(), [vec![1, 2], vec![3], vec![4], vec![5]]);
        assert_eq!(batches[2].over_cap, Some(11 << 20));
    }
}
