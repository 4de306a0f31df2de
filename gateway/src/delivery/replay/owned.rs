//! The shards that this process owns: announced to the sources, each with a lane where replay instances live.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::Ownership;
use super::control::Control;
use super::shard::{Lane, Shared};
use super::slot::Slot;
use super::status::LaneState;
use super::transaction::Seat;

/// How long sources and lanes may take to end when shards are revoked in good order, and when they are lost already.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);
const LOST_LIMIT: Duration = Duration::from_secs(1);
const RELEASE_TICK: Duration = Duration::from_millis(2);
/// Threads of one shard that may hang at once: a Kafka client in which calls hang for good must not cost ever more.
const MAX_HUNG: usize = 4;

/// One owned shard.
struct Shard {
    slot: Arc<Slot>,
    revoked: CancellationToken,
    released: CancellationToken,
    lane: Option<Running>,
    /// Given up in a call that had not returned; each ends by itself as soon as it does.
    hung: Vec<JoinHandle<()>>,
}

/// A lane's thread.
struct Running {
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

pub(super) struct Owned {
    shared: Arc<Shared>,
    announce: mpsc::Sender<Ownership>,
    /// Not announced yet because the sources are slow to listen.
    waiting: VecDeque<Ownership>,
    /// Shards with replay instances.
    wanted: HashSet<i32>,
    shards: BTreeMap<i32, Shard>,
}

impl Owned {
    pub fn new(shared: Arc<Shared>, announce: mpsc::Sender<Ownership>) -> Self {
        Self { shared, announce, waiting: VecDeque::new(), wanted: HashSet::new(), shards: BTreeMap::new() }
    }

    pub fn place(&mut self, wanted: HashSet<i32>) {
        self.wanted = wanted;
        self.tick();
    }

    pub fn take_over(&mut self, shards: &[i32]) {
        for &shard in shards {
            let slot = Arc::new(Slot::new());
            let (revoked, released) = (CancellationToken::new(), CancellationToken::new());
            self.waiting.push_back(Ownership {
                shard,
                revoked: revoked.clone(),
                released: released.clone(),
                epoch: slot.subscribe(),
            });
            self.shared.board.owned(shard);
            if let Some(old) =
                self.shards.insert(shard, Shard { slot, revoked, released, lane: None, hung: Vec::new() })
            {
                old.abandon();
            }
        }
        self.tick();
    }

    /// Announces, starts and ends lanes as instances come and go, and gives up lanes that hang. Never blocks.
    pub fn tick(&mut self) {
        while let Some(ownership) = self.waiting.pop_front() {
            match self.announce.try_send(ownership) {
                Ok(()) => {}
                Err(TrySendError::Full(ownership)) => {
                    self.waiting.push_front(ownership);
                    break;
                }
                // Nobody listens (any more): nobody has to be waited for.
                Err(TrySendError::Closed(ownership)) => ownership.released.cancel(),
            }
        }
        for (&shard, owned) in &mut self.shards {
            owned.reap(&self.shared, shard);
            match (&owned.lane, self.wanted.contains(&shard)) {
                (None, true) if owned.hung.len() < MAX_HUNG => owned.start(&self.shared, shard),
                (Some(lane), false) => lane.control.finish(),
                (None, _) | (Some(_), true) => {}
            }
        }
    }

    /// Returns when the sources and the lanes of these shards have ended, or when the limit is reached: then they are
    /// told to drop what they have, and the next owner's fencing keeps them harmless.
    pub fn release(&mut self, shards: &[i32], lost: bool) {
        self.waiting.retain(|ownership| !shards.contains(&ownership.shard) || !cancelled(ownership));
        let mut leaving: Vec<_> =
            shards.iter().filter_map(|shard| Some((*shard, self.shards.remove(shard)?))).collect();
        for (shard, owned) in &leaving {
            owned.revoked.cancel();
            self.shared.board.state(*shard, LaneState::Stopping);
            if let Some(lane) = &owned.lane {
                if lost { lane.control.drop_all() } else { lane.control.finish() }
            }
        }
        let until = Instant::now() + if lost { LOST_LIMIT } else { RELEASE_LIMIT };
        while leaving.iter().any(|(_, owned)| !owned.has_ended()) && Instant::now() < until {
            std::thread::sleep(RELEASE_TICK);
        }
        for (shard, owned) in leaving.drain(..) {
            if !owned.has_ended() {
                tracing::warn!(shard, "replay lane: sources or lane did not end in time; they are cut off");
            }
            owned.abandon();
            self.shared.board.given_up(shard);
        }
    }
}

/// An ownership that is revoked before anybody heard of it.
fn cancelled(ownership: &Ownership) -> bool {
    ownership.revoked.cancel();
    ownership.released.cancel();
    true
}

impl Shard {
    fn start(&mut self, shared: &Arc<Shared>, shard: i32) {
        let control = Arc::new(Control::default());
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return shared.board.shard_error(shard, format!("no runtime for the lane: {error}")),
        };
        let lane = Lane {
            seat: Seat { shard, transactional_id: shared.settings.transactional_id(shard), job: None },
            tenant: self.slot.let_to_next(),
            slot: self.slot.clone(),
            control: control.clone(),
            shared: shared.clone(),
            runtime,
        };
        match std::thread::Builder::new().name(format!("replay-{shard}")).spawn(move || lane.run()) {
            Ok(thread) => self.lane = Some(Running { control, thread }),
            Err(error) => shared.board.shard_error(shard, format!("no thread for the lane: {error}")),
        }
    }

    /// Forgets a lane that has ended, and gives up one that hangs in a call: it can no longer commit, its epoch has
    /// ended, and the next lane's producer fences its own. Its thread drops the client as soon as the call returns.
    fn reap(&mut self, shared: &Shared, shard: i32) {
        self.hung.retain(|thread| !thread.is_finished());
        let Some(lane) = self.lane.take() else { return };
        if lane.thread.is_finished() {
            shared.board.state(shard, LaneState::Idle);
        } else if let Some(call) = lane.control.calls.overdue(shared.call_limit) {
            tracing::error!(shard, call, limit = ?shared.call_limit, "replay lane: a call hangs; its thread is given up, and the shard is opened again");
            shared.board.hung(shard, format!("{call} hangs; its producer is given up"));
            lane.control.drop_all();
            self.hung.push(lane.thread);
            self.slot.let_to_next();
        } else {
            self.lane = Some(lane);
        }
    }

    fn has_ended(&self) -> bool {
        self.released.is_cancelled() && self.lane.as_ref().is_none_or(|lane| lane.thread.is_finished())
    }

    /// Whatever still runs can neither commit nor show an epoch.
    fn abandon(self) {
        self.revoked.cancel();
        if let Some(lane) = &self.lane {
            lane.control.drop_all();
        }
        self.slot.let_to_next();
    }
}
