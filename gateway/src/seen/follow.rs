//! Hears the other replicas: fills the index at the start, keeps it filled, and finds what a replica that was killed had
//! not told.
//!
//! A replica tells its ids up to half a second after their events are safe. What one that is killed has not told is among
//! the events: it is read there, from the moment up to which the replica had told everything. Also events of open and
//! aborted transactions are read: a killed process may have left one open, behind which nothing committed is visible for
//! seconds; an input of an aborted one is read again by its source, and the replay lane does not ask the index.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::message::{BorrowedMessage, Headers, Message};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::peers::Peers;
use super::state::Filling;
use super::{Seen, SeenId};
use crate::delivery::consumer::{ConsumeError, Isolation, Scan};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::record::TopicRole;

/// How long one look for a record takes when there is none.
const POLL: Duration = Duration::from_millis(100);
/// Clocks of brokers and replicas may differ by so much.
const CLOCKS: Duration = Duration::from_secs(5);
/// One's own batches are not older than this when they come back, or the index is behind: soon enough that a redelivery that
/// comes five seconds after its first copy was answered elsewhere does not meet an index that takes itself for complete.
const BEHIND: Duration = Duration::from_secs(3);
/// Pause after a failure: the topic may be missing still.
const RETRY: Duration = Duration::from_millis(500);
/// Longest look among the events.
const REPAIR_LIMIT: Duration = Duration::from_secs(60);

pub struct Follower {
    settings: KafkaSettings,
    seen: Arc<Seen>,
    peers: Peers,
    own: String,
    window: Duration,
    stop: CancellationToken,
}

impl Follower {
    pub fn new(
        settings: KafkaSettings,
        seen: Arc<Seen>,
        own: String,
        window: Duration,
        stop: CancellationToken,
    ) -> Self {
        Self { settings, seen, peers: Peers::new(own.clone()), own, window, stop }
    }

