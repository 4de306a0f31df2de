//! The one thread that writes: many inputs a commit, an answer only after the fsync.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::SpoolError;
use super::figures::Figures;
use super::gate::Gate;
use super::lane::Sent;
use super::packed::Packed;
use super::quarantine::Report;
use super::store::{Store, Summary};
use super::{Reader, SpoolSettings};
use crate::clock::now;
use crate::delivery::Receipt;

/// Memory of what waits for its commit.
const WAITING_KIB: usize = 32 << 10;
/// What one commit takes at most.
const GROUP_INPUTS: usize = 1024;
const GROUP_BYTES: u64 = 8 << 20;
/// How often a disk that failed is tried.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A spool of this process. Clones are the same one.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    settings: SpoolSettings,
    figures: Figures,
    gate: Gate,
    commands: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    room: Arc<Semaphore>,
    /// First sends of entries that Kafka may still confirm.
    firsts: Mutex<HashMap<i64, Sent>>,
    /// What an earlier process left, by instance.
    found: Summary,
}

enum Command {
    Append {
        entries: Vec<Packed>,
        firsts: Vec<Sent>,
        answer: oneshot::Sender<Result<Receipt, SpoolError>>,
        _room: OwnedSemaphorePermit,
    },
    RemoveThrough {
        id: i64,
        entries: u64,
        bytes: u64,
    },
    /// A damaged entry.
    SetAside {
        id: i64,
        bytes: u64,
        reason: String,
    },
    /// Look through the whole database: it seems to be damaged.
    Recheck,
    Close,
}

