//! Poll, session and upkeep instances: who owns them, and for how long they run.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use connector_sdk::{Intake, Io, Shape, SourceClass, Upkeep};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ephemeral::{LostAt, PushQueue};
use super::health::Health;
pub use super::keep::keep_running;
use super::push::PushLine;
use crate::delivery::replay::Ownership;
use crate::delivery::replay::partition::shard_of;
use crate::pipeline::instance::Instance;

/// How often an instance whose credentials are refused or whose source is broken is tried again.
pub const STOPPED_RETRY: Duration = Duration::from_secs(60);
/// How long a source may take to end and to settle what it submitted: at a revocation the next owner waits for that (the
/// owners' group gives it 5 s), at the end of the process only the grace period does.
const REVOKED_LIMIT: Duration = Duration::from_secs(4);
const STOPPING_LIMIT: Duration = Duration::from_secs(10);

/// A poll, session or upkeep instance that this process may come to own.
#[derive(Clone)]
pub struct Source {
    pub instance: Arc<Instance>,
    pub io: Io,
    pub intake: Arc<Mutex<SourceIntake>>,
    /// Whether it delivers with cursors, exactly once.
    pub replay: bool,
    pub(super) shape: Shape,
    pub(super) lost_at: LostAt,
    pub(super) queue: Arc<OnceLock<PushQueue>>,
}

/// What a source runs.
pub enum SourceIntake {
    Intake(Intake),
    Upkeep(Box<dyn Upkeep>),
}

impl Source {
    pub fn new(instance: Arc<Instance>, io: Io, intake: SourceIntake) -> Self {
        let (shape, replay) = match &intake {
            SourceIntake::Intake(Intake::Poll(_)) => (Shape::Poll, true),
            SourceIntake::Intake(Intake::Session(_)) => (Shape::Session, instance.source == SourceClass::Replay),
            SourceIntake::Intake(Intake::Webhook(_)) => (Shape::Webhook, false),
            SourceIntake::Upkeep(_) => (Shape::Upkeep, false),
        };
        let intake = Arc::new(Mutex::new(intake));
        Self { instance, io, intake, replay, shape, lost_at: Arc::default(), queue: Arc::default() }
    }

    /// The same for clones, another for whatever is built anew.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.intake) as usize
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }
}

/// How a run ended when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The lane's epoch is over; the next one tells from where to go on.
    Epoch,
    /// The other side closed in good order.
    Closed,
    /// As it was told to.
    Stopped,
}

/// Tells sources to end.
#[derive(Clone, Default)]
pub struct Stop {
    /// End, and settle what is under way.
    pub please: CancellationToken,
    /// End now.
    pub now: CancellationToken,
}

impl Stop {
    /// Ends in good order, and at once when `limit` is over.
    fn within(&self, limit: Duration) {
        self.please.cancel();
        let now = self.now.clone();
        tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            now.cancel();
        });
    }
}

/// The sources that there are now; another list takes the place of this one when the configuration changes.
pub type SourceList = watch::Receiver<Arc<Vec<Source>>>;

/// Runs the sources of every shard that this process comes to own, until `stopping`.
pub async fn supervise(
    sources: SourceList,
    shards: i32,
    push: PushLine,
    health: Health,
    mut owned: mpsc::Receiver<Ownership>,
    stopping: CancellationToken,
) {
    let mut running = JoinSet::new();
    loop {
        let ownership = tokio::select! {
            () = stopping.cancelled() => break,
            Some(_) = running.join_next() => continue,
            ownership = owned.recv() => match ownership {
                Some(ownership) => ownership,
                None => break,
            },
        };
        let shard = Shard { shards, ownership, push: push.clone(), health: health.clone(), running: Vec::new() };
        running.spawn(shard.run(sources.clone(), stopping.clone()));
    }
    while running.join_next().await.is_some() {}
}

/// One owned shard.
struct Shard {
    shards: i32,
    ownership: Ownership,
    push: PushLine,
    health: Health,
    running: Vec<Running>,
}

/// A source that runs; dropping it cuts it off.
struct Running {
    source: Source,
    stop: Stop,
    task: AbortOnDropHandle<()>,
}

impl Shard {
    /// Runs its sources until it is revoked.
    async fn run(mut self, mut sources: SourceList, stopping: CancellationToken) {
        // However this ends: whoever revokes the shard waits for it.
        let _released = self.ownership.released.clone().drop_guard();
        let revoked = self.ownership.revoked.clone();
        let limit = tokio::select! {
            biased;
            () = revoked.cancelled() => REVOKED_LIMIT,
            () = stopping.cancelled() => STOPPING_LIMIT,
            () = self.follow(&mut sources) => STOPPING_LIMIT,
        };
        self.end(limit).await;
    }

    /// Keeps to the list. What is no longer in it is settled before anything new begins: a changed source must not read
    /// beside the one that it replaces.
    async fn follow(&mut self, sources: &mut SourceList) {
        loop {
            let list = sources.borrow_and_update().clone();
            let own = |source: &&Source| shard_of(&source.instance.name, self.shards) == self.ownership.shard;
            let wanted: Vec<Source> = list.iter().filter(own).cloned().collect();
            let is_wanted = |source: &Source| wanted.iter().any(|one| one.identity() == source.identity());
            for one in self.running.iter().filter(|one| !is_wanted(&one.source)) {
                one.stop.within(STOPPING_LIMIT);
            }
            // They stay in the list until they have ended: a revocation in between finds them there.
            while let Some(at) = self.running.iter().position(|one| !is_wanted(&one.source)) {
                let _ = (&mut self.running[at].task).await;
                self.running.remove(at);
            }
            for source in wanted {
                self.start(source);
            }
            if sources.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn start(&mut self, source: Source) {
        if self.running.iter().any(|one| one.source.identity() == source.identity()) {
            return;
        }
        let stop = Stop::default();
        let (ownership, push, health) = (self.ownership.clone(), self.push.clone(), self.health.clone());
        let task = tokio::spawn(keep_running(source.clone(), ownership, push, health, stop.clone()));
        self.running.push(Running { source, stop, task: AbortOnDropHandle::new(task) });
    }

    async fn end(self, limit: Duration) {
        self.running.iter().for_each(|one| one.stop.within(limit));
        for one in self.running {
            // One that panicked has ended too.
            let _ = one.task.await;
        }
    }
}
