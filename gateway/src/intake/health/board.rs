//! One instance's parts, what is shown of them, and what operators are told.
//!
//! Of the instance as a whole it is told that it stopped, and that it no longer is. Of its parts (a folder, its file
//! downloads, a stream that lags) each trouble is told once, and once that it is over. What a run said of its streams
//! ends with the run, and the next says it anew: so that a reconnect is no news, a trouble that is not said again
//! counts as over only when the next run has been well for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use connector_sdk::StreamId;
use connector_sdk::schemas::{Notice, Timestamp};
use tokio::time::Instant;

use super::{InstanceStatus, State, Trouble};

/// How long a run has to be well until a trouble that it does not mention is over.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(60);
/// Faults that pass by themselves are told when they have not for so long.
pub(super) const LASTING: Duration = Duration::from_secs(10 * 60);

/// A part of an instance that has a state of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Shape(&'static str),
    Stream(&'static str, StreamId),
    /// How far a stream is behind its source.
    Lag(&'static str, StreamId),
}

impl Part {
    pub fn shape(&self) -> &'static str {
        match self {
            Self::Shape(shape) | Self::Stream(shape, _) | Self::Lag(shape, _) => shape,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Shape(shape) => (*shape).to_owned(),
            Self::Stream(_, stream) | Self::Lag(_, stream) => stream.to_string(),
        }
    }
}

/// What a part says.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub state: State,
    pub reason: String,
    pub action: String,
    /// Worth telling by itself.
    pub alert: bool,
    pub since: Timestamp,
    /// The same on a clock that does not jump.
    pub at: Instant,
}

/// A trouble that was told.
struct Told {
    state: State,
    /// Whoever said it has ended, and the next has not said it again.
    stale: bool,
}

/// One instance.
pub(super) struct Board {
    parts: BTreeMap<Part, Said>,
    pub shown: InstanceStatus,
    told_stopped: bool,
    told: BTreeMap<Part, Told>,
    /// Streams that are farther behind than they should be, and since when.
    behind: BTreeMap<Part, Instant>,
}

impl Board {
    pub fn new(connector: &str, now: Timestamp) -> Self {
        let (reason, action, troubles) = (String::new(), String::new(), Vec::new());
        let shown = InstanceStatus {
            connector: connector.to_owned(),
            state: State::Standby,
            reason,
            action,
            since: now,
            troubles,
        };
        let (parts, told, behind) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { parts, shown, told_stopped: false, told, behind }
    }

    pub fn has(&self, part: &Part) -> bool {
        self.parts.contains_key(part)
    }

    pub fn state(&self, part: &Part) -> Option<State> {
        self.parts.get(part).map(|said| said.state)
    }

    /// Notes what a part says; a state that it keeps has the time of its beginning.
    pub fn say(&mut self, part: Part, mut said: Said) {
        if let Some(before) = self.parts.get(&part).filter(|before| before.state == said.state) {
            (said.since, said.at) = (before.since, before.at);
        }
        self.parts.insert(part, said);
    }

    pub fn forget(&mut self, part: &Part) {
        self.parts.remove(part);
    }

    /// A stream is farther behind than it should be; that is a trouble once it has lasted.
    pub fn lags(&mut self, part: Part, said: Said, after: Duration) {
        if self.behind.entry(part.clone()).or_insert(said.at).elapsed() >= after {
            self.say(part, said);
        }
    }

    pub fn keeps_up(&mut self, part: &Part) {
        self.behind.remove(part);
        self.forget(part);
    }

    pub fn lagged(&self, part: &Part) -> bool {
        self.behind.contains_key(part)
    }

    /// The run of a shape has ended: its streams are no longer spoken for.
    pub fn forget_streams(&mut self, shape: &'static str) {
        let own = |part: &Part| !matches!(part, Part::Shape(_)) && part.shape() == shape;
        self.parts.retain(|part, _| !own(part));
        self.behind.retain(|part, _| !own(part));
        self.told.iter_mut().filter(|(part, _)| own(part)).for_each(|(_, told)| told.stale = true);
    }

    /// Works out what is shown; true: it is something else than before.
    pub fn show(&mut self, now: Timestamp) -> bool {
        let worst = self.parts.values().max_by_key(|said| said.state);
        let (state, reason, action) = match worst {
            Some(said) => (said.state, said.reason.clone(), said.action.clone()),
            None => (State::Standby, String::new(), String::new()),
        };
        let troubled = self.parts.iter().filter(|(_, said)| said.state >= State::Degraded);
        self.shown.troubles = troubled.map(|(part, said)| trouble(part, said)).collect();
        let changed = self.shown.state != state || self.shown.reason != reason;
        if self.shown.state != state {
            self.shown.since = now;
        }
        (self.shown.state, self.shown.reason, self.shown.action) = (state, reason, action);
        changed
    }

    /// What is to be told now, in its order. Each thing once.
    pub fn tell(&mut self) -> Vec<Notice> {
        let mut news = Vec::new();
        let state = self.shown.state;
        let whole = match (state, self.told_stopped) {
            (State::Stopped, false) => true,
            // Well again, or no longer this replica's to say.
            (State::Running | State::Standby, true) => true,
            _ => false,
        };
        if whole {
            self.told_stopped = state == State::Stopped;
            news.push(notice(state, None, &self.shown.reason, &self.shown.action));
        }
        self.tell_ends(&mut news);
        for (part, said) in &self.parts {
            let lasts = said.at.elapsed() >= LASTING;
            // A part that is stopped is what the whole is told to be.
            if said.state != State::Degraded || !(said.alert || lasts) {
                continue;
            }
            let told = self.told.entry(part.clone()).or_insert_with(|| {
                news.push(notice(said.state, Some(part), &said.reason, &said.action));
                Told { state: said.state, stale: false }
            });
            told.stale = false;
        }
        news
    }

    fn tell_ends(&mut self, news: &mut Vec<Notice>) {
        let parts = &self.parts;
        self.told.retain(|part, told| {
            let shape = parts.get(&Part::Shape(part.shape()));
            let standby = shape.is_some_and(|said| said.state == State::Standby);
            let settled = shape.is_some_and(|said| said.state == State::Running && said.at.elapsed() >= SETTLED_AFTER);
            let still = parts.get(part).is_some_and(|said| said.state >= told.state);
            if still || (told.stale && !settled && !standby) {
                return true;
            }
            let (state, reason) =
                if standby { (State::Standby, "another replica may have it") } else { (State::Running, "well again") };
            news.push(notice(state, Some(part), reason, ""));
            false
        });
    }
}

fn trouble(part: &Part, said: &Said) -> Trouble {
    Trouble {
        part: part.name(),
        state: said.state,
        reason: said.reason.clone(),
        action: said.action.clone(),
        since: said.since,
    }
}

fn notice(state: State, part: Option<&Part>, reason: &str, action: &str) -> Notice {
    Notice {
        state: state.as_str().into(),
        part: part.map(Part::name),
        reason: reason.to_owned(),
        action: (!action.is_empty()).then(|| action.to_owned()),
        ..Notice::default()
    }
}
