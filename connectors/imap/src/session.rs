//! The session: every folder over a connection of its own, side by side; one that fails does not stop the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_sdk::{IntakeError, Session, SessionCx, async_trait};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::folder::{End, Follower, Trouble};
use crate::login::Account;

/// First pause before a folder is taken up again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A folder that cannot be opened is looked for again after so many poll intervals.
const UNUSABLE_POLLS: u32 = 5;
/// An operator is told of a lost connection when it could not be had again at once.
const QUIET_FAILURES: u32 = 1;

/// A mailbox over IMAP.
pub struct ImapSession {
    account: Arc<Account>,
    /// By folder, as configured.
    troubles: Vec<Trouble>,
}

impl ImapSession {
    pub fn new(account: Arc<Account>) -> Self {
        let troubles = account.settings.folders.iter().map(|_| Trouble::default()).collect();
        Self { account, troubles }
    }
}

#[async_trait]
impl Session for ImapSession {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        let account = &*self.account;
        let board = Board::new(account.settings.folders.len());
        let folders = account.settings.folders.iter().zip(&mut self.troubles).enumerate();
        let mut running: FuturesUnordered<_> = folders
            .map(|(index, (folder, trouble))| {
                keep(Follower::new(account, &cx, folder, trouble), account.settings.poll, &board, index)
            })
            .collect();
        tokio::select! {
            () = cx.stopping().cancelled() => Ok(()),
            ended = running.next() => Err(ended.unwrap_or_else(|| IntakeError::Broken("no folder is configured".to_owned()))),
        }
    }
}

/// Follows a folder over as many connections as it takes. Returns what the whole session ends with: an error that
/// concerns all folders, or the last error when none of them can be read.
async fn keep(mut follower: Follower<'_>, poll: Duration, board: &Board, index: usize) -> IntakeError {
    let failures = AtomicUsize::new(0);
    loop {
        let opened = || {
            failures.store(0, Ordering::Relaxed);
            board.up(index);
        };
        let end = follower.follow(opened).await;
        let failed = failures.fetch_add(1, Ordering::Relaxed) as u32;
        let (error, pause, tell) = match end {
            End::Session(error) => return error,
            End::Unusable(reason) => (IntakeError::Broken(reason), poll * UNUSABLE_POLLS, true),
            End::Again(fault) => {
                let error = fault.into_intake();
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(failed.min(10))).min(LONGEST_PAUSE);
                let pause = match &error {
                    IntakeError::Retry { after: Some(after), .. } => pause.max(*after),
                    _ => pause,
                };
                (error, pause, failed >= QUIET_FAILURES)
            }
        };
        tracing::debug!(stream = %follower.stream, %error, "folder is taken up again");
        if board.all_down(index) {
            return error;
        }
        if tell {
            follower.report(&error.to_string()).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Which folders are being read.
struct Board(Mutex<Vec<bool>>);

impl Board {
    fn new(folders: usize) -> Self {
        // Until it has failed a folder counts as read.
        Self(Mutex::new(vec![true; folders]))
    }

    fn up(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index] = true;
    }

    /// Marks a folder as failed; true where all are.
    fn all_down(&self, index: usize) -> bool {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        folders[index] = false;
        folders.iter().all(|up| !up)
    }
}