    /// Until it is stopped.
    pub fn run(mut self) {
        let mut told = false;
        while !self.stop.is_cancelled() {
            let Err(error) = self.follow() else { return };
            self.seen.failed(&error);
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(%error, "ids of other replicas cannot be read yet; redeliveries are recognised by this replica's own");
            }
            std::thread::sleep(RETRY);
        }
    }

    fn follow(&mut self) -> Result<(), ConsumeError> {
        let since = crate::clock::now().minus(self.window).unix_millis();
        let mut scan = Scan::open(&self.settings, TopicRole::Seen, Some(since), Isolation::Committed)?.whole();
        self.catch_up(&mut scan)?;
        let filled = Instant::now();
        tracing::debug!(status = ?self.seen.status(), "seen index is filled");
        while !self.stop.is_cancelled() {
            if let Some(message) = scan.poll(POLL)? {
                self.hear(&message);
            }
            self.judge(&mut scan, filled)?;
        }
        Ok(())
    }

    /// Reads all that the others have told by now, and what those who may be gone have not told.
    fn catch_up(&mut self, scan: &mut Scan) -> Result<(), ConsumeError> {
        self.hear_until(scan, |_, scan| scan.at_end())?;
        // Who of these is alive is not known yet; for those who are there is little to read.
        let open = self.peers.open();
        self.repair(&open)?;
        // What was told meanwhile.
        scan.extend()?;
        self.hear_until(scan, |_, scan| scan.at_end())?;
        // Nothing is published before the others know from where on to look for it, if this one is killed.
        self.hear_until(scan, |peers, _| peers.own_heard().is_some())?;
        if !self.stop.is_cancelled() {
            self.seen.state.fresh_until(Instant::now() + BEHIND);
            self.seen.state.set(Filling::Filled, None);
        }
        Ok(())
    }

    fn hear_until(&mut self, scan: &mut Scan, done: impl Fn(&Peers, &Scan) -> bool) -> Result<(), ConsumeError> {
        while !done(&self.peers, scan) && !self.stop.is_cancelled() {
            if let Some(message) = scan.poll(POLL)? {
                self.hear(&message);
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: &BorrowedMessage<'_>) {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.filter_map(|header| Some((header.key, header.value?)));
        let read = Batch::read(message.key().unwrap_or_default(), headers, message.payload().unwrap_or_default());
        let Some(batch) = read else {
            tracing::warn!(offset = message.offset(), "a record on the seen topic is not Inlet's; passed over");
            return;
        };
        // Others count from when they are heard: what waits unread is no silence.
        let dated = batch.replica == self.own || batch.end.is_some();
        self.peers.hear(&batch, if dated { sent(message) } else { Instant::now() });
        if batch.replica != self.own {
            self.seen.learn(batch.ids, false);
        }
    }

    /// Looks after those who fell silent, and whether it hears anything at all.
    fn judge(&mut self, scan: &mut Scan, filled: Instant) -> Result<(), ConsumeError> {
        let heard = self.peers.own_heard().unwrap_or(filled);
        let hears = heard.elapsed() < BEHIND;
        self.seen.state.fresh_until(heard + BEHIND);
        if !hears {
            self.seen.state.set(Filling::Behind, Some("nothing comes from Kafka".to_owned()));
        } else if self.seen.state.now() != Filling::Filled {
            // Others may have told much meanwhile, or be gone.
            let caught_up = scan.extend().and_then(|()| self.catch_up(scan));
            if let Err(error) = caught_up {
                // Leaders move while Kafka comes back. What was read stays read: no reason to begin anew.
                self.seen.state.set(Filling::Behind, Some(error.to_string()));
                std::thread::sleep(RETRY);
                return Ok(());
            }
        }
        let mut silent = self.peers.silent();
        // Kafka did not take this one's own batches for a while, but takes them again: nothing is missing here.
        silent.retain(|(replica, _)| *replica != self.own);
        if silent.is_empty() {
            return Ok(());
        }
        self.repair(&silent)?;
        let Some(mut outbox) = self.seen.outbox() else { return Ok(()) };
        for (replica, watermark) in silent {
            tracing::info!(replica, "a replica ended without a goodbye; its last ids were found among the events");
            self.peers.close(&replica);
            self.seen.metrics.repairs.inc();
            outbox.repaired.push((replica, watermark));
        }
        Ok(())
    }

    /// Finds what these have not told, among the events from their watermarks on, and tells it.
    fn repair(&self, open: &[(String, i64)]) -> Result<(), ConsumeError> {
        let Some(watermark) = open.iter().map(|(_, watermark)| *watermark).min() else { return Ok(()) };
        let oldest = crate::clock::now().minus(self.window).unix_millis();
        let since = watermark.saturating_sub(CLOCKS.as_millis() as i64).max(oldest);
        let began = Instant::now();
        let mut scan = Scan::open(&self.settings, TopicRole::Events, Some(since), Isolation::Uncommitted)?.whole();
        let mut found = 0;
        while !scan.at_end() && !self.stop.is_cancelled() {
            if began.elapsed() > REPAIR_LIMIT {
                tracing::warn!(found, limit = ?REPAIR_LIMIT, "not all events since a replica was last heard could be looked at; redeliveries of the others are published again");
                break;
            }
            if let Some(message) = scan.poll(POLL)?
                && let Some(id) = event_id(&message)
            {
                found += 1;
                self.seen.learn([id], true);
            }
        }
        tracing::debug!(replicas = open.len(), found, took = ?began.elapsed(), "looked among the events");
        Ok(())
    }
}

fn event_id(message: &BorrowedMessage<'_>) -> Option<SeenId> {
    let headers = message.headers()?;
    let id = headers.iter().find(|header| header.key == "ce_id")?.value?;
    SeenId::parse(std::str::from_utf8(id).ok()?)
}

/// When a record was sent. One's own that waited long somewhere brings no news.
fn sent(message: &BorrowedMessage<'_>) -> Instant {
    let now = Instant::now();
    let age = message.timestamp().to_millis().map_or(0, |sent| crate::clock::now().unix_millis() - sent);
    now.checked_sub(Duration::from_millis(age.max(0).unsigned_abs())).unwrap_or(now)
}