impl Spool {
    /// Opens the spool and starts its thread. What an earlier process left is there again.
    pub fn open(settings: SpoolSettings) -> Result<Self, SpoolError> {
        let (store, report) = Store::open(&settings.dir)?;
        let found = store.summary()?;
        let figures = Figures::new(&settings);
        let (commands, queue) = channel();
        let shared = Arc::new(Shared {
            figures,
            gate: Gate::default(),
            commands: Mutex::new(Some(commands)),
            thread: Mutex::new(None),
            room: Arc::new(Semaphore::new(WAITING_KIB)),
            firsts: Mutex::default(),
            found,
            settings,
        });
        let spool = Self(shared);
        spool.take_stock(&spool.0.found);
        if let Some(report) = report {
            spool.report(&report);
        }
        spool.0.gate.committed(spool.0.found.entries, spool.0.found.last_id);
        let writer = Writer { spool: spool.clone(), store: Some(store), tried: Instant::now() };
        let thread = std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(&queue));
        let thread = thread.map_err(|error| SpoolError::io(&spool.0.settings.dir, &error))?;
        *lock(&spool.0.thread) = Some(thread);
        Ok(spool)
    }

    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    pub fn settings(&self) -> &SpoolSettings {
        &self.0.settings
    }

    /// What an earlier process left, as it was found.
    pub fn found(&self) -> &Summary {
        &self.0.found
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(super) fn reader(&self) -> Result<Reader, SpoolError> {
        Reader::open(&self.0.settings.dir)
    }

    /// Writes inputs, in their order, and waits for the fsync. `firsts`: sends of the same inputs, one each or none at all,
    /// that may still be confirmed.
    pub(super) async fn append(&self, entries: Vec<Packed>, firsts: Vec<Sent>) -> Result<Receipt, SpoolError> {
        let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
        if !self.has_room(bytes) {
            return Err(self.full(entries.len()));
        }
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB as u32);
        let room = self.0.room.clone().acquire_many_owned(kib).await.map_err(|_| SpoolError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.command(Command::Append { entries, firsts, answer, _room: room })?;
        answered.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Forgets entries that Kafka has: all up to this id.
    pub(super) fn remove_through(&self, id: i64, entries: u64, bytes: u64) {
        let _ = self.command(Command::RemoveThrough { id, entries, bytes });
    }

    /// Keeps a damaged entry out of the way.
    pub(super) fn set_aside(&self, id: i64, bytes: u64, reason: String) {
        let _ = self.command(Command::SetAside { id, bytes, reason });
    }

    /// Reading failed: the writer looks at the database.
    pub(super) fn recheck(&self) {
        let _ = self.command(Command::Recheck);
    }

    /// The first send of an entry, for whoever takes care of it from now on.
    pub(super) fn take_first(&self, id: i64) -> Option<Sent> {
        lock(&self.0.firsts).remove(&id)
    }

    /// Ends the thread when it has done what it was asked.
    pub async fn close(&self) {
        let _ = self.command(Command::Close);
        *lock(&self.0.commands) = None;
        let thread = lock(&self.0.thread).take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn command(&self, command: Command) -> Result<(), SpoolError> {
        let commands = lock(&self.0.commands);
        let sender = commands.as_ref().ok_or(SpoolError::Closed)?;
        sender.send(command).map_err(|_| SpoolError::Closed)
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.0.figures.bytes.load(Ordering::Relaxed) + bytes <= self.0.settings.max_bytes
    }

    fn full(&self, inputs: usize) -> SpoolError {
        let figures = &self.0.figures;
        figures.refused_full.fetch_add(inputs as u64, Ordering::Relaxed);
        // What does not even fit into an empty one says nothing about the others.
        if figures.entries.load(Ordering::Relaxed) > 0 && !figures.turning_away.swap(true, Ordering::Relaxed) {
            tracing::error!("the spool is full; input is refused until Kafka takes some of it");
        }
        SpoolError::Full { bytes: figures.bytes.load(Ordering::Relaxed), max_bytes: self.0.settings.max_bytes }
    }

    fn take_stock(&self, summary: &Summary) {
        let figures = &self.0.figures;
        figures.entries.store(summary.entries, Ordering::Relaxed);
        figures.bytes.store(summary.bytes, Ordering::Relaxed);
        figures.damaged.store(summary.damaged, Ordering::Relaxed);
        figures.oldest_ms.store(summary.oldest_ms.unwrap_or(0), Ordering::Relaxed);
    }

    fn report(&self, report: &Report) {
        self.0.figures.quarantined.fetch_add(1, Ordering::Relaxed);
        *lock(&self.0.figures.reason) = Some(format!("{}; kept in {}", report.reason, report.kept.display()));
        tracing::error!(
            reason = %report.reason,
            kept = %report.kept.display(),
            salvaged = report.salvaged,
            unreadable = report.unreadable,
            "the spool was damaged: its files are kept aside, what can be read goes on, the rest needs people"
        );
    }
}

struct Writer {
    spool: Spool,
    /// None: it could not be opened again.
    store: Option<Store>,
    tried: Instant,
}

type Answers = Vec<(oneshot::Sender<Result<Receipt, SpoolError>>, Receipt)>;

impl Writer {
    fn run(mut self, queue: &Receiver<Command>) {
        let mut next = None;
        loop {
            let command = match next.take() {
                Some(command) => command,
                None => match queue.recv_timeout(PROBE_INTERVAL) {
                    Ok(command) => command,
                    Err(RecvTimeoutError::Timeout) => {
                        self.idle();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                },
            };
            match command {
                Command::Append { .. } => next = self.append(command, queue),
                Command::RemoveThrough { id, entries, bytes } => self.remove_through(id, entries, bytes),
                Command::SetAside { id, bytes, reason } => self.set_aside(id, bytes, &reason),
                Command::Recheck => self.reopen(),
                Command::Close => break,
            }
        }
        if let Some(mut store) = self.store.take()
            && let Err(error) = store.shrink()
        {
            tracing::warn!(%error, "the spool's log stays beside it");
        }
    }

    /// Commits this and whatever else waits already. Gives back a command of another kind that came in between.
    fn append(&mut self, first: Command, queue: &Receiver<Command>) -> Option<Command> {
        let (mut entries, mut firsts, mut answers, mut rooms) = (Vec::new(), Vec::new(), Answers::new(), Vec::new());
        let mut bytes = 0;
        let mut other = None;
        let mut command = Some(first);
        while let Some(next) = command.take().or_else(|| queue.try_recv().ok()) {
            let Command::Append { entries: own, firsts: sent, answer, _room } = next else {
                other = Some(next);
                break;
            };
            let own_bytes: u64 = own.iter().map(|entry| entry.bytes).sum();
            if !self.spool.has_room(bytes + own_bytes) {
                let _ = answer.send(Err(self.spool.full(own.len())));
                continue;
            }
            bytes += own_bytes;
            let mut sent = sent.into_iter();
            firsts.extend(own.iter().map(|_| sent.next()));
            answers.push((answer, Receipt::new(own.iter().filter_map(|entry| entry.counters.clone()).collect())));
            entries.extend(own);
            rooms.push(_room);
            if entries.len() >= GROUP_INPUTS || bytes >= GROUP_BYTES {
                break;
            }
        }
        if !entries.is_empty() {
            self.commit(&entries, firsts, bytes, answers);
        }
        other
    }

    fn commit(&mut self, entries: &[Packed], firsts: Vec<Option<Sent>>, bytes: u64, answers: Answers) {
        let written = self.open_store().and_then(|store| store.append(entries));
        match written {
            Ok(first_id) => {
                let count = entries.len() as u64;
                let figures = self.spool.figures();
                if figures.entries.fetch_add(count, Ordering::Relaxed) == 0 {
                    figures.oldest_ms.store(entries[0].row.accepted_ms, Ordering::Relaxed);
                }
                figures.bytes.fetch_add(bytes, Ordering::Relaxed);
                figures.spooled.fetch_add(count, Ordering::Relaxed);
                figures.worked();
                {
                    let mut known = lock(&self.spool.0.firsts);
                    known.extend((first_id..).zip(firsts).filter_map(|(id, sent)| Some((id, sent?))));
                }
                // Before the answers: what comes after one of them goes behind these.
                self.spool.gate().committed(count, first_id + entries.len() as i64 - 1);
                for (answer, receipt) in answers {
                    let _ = answer.send(Ok(receipt));
                }
            }
            Err(error) => {
                // Before the answers: who hears one finds the figures true.
                self.failed(&error);
                for (answer, receipt) in answers {
                    // Nothing of it is in the spool.
                    receipt.claim();
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn remove_through(&mut self, id: i64, entries: u64, bytes: u64) {
        let Some(store) = &mut self.store else { return };
        match store.remove_through(id).and_then(|()| store.oldest_ms()) {
            Ok(oldest) => {
                self.removed(entries, bytes, oldest);
                self.spool.figures().worked();
            }
            // They stay, and go with the next removal; a restart would send them again.
            Err(error) => self.failed(&error),
        }
    }

    fn set_aside(&mut self, id: i64, bytes: u64, reason: &str) {
        let Some(store) = &mut self.store else { return };
        self.spool.figures().damaged.fetch_add(1, Ordering::Relaxed);
        match store.set_aside(id, reason, now().unix_millis()).and_then(|()| store.oldest_ms()) {
            Ok(oldest) => self.removed(1, bytes, oldest),
            Err(error) => self.failed(&error),
        }
    }

    fn removed(&mut self, entries: u64, bytes: u64, oldest: Option<i64>) {
        let figures = self.spool.figures();
        let less = |figure: &std::sync::atomic::AtomicU64, by: u64| {
            let _ = figure.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(by)));
        };
        if figures.turning_away.swap(false, Ordering::Relaxed) {
            tracing::info!("the spool has room again");
        }
        less(&figures.entries, entries);
        less(&figures.bytes, bytes);
        figures.oldest_ms.store(oldest.unwrap_or(0), Ordering::Relaxed);
        if oldest.is_none() {
            // Estimates of sizes do not add up over the years.
            figures.entries.store(0, Ordering::Relaxed);
            figures.bytes.store(0, Ordering::Relaxed);
        }
    }

    /// The database, unless it failed a moment ago: then nobody has to wait for a disk that hangs.
    fn open_store(&mut self) -> Result<&mut Store, SpoolError> {
        let figures = self.spool.figures();
        let failing = !figures.writable.load(Ordering::Relaxed) && self.tried.elapsed() < PROBE_INTERVAL;
        match &mut self.store {
            Some(store) if !failing => Ok(store),
            _ => Err(figures.last_failure(&self.spool.settings().dir)),
        }
    }

    /// SQLite has rolled the statement back. Damage is looked after at once, all else may pass.
    fn failed(&mut self, error: &SpoolError) {
        self.spool.figures().failed(error.to_string());
        self.tried = Instant::now();
        if matches!(error, SpoolError::Corrupt { .. }) {
            self.reopen();
        }
    }

    fn reopen(&mut self) {
        let dir = self.spool.settings().dir.clone();
        let opened = match self.store.take() {
            Some(store) => store.reopen(),
            None => Store::open(&dir),
        };
        match opened {
            Ok((mut store, report)) => {
                match store.summary() {
                    Ok(summary) => self.spool.take_stock(&summary),
                    Err(error) => self.spool.figures().failed(error.to_string()),
                }
                if let Some(report) = report {
                    self.spool.report(&report);
                }
                match store.probe() {
                    Ok(()) => self.spool.figures().worked(),
                    Err(error) => self.spool.figures().failed(error.to_string()),
                }
                self.store = Some(store);
            }
            Err(error) => self.spool.figures().failed(error.to_string()),
        }
    }

    /// Nothing to do: time to look whether a disk that failed works again, and to give back space.
    fn idle(&mut self) {
        let figures = self.spool.figures();
        if !figures.writable.load(Ordering::Relaxed) {
            if self.tried.elapsed() >= PROBE_INTERVAL {
                self.revive();
            }
        } else if figures.entries.load(Ordering::Relaxed) == 0
            && let Some(store) = &mut self.store
            && store.has_rest()
            && let Err(error) = store.shrink()
        {
            tracing::debug!(%error, "the spool's space is not given back yet");
        }
    }

    fn revive(&mut self) {
        self.tried = Instant::now();
        match self.store.as_mut().map(Store::probe) {
            Some(Ok(())) => self.spool.figures().worked(),
            Some(Err(error)) => self.failed(&error),
            None => self.reopen(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a directory has a spool.
pub fn exists(dir: &Path) -> bool {
    dir.join(super::DATABASE).exists()
}
