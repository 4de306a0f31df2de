//! What state each instance is in, for operators: `/api/status`, a metric, and a `connector.health` event on change.
//!
//! An instance has parts (its webhook, its poll, its upkeep, single streams), each with a state of its own; the instance
//! is as well as its worst part. Events go out one after the other and wait for Kafka where it is away.

mod board;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use connector_sdk::schemas::{Kind, Notice, Timestamp};
use connector_sdk::text::cut;
use connector_sdk::{Shape, StreamId};
use serde::Serialize;
use tokio::time::Instant;

use self::board::{Board, Part, Said};
use super::notices::Notices;
use super::push::PushLine;
use crate::pipeline::instance::Instance;

/// How often it is looked what has lasted or is over.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const LAG_ACTION: &str =
    "see whether the figure falls; if not, the source is slower than what it gets, or its log says what holds it up";
/// Reasons are for people; beyond this they are cut.
const REASON_MAX_BYTES: usize = 500;

/// State of an instance's intake on this replica, the worse the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Owned by another replica, or this one waits for ownership or for Kafka.
    Standby,
    /// Runs here, and has not heard of its source yet.
    Starting,
    /// Takes input.
    Running,
    /// Runs, but something is wrong that may pass.
    Degraded,
    /// Cannot run until somebody acts; tried again slowly.
    Stopped,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Stopped => "stopped",
        }
    }
}

/// One line of `/api/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    pub connector: String,
    pub state: State,
    pub reason: String,
    pub action: String,
    pub since: Timestamp,
    /// Every part that is not well, with the state of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
}

/// A part of an instance that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Its shape (`poll`, `fetch`), or the name of a stream.
    pub part: String,
    pub state: State,
    pub reason: String,
    pub action: String,
    pub since: Timestamp,
}

/// All instances' states.
#[derive(Clone)]
pub struct Health {
    boards: Arc<Mutex<Boards>>,
    notices: Notices,
}

type Boards = BTreeMap<String, (Arc<Instance>, Board)>;

impl Health {
    /// On the current runtime.
    pub fn new(push: PushLine) -> Self {
        let health = Self { boards: Arc::default(), notices: Notices::start(push) };
        tokio::spawn(look_again(Arc::downgrade(&health.boards), health.notices.clone()));
        health
    }

    pub fn all(&self) -> BTreeMap<String, InstanceStatus> {
        self.boards().iter().map(|(name, (_, board))| (name.clone(), board.shown.clone())).collect()
    }

    /// Where one part of an instance says how it is.
    pub fn of(&self, instance: &Arc<Instance>, shape: Shape) -> Reporter {
        Reporter { health: self.clone(), instance: instance.clone(), shape: shape.as_str() }
    }

    /// An instance that is no longer configured.
    pub fn remove(&self, instance: &str) {
        if let Some((instance, _)) = self.boards().remove(instance) {
            instance.counters.running(false);
            instance.counters.troubles(0);
        }
    }

    fn boards(&self) -> MutexGuard<'_, Boards> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a part says (or that it is gone), and publishes what is to be told of it.
    fn change(&self, instance: &Arc<Instance>, change: impl FnOnce(&mut Board)) {
        let now = crate::clock::now();
        let mut boards = self.boards();
        let new = || (instance.clone(), Board::new(instance.connector, now));
        let (known, board) = boards.entry(instance.name.clone()).or_insert_with(new);
        *known = instance.clone();
        let before = board.shown.state;
        change(board);
        if board.show(now) {
            instance.counters.running(board.shown.state == State::Running);
            log(instance, before, board.shown.state, &board.shown.reason, &board.shown.action);
        }
        // Under the lock, so that events have the order of the changes.
        tell(&self.notices, instance, board, now);
    }
}

fn tell(notices: &Notices, instance: &Arc<Instance>, board: &mut Board, now: Timestamp) {
    instance.counters.troubles(board.shown.troubles.len());
    for notice in board.tell() {
        if let Some(part) = &notice.part {
            let (reason, action) = (&notice.reason, notice.action.as_deref().unwrap_or_default());
            tracing::warn!(instance = %instance.name, part, state = %notice.state, reason, action, "health of a part");
        }
        notices.put(instance.clone(), Kind::ConnectorHealth, notice, now);
    }
}

/// Some things are told when they have lasted.
async fn look_again(boards: Weak<Mutex<Boards>>, notices: Notices) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Some(boards) = boards.upgrade() else { return };
        let now = crate::clock::now();
        for (instance, board) in boards.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            tell(&notices, instance, board, now);
        }
    }
}

