//! Poll, session and upkeep instances: who owns them, and for how long they run.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use connector_sdk::{Intake, Io, Shape, SourceClass, Upkeep};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

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
    /// How long there is between the two.
    async fn order(&self, limit: Duration) {
        self.please.cancel();
        tokio::time::sleep(limit).await;
        self.now.cancel();
    }
}

/// Runs the sources of every shard that this process comes to own, until `stopping`.
pub async fn supervise(
    sources: Vec<Source>,
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
        let mine = sources.iter().filter(|s| shard_of(&s.instance.name, shards) == ownership.shard).cloned().collect();
        running.spawn(shard(mine, ownership, push.clone(), health.clone(), stopping.clone()));
    }
    while running.join_next().await.is_some() {}
}

/// Runs the sources of one owned shard until it is revoked.
async fn shard(
    sources: Vec<Source>,
    ownership: Ownership,
    push: PushLine,
    health: Health,
    stopping: CancellationToken,
) {
    // However this ends: whoever revokes the shard waits for it.
    let _released = ownership.released.clone().drop_guard();
    let stop = Stop::default();
    let mut running = JoinSet::new();
    for source in sources {
        running.spawn(keep_running(source, ownership.clone(), push.clone(), health.clone(), stop.clone()));
    }
    let limit = tokio::select! {
        () = ownership.revoked.cancelled() => REVOKED_LIMIT,
        () = stopping.cancelled() => STOPPING_LIMIT,
    };
    let all_ended = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        () = all_ended => {}
        () = async {
            stop.order(limit).await;
            std::future::pending().await
        } => {}
    }
}
