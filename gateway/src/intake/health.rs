//! What state each instance is in, for operators: `/api/status`, a metric, and a `connector.health` event on change.
//!
//! An instance has parts (its webhook, its poll, its upkeep, single streams), each with a state of its own; the instance
//! is as well as its worst part. Events go out one after the other and wait for Kafka where it is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_sdk::schemas::{Kind, Notice, Timestamp};
use connector_sdk::text::cut;
use connector_sdk::{Shape, StreamId};
use serde::Serialize;

use super::notices::Notices;
use super::push::PushLine;
use crate::pipeline::instance::Instance;

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
}

/// A part of an instance that has a state of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Shape(&'static str),
    Stream(&'static str, StreamId),
}

struct Board {
    parts: BTreeMap<Part, Said>,
    shown: InstanceStatus,
    /// An event said that it stopped, and none yet that it is well again.
    told_stopped: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Said {
    state: State,
    reason: String,
    action: String,
}

/// All instances' states.
#[derive(Clone)]
pub struct Health {
    boards: Arc<Mutex<BTreeMap<String, Board>>>,
    notices: Notices,
}

impl Health {
    /// On the current runtime.
    pub fn new(push: PushLine) -> Self {
        Self { boards: Arc::default(), notices: Notices::start(push) }
    }

    pub fn all(&self) -> BTreeMap<String, InstanceStatus> {
        self.boards().iter().map(|(name, board)| (name.clone(), board.shown.clone())).collect()
    }

    /// Where one part of an instance says how it is.
    pub fn of(&self, instance: &Arc<Instance>, shape: Shape) -> Reporter {
        Reporter { health: self.clone(), instance: instance.clone(), shape: shape.as_str() }
    }

    fn boards(&self) -> MutexGuard<'_, BTreeMap<String, Board>> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a part says (or that it is gone), and publishes an event when the instance stops or is well again.
    fn change(&self, instance: &Arc<Instance>, change: impl FnOnce(&mut BTreeMap<Part, Said>)) {
        let now = crate::clock::now();
        let mut boards = self.boards();
        let board = boards.entry(instance.name.clone()).or_insert_with(|| Board {
            parts: BTreeMap::new(),
            shown: InstanceStatus {
                connector: instance.connector.to_owned(),
                state: State::Standby,
                reason: String::new(),
                action: String::new(),
                since: now,
            },
            told_stopped: false,
        });
        change(&mut board.parts);
        let worst = board.parts.values().max_by_key(|said| said.state).cloned();
        let Said { state, reason, action } = worst.unwrap_or(Said::new(State::Standby, "", ""));
        let before = std::mem::replace(&mut board.shown.state, state);
        let same_reason = board.shown.reason == reason;
        (board.shown.reason, board.shown.action) = (reason.clone(), action.clone());
        if before == state && same_reason {
            return;
        }
        if before != state {
            board.shown.since = now;
        }
        instance.counters.running(state == State::Running);
        log(instance, before, state, &reason, &action);
        let tell = match (state, board.told_stopped) {
            (State::Stopped, false) => true,
            // Well again, or no longer this replica's to say.
            (State::Running | State::Standby, true) => true,
            _ => false,
        };
        if tell {
            board.told_stopped = state == State::Stopped;
            let action = (!action.is_empty()).then_some(action);
            let notice = Notice { state: state.as_str().into(), reason, action, from: None, to: None };
            // Under the lock, so that events have the order of the changes.
            self.notices.put(instance.clone(), Kind::ConnectorHealth, notice, now);
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

impl Said {
    fn new(state: State, reason: &str, action: &str) -> Self {
        Self { state, reason: cut(reason, REASON_MAX_BYTES).0.to_owned(), action: action.to_owned() }
    }
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
        let part = Part::Shape(self.shape);
        self.health.change(&self.instance, |parts| drop(parts.insert(part, Said::new(state, reason, action))));
    }

    /// It begins to run here; what was said of an attempt before stands until this one has an outcome.
    pub fn starting(&self) {
        let part = Part::Shape(self.shape);
        self.health.change(&self.instance, |parts| match parts.get(&part) {
            Some(said) if said.state > State::Standby => {}
            _ => drop(parts.insert(part, Said::new(State::Starting, "", ""))),
        });
    }

    /// Something is wrong with one stream, while the others go on; an empty reason: well again.
    pub fn stream(&self, stream: &StreamId, reason: &str, action: &str) {
        let part = Part::Stream(self.shape, stream.clone());
        self.health.change(&self.instance, |parts| {
            if reason.is_empty() {
                parts.remove(&part);
            } else {
                parts.insert(part, Said::new(State::Degraded, &format!("{stream}: {reason}"), action));
            }
        });
    }

    /// Forgets what was said of single streams: whoever runs next says it anew.
    pub fn forget_streams(&self) {
        let own = self.shape;
        self.health.change(&self.instance, |parts| {
            parts.retain(|part, _| !matches!(part, Part::Stream(shape, _) if *shape == own));
        });
    }

    /// Reports that an ephemeral source was not watched for a while.
    pub fn gap(&self, from: Timestamp, to: Timestamp, reason: &str) {
        tracing::warn!(instance = %self.instance.name, %from, %to, reason, "gap: input of this time may be missing");
        let notice = Notice {
            state: "gap".into(),
            reason: cut(reason, REASON_MAX_BYTES).0.to_owned(),
            action: Some("look the time up at the provider; it does not send again".into()),
            from: Some(from),
            to: Some(to),
        };
        self.health.notices.put(self.instance.clone(), Kind::ConnectorGap, notice, to);
    }
}