fn log(instance: &Instance, before: State, state: State, reason: &str, action: &str) {
    let instance = &instance.name;
    match state {
        State::Stopped => tracing::error!(%instance, reason, action, "stopped"),
        State::Degraded => tracing::warn!(%instance, reason, action, "degraded"),
        State::Running if before > State::Running => tracing::info!(%instance, "running again"),
        State::Running => tracing::debug!(%instance, "running"),
        State::Standby | State::Starting => tracing::debug!(%instance, reason, "{}", state.as_str()),
    }
}

fn said(state: State, reason: &str, action: &str, alert: bool) -> Said {
    let (reason, action) = (cut(reason, REASON_MAX_BYTES).0.to_owned(), action.to_owned());
    Said { state, reason, action, alert, since: crate::clock::now(), at: Instant::now() }
}

/// Says how one part of an instance is; cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    health: Health,
    instance: Arc<Instance>,
    shape: &'static str,
}

impl Reporter {
    pub fn set(&self, state: State, reason: &str, action: &str) {
        self.say(Part::Shape(self.shape), said(state, reason, action, false));
    }

    /// Something that people have to mend, while the rest of the instance goes on.
    pub fn trouble(&self, reason: &str, action: &str) {
        self.say(Part::Shape(self.shape), said(State::Degraded, reason, action, true));
    }

    /// There is no such trouble (any more).
    pub fn well_again(&self) {
        let part = Part::Shape(self.shape);
        if self.health.boards().get(&self.instance.name).is_some_and(|(_, board)| board.has(&part)) {
            self.health.change(&self.instance, |board| board.forget(&part));
        }
    }

    /// It begins to run here; what was said of an attempt before stands until this one has an outcome.
    pub fn starting(&self) {
        let part = Part::Shape(self.shape);
        self.health.change(&self.instance, |board| match board.state(&part) {
            Some(state) if state > State::Standby => {}
            _ => board.say(part, said(State::Starting, "", "", false)),
        });
    }

    /// Something that people have to mend is wrong with one stream, while the others go on; an empty reason: well again.
    pub fn stream(&self, stream: &StreamId, reason: &str, action: &str) {
        self.stream_says(stream, reason, action, true);
    }

    /// The same for what may pass by itself.
    pub fn stream_waits(&self, stream: &StreamId, reason: &str, action: &str) {
        self.stream_says(stream, reason, action, false);
    }

    fn stream_says(&self, stream: &StreamId, reason: &str, action: &str, alert: bool) {
        let part = Part::Stream(self.shape, stream.clone());
        if reason.is_empty() {
            self.health.change(&self.instance, |board| board.forget(&part));
        } else {
            self.say(part, said(State::Degraded, &format!("{stream}: {reason}"), action, alert));
        }
    }

    /// How many items of a stream wait at the source behind the committed position. Told when it is over the instance's
    /// limit for as long as the instance says.
    pub fn lag(&self, stream: &StreamId, behind: u64) {
        let limit = &self.instance.config.lag;
        self.instance.counters.lag(&stream.0, behind);
        let part = Part::Lag(self.shape, stream.clone());
        if behind <= limit.items {
            if self.health.boards().get(&self.instance.name).is_some_and(|(_, board)| board.lagged(&part)) {
                self.health.change(&self.instance, |board| board.keeps_up(&part));
            }
            return;
        }
        let reason = format!("{stream}: {behind} items behind its source");
        let said = said(State::Degraded, &reason, LAG_ACTION, true);
        self.health.change(&self.instance, |board| board.lags(part, said, limit.after.0));
    }

    fn say(&self, part: Part, said: Said) {
        self.health.change(&self.instance, |board| board.say(part, said));
    }

    /// Forgets what was said of single streams: whoever runs next says it anew.
    pub fn forget_streams(&self) {
        let own = self.shape;
        self.health.change(&self.instance, |board| board.forget_streams(own));
    }

    /// Reports that an ephemeral source was not watched for a while.
    pub fn gap(&self, from: Timestamp, to: Timestamp, reason: &str) {
        tracing::warn!(instance = %self.instance.name, %from, %to, reason, "gap: input of this time may be missing");
        let notice = Notice {
            state: "gap".into(),
            part: None,
            reason: cut(reason, REASON_MAX_BYTES).0.to_owned(),
            action: Some("look the time up at the provider; it does not send again".into()),
            from: Some(from),
            to: Some(to),
        };
        self.health.notices.put(self.instance.clone(), Kind::ConnectorGap, notice, to);
    }
}
