//! One folder: where reading begins, reading it up, waiting for more.

use std::future::pending;
use std::time::Duration;

use connector_sdk::{IntakeError, SessionCx, Start, StreamId, Ticket};
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};

use crate::batch::{Fetcher, Limits};
use crate::client::{Client, Folder};
use crate::fault::Fault;
use crate::id::{self, Mark, Position};
use crate::login::Account;
use crate::wait::{self, Woken};
use crate::wire::{Content, Fetched, raw_event};

/// UIDs whose sizes are asked for at once.
const STRETCH_MAILS: usize = 500;
/// Inputs that may wait for their outcome before reading pauses; the driver's queue is the tighter limit.
const MAX_IN_FLIGHT: usize = 4096;
/// A mail whose answer cannot be understood is given up after so many tries.
const GARBLED_ATTEMPTS: u32 = 2;
/// A mail at which the connection breaks is given up after so many tries in a row.
const LOST_ATTEMPTS: u32 = 5;
/// Mails behind a bad one of which one is asked for to see whether the server gives any.
const OTHERS: usize = 16;
/// Folder names shown where the configured one is missing.
const SHOWN_FOLDERS: usize = 20;

/// Why following a folder ended.
#[derive(Debug)]
pub enum End {
    /// This connection is over; the folder can be taken up again where it was left.
    Again(Fault),
    /// The folder cannot be read; others may go on.
    Unusable(String),
    /// The instance as a whole cannot go on.
    Session(IntakeError),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Order(order @ (IntakeError::Unauthorised(_) | IntakeError::Broken(_))) => Self::Session(order),
            fault => Self::Again(fault),
        }
    }
}

impl From<IntakeError> for End {
    fn from(error: IntakeError) -> Self {
        Self::Session(error)
    }
}

/// Mails at which a connection broke; outlives connections.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Mails up to this UID are fetched one by one.
    careful_until: u32,
    suspect: u32,
    garbled: u32,
    lost: u32,
    /// The last mail that was read.
    good: Option<u32>,
    /// Other mails that were asked for to see whether the server gives any.
    asked: usize,
    /// On this connection it gave one.
    proven: bool,
}

impl Trouble {
    /// Whether all attempts at this mail have failed.
    fn is_given_up(&self, uid: u32) -> bool {
        self.suspect == uid && (self.garbled >= GARBLED_ATTEMPTS || self.lost >= LOST_ATTEMPTS)
    }
}

/// Follows one folder; keeps its place over reconnections.
pub struct Follower<'a> {
    account: &'a Account,
    cx: &'a SessionCx,
    folder: &'a str,
    pub stream: StreamId,
    /// After the last mail handed on; ahead of the committed cursor while mails are in flight.
    position: Option<Position>,
    tickets: FuturesOrdered<futures::future::BoxFuture<'static, connector_sdk::Outcome>>,
    trouble: &'a mut Trouble,
    /// An operator was told something about this folder that is to be cleared.
    pub reported: bool,
}

impl<'a> Follower<'a> {
    pub fn new(account: &'a Account, cx: &'a SessionCx, folder: &'a str, trouble: &'a mut Trouble) -> Self {
        let tickets = FuturesOrdered::new();
        Self { account, cx, folder, stream: id::stream(folder), position: None, tickets, trouble, reported: false }
    }

    /// Follows the folder over one connection; ends with a reason. `on_open` is told when the folder is open.
    pub async fn follow(&mut self, on_open: impl Fn()) -> End {
        match self.connection(on_open).await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn connection(&mut self, on_open: impl Fn()) -> Result<std::convert::Infallible, End> {
        let settings = self.account.settings.clone();
        let mut client = self.account.connect(self.cx.io(), self.cx.now()).await?;
        let folder = self.open(&mut client).await?;
        self.place(&mut client, folder).await?;
        self.trouble.proven = false;
        self.cx.connected().await;
        on_open();
        let can_idle = settings.idle && client.has("IDLE");
        loop {
            self.read_up(&mut client).await?;
            self.clear().await;
            let waiting = async {
                if can_idle {
                    wait::idle(&mut client, settings.idle_renew).await
                } else {
                    wait::poll(&mut client, settings.poll).await
                }
            };
            let woken = tokio::select! {
                biased;
                end = not_safe(&mut self.tickets) => return Err(end),
                woken = waiting => woken?,
            };
            if woken == Woken::Renumbered {
                return Err(End::Again(Fault::Lost("UIDVALIDITY changed while the folder was open".to_owned())));
            }
        }
    }

    async fn open(&mut self, client: &mut Client) -> Result<Folder, End> {
        match client.examine(self.folder).await {
            Ok(folder) if folder.uidvalidity == 0 => Err(End::Unusable(
                "the server names no UIDVALIDITY: positions in this folder cannot be kept".to_owned(),
            )),
            Ok(folder) => Ok(folder),
            Err(fault @ Fault::No(_)) if !fault.is_passing() => {
                let there = client.folders(SHOWN_FOLDERS).await.unwrap_or_default();
                Err(End::Unusable(format!("cannot be opened: {fault}; the account has: {}", there.join(", "))))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Finds the place to read from: kept, committed, or new.
    async fn place(&mut self, client: &mut Client, folder: Folder) -> Result<(), End> {
        let known = match self.position {
            Some(position) => Some(position),
            None => match self.cx.cursor(&self.stream).await {
                Some(cursor) => Some(Position::decode(&cursor).map_err(|error| End::Unusable(error.to_string()))?),
                None => None,
            },
        };
        let last = match folder.uidnext {
            Some(next) => next.saturating_sub(1),
            // UIDNEXT may be missing: then the highest UID there is.
            None => client.search("UID 1:*").await?.0.last().copied().unwrap_or(0),
        };
        let position = match known {
            None => self.first(client, folder, last).await?,
            Some(known) if known.uidvalidity != folder.uidvalidity => {
                let reason = format!("UIDVALIDITY changed from {} to {}", known.uidvalidity, folder.uidvalidity);
                self.renumbered(&reason, folder, last).await?
            }
            // UIDs never go back within a UIDVALIDITY: the server was restored from a backup.
            Some(known) if folder.uidnext.is_some() && last < known.uid => {
                let reason = format!("UIDNEXT went back to {} below {}", last.saturating_add(1), known.uid);
                self.renumbered(&reason, folder, last).await?
            }
            Some(known) => known,
        };
        self.position = Some(position);
        Ok(())
    }

    /// The first position of a folder that has none, as `start` says; stored before anything is read.
    async fn first(&mut self, client: &mut Client, folder: Folder, last: u32) -> Result<Position, End> {
        let before = match self.cx.start() {
            Start::Now => last,
            Start::Beginning => 0,
            Start::Since(at) => first_since(client, *at).await?.map_or(last, |uid| uid.saturating_sub(1)),
        };
        let position = Position::before(folder.uidvalidity, before, last, Mark::Backfill);
        self.cx.store_cursor(&self.stream, position.encode()?).await?;
        Ok(position)
    }

    /// Old UIDs mean nothing any more: the folder is read again; mails keep their ids, and what comes is marked.
    async fn renumbered(&mut self, reason: &str, folder: Folder, last: u32) -> Result<Position, End> {
        *self.trouble = Trouble::default();
        let position = Position::before(folder.uidvalidity, 0, last, Mark::Resync);
        self.cx.store_cursor(&self.stream, position.encode()?).await?;
        self.report(&format!("{reason}: reading the folder again, mails keep their ids")).await;
        Ok(position)
    }

    /// Hands on every mail after the position.
    async fn read_up(&mut self, client: &mut Client) -> Result<(), End> {
        let mut seen_exists = None;
        loop {
            let Some(position) = self.position else { return Ok(()) };
            // `n:*` always holds the last mail, even one below n.
            let (mut uids, exists) = client.search(&format!("UID {}:*", position.uid.saturating_add(1))).await?;
            uids.retain(|uid| *uid > position.uid);
            if uids.is_empty() {
                // A mail that came in during the search itself is not announced again.
                if exists.is_none() || exists == seen_exists {
                    self.cx.lag(&self.stream, 0).await;
                    return Ok(());
                }
                seen_exists = exists;
                continue;
            }
            self.cx.lag(&self.stream, uids.len() as u64).await;
            let mut rest = uids.as_slice();
            while let Some(first) = rest.first() {
                let careful = *first <= self.trouble.careful_until;
                let length = if careful { 1 } else { rest.len().min(STRETCH_MAILS) };
                let (stretch, later) = rest.split_at(length);
                if self.trouble.is_given_up(*first) {
                    self.prove(client, *first, later).await?;
                }
                self.stretch(client, stretch, careful).await?;
                self.cx.lag(&self.stream, later.len() as u64).await;
                rest = later;
            }
        }
    }

    /// A server that gives no other mail either is at fault itself (its disk, its store): a mail is only given up, after one
    /// more attempt, on a connection that gave another. Without any other it is asked for on and on; it holds up none.
    async fn prove(&mut self, client: &mut Client, uid: u32, later: &[u32]) -> Result<(), End> {
        let trouble = &mut *self.trouble;
        let others: Vec<u32> = trouble.good.iter().chain(later.iter().take(OTHERS)).copied().collect();
        // Another one with each connection: one may be as bad, or gone.
        let other = others.get(trouble.asked % others.len().max(1));
        trouble.asked += 1;
        trouble.proven = match other {
            Some(other) => client.gives(*other).await?,
            None => false,
        };
        if trouble.proven || other.is_none() { Ok(()) } else { Err(Fault::Withheld(uid).into()) }
    }

    async fn stretch(&mut self, client: &mut Client, uids: &[u32], careful: bool) -> Result<(), End> {
        let limits = Limits { max_mail_bytes: self.account.settings.max_mail_bytes, careful };
        let mut fetcher = match Fetcher::start(client, uids, limits).await {
            Ok(fetcher) => fetcher,
            Err(fault) => return self.blame((uids[0], uids[uids.len() - 1]), fault).await,
        };
        loop {
            let next = fetcher.next_uids();
            match fetcher.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(fetch)) => {
                    self.hand_on(fetch.mails).await?;
                    // Past what is listed but gone too; else the same search would find it for ever.
                    self.position = self.position.map(|position| position.after(position.uid.max(fetch.last_uid)));
                }
                Err(fault) => return self.blame(next.unwrap_or((uids[0], uids[0])), fault).await,
            }
        }
    }

    /// Remembers at which mails the connection broke or the server failed. A single one at which that happens again and again
    /// is handed on as unreadable, so that it costs itself and not the folder.
    async fn blame(&mut self, range: (u32, u32), fault: Fault) -> Result<(), End> {
        let (first, last) = match fault {
            Fault::Withheld(uid) => (uid, uid),
            _ => range,
        };
        tracing::debug!(stream = %self.stream, first, last, %fault, "mails could not be fetched; they are asked for again");
        let trouble = &mut *self.trouble;
        trouble.careful_until = trouble.careful_until.max(last);
        if first == last {
            if trouble.suspect != first {
                (trouble.suspect, trouble.garbled, trouble.lost) = (first, 0, 0);
            }
            match fault {
                Fault::Garbled => trouble.garbled += 1,
                _ if fault.may_be_the_mails() => trouble.lost += 1,
                _ => {}
            }
            if trouble.is_given_up(first) && trouble.proven {
                tracing::warn!(stream = %self.stream, uid = first, %fault, "a mail is given up");
                let content =
                    Content::Unreadable(format!("this mail could not be read, also when tried again: {fault}"));
                self.hand_on(vec![Fetched { uid: first, internal_date: None, content }]).await?;
            }
        }
        Err(fault.into())
    }

    /// Submits mails in the order of their UIDs.
    async fn hand_on(&mut self, mails: Vec<Fetched>) -> Result<(), End> {
        for mail in mails {
            let Some(position) = self.position else { return Ok(()) };
            let uid = mail.uid;
            if matches!(mail.content, Content::Whole(_)) {
                self.trouble.good = Some(uid);
            }
            let after = position.after(uid);
            let mark = position.mark_of(uid);
            let settings = &self.account.settings;
            let raw = raw_event(settings, self.folder, position.uidvalidity, mark, mail, self.cx.now());
            let ticket: Ticket = self.cx.submit(&self.stream, raw, Some(after.encode()?)).await;
            self.position = Some(after);
            self.tickets.push_back(ticket.outcome().boxed());
        }
        while let Some(Some(outcome)) = self.tickets.next().now_or_never() {
            safe(&outcome)?;
        }
        while self.tickets.len() > MAX_IN_FLIGHT {
            if let Some(outcome) = self.tickets.next().await {
                safe(&outcome)?;
            }
        }
        Ok(())
    }

    pub async fn report(&mut self, reason: &str) {
        self.reported = true;
        self.cx.health(Some(&self.stream), reason).await;
    }

    async fn clear(&mut self) {
        if std::mem::take(&mut self.reported) {
            self.cx.health(Some(&self.stream), "").await;
        }
    }
}

/// Ends the session where an input was not taken: everything after it comes again from the committed cursor.
fn safe(outcome: &connector_sdk::Outcome) -> Result<(), End> {
    if outcome.is_safe() {
        return Ok(());
    }
    let after = match outcome {
        connector_sdk::Outcome::NotSafeNow { retry_after } => *retry_after,
        _ => Duration::from_secs(1),
    };
    let reason = "a mail could not be handed on; reading goes on from the committed cursor";
    Err(End::Session(IntakeError::retry_after(after, reason)))
}

async fn not_safe(tickets: &mut FuturesOrdered<futures::future::BoxFuture<'static, connector_sdk::Outcome>>) -> End {
    while let Some(outcome) = tickets.next().await {
        if let Err(end) = safe(&outcome) {
            return end;
        }
    }
    pending().await
}

/// SEARCH criterion that every mail from `at` on meets, whatever zone the server counts days in.
pub fn since_day(at: connector_sdk::Timestamp) -> String {
    const SLACK: Duration = Duration::from_hours(24);
    format!("SINCE {}", at.minus(SLACK).to_jiff().strftime("%-d-%b-%Y"))
}

/// The first mail that the store received at or after `at`. SEARCH SINCE knows days only, in the server's zone: from the
/// day before on, the exact times decide.
async fn first_since(client: &mut Client, at: connector_sdk::Timestamp) -> Result<Option<u32>, Fault> {
    let (found, _) = client.search(&since_day(at)).await?;
    for stretch in found.chunks(STRETCH_MAILS) {
        let received = client.received_at(stretch).await?;
        if let Some((uid, _)) = received.iter().find(|(_, received)| **received >= at) {
            return Ok(Some(*uid));
        }
    }
    Ok(None)
}
