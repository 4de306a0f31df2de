//! Sessions that nobody replays: what was handed over arrives, in order, however long Kafka is away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{Intake, IntakeError, Session, SessionCx, SourceClass, StreamId, async_trait};
use inlet::delivery::memory::{Answer, MemoryPublisher, Script};
use inlet::intake::health::State;
use inlet::intake::sources::{Source, Stop, keep_running};

use crate::cut::CutAfter;
use crate::inputs::{Input, stream};
use crate::judge::{Came, Repeats, came, judge};
use crate::world::{Dice, World, until};

const SECOND: Duration = Duration::from_secs(1);

/// A switchboard: it tells each thing once, whoever listens.
struct Board {
    inputs: Vec<Input>,
    told: AtomicUsize,
    /// Inputs that the driver has taken, whole.
    handed_over: Mutex<Vec<Input>>,
    connections: AtomicUsize,
    dice: Dice,
    faults: u64,
    /// Does not end when it is told to.
    deaf: AtomicBool,
    broken_promises: Mutex<Vec<Input>>,
    publisher: Arc<MemoryPublisher>,
}

impl Board {
    fn new(world: &World, seed: u64, count: usize, faults: u64) -> Arc<Self> {
        Arc::new(Self {
            inputs: stream("a", count),
            told: AtomicUsize::new(0),
            handed_over: Mutex::default(),
            connections: AtomicUsize::new(0),
            dice: Dice::new(seed),
            faults,
            deaf: AtomicBool::new(false),
            broken_promises: Mutex::default(),
            publisher: world.publisher.clone(),
        })
    }

    fn taken(&self) -> Vec<Input> {
        self.handed_over.lock().unwrap().clone()
    }

    fn all_told(&self) -> bool {
        self.told.load(Ordering::Relaxed) >= self.inputs.len()
    }

    fn all_arrived(&self) -> bool {
        self.came().are_safe(&self.taken())
    }

    fn came(&self) -> Came {
        came(&self.inputs, &self.publisher.records())
    }

    /// Everything that was taken arrived, and the promises were kept.
    fn judge(&self) {
        assert_eq!(*self.broken_promises.lock().unwrap(), [], "acknowledged before they were safe");
        // Of what a cut connection was handing over nobody knows whether it was taken.
        let (taken, came) = (self.taken(), self.came());
        let is_there = |input: &&Input| taken.contains(input) || came.is_safe(input);
        let inputs: Vec<_> = self.inputs.iter().filter(is_there).cloned().collect();
        judge(&inputs, &self.publisher.records(), Repeats::Allowed);
    }
}

struct Listener(Arc<Board>);

#[async_trait]
impl Session for Listener {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        let board = &self.0;
        board.connections.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        cx.connected().await;
        while let Some(input) = board.inputs.get(board.told.fetch_add(1, Ordering::Relaxed)) {
            let ticket = cx.submit(&StreamId::new("events"), input.raw(), None).await;
            board.handed_over.lock().unwrap().push(input.clone());
            let (watched, input) = (board.clone(), input.clone());
            // Looking at all of a long run would take longer than the run.
            if board.dice.one_in(1 + board.inputs.len() as u64 / 200) {
                tokio::spawn(async move {
                    if ticket.outcome().await.is_safe() && !watched.came().is_safe(&input) {
                        watched.broken_promises.lock().unwrap().push(input);
                    }
                });
            }
            if board.dice.roll(100) < board.faults {
                match board.dice.roll(3) {
                    0 => return Ok(()),
                    1 => return Err(IntakeError::retry("scripted loss of the connection")),
                    _ => panic!("scripted panic in a session"),
                }
            }
            if board.dice.one_in(3) {
                tokio::time::sleep(Duration::from_millis(board.dice.roll(50))).await;
            }
        }
        if board.deaf.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        cx.stopping().cancelled().await;
        Ok(())
    }
}

fn source(world: &World, board: &Arc<Board>) -> Source {
    world.source(Intake::Session(Box::new(Listener(board.clone()))))
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_arrives_in_order_whatever_kafka_answers() {
    let mut scripts = vec![
        Script::always(Answer::Taken),
        Script::always(Answer::Refused),
        Script::outage(20),
        Script::first([Answer::TakenUnheard; 5]),
    ];
    scripts.extend((0..30).map(Script::random));
    for (seed, script) in scripts.into_iter().enumerate() {
        let world = World::new(SourceClass::Ephemeral, script);
        let board = Board::new(&world, seed as u64, 120, 5);
        let running = world.run(&source(&world, &board));
        until("all told and arrived", || board.all_told() && board.all_arrived()).await;
        assert!(running.stop(SECOND).await);
        board.judge();
        assert_eq!(world.tally().in_flight(), 0, "seed {seed}");
        assert_eq!(world.tally().returned, 0, "nobody else has them");
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_each_await() {
    for polls in 1..150 {
        let world =
            World::new(SourceClass::Ephemeral, Script::first([Answer::Lost, Answer::Taken, Answer::TakenUnheard]));
        let board = Board::new(&world, polls, 40, 3);
        let source = source(&world, &board);
        let ownership = world.lane.own(0);
        let stop = Stop::default();
        let keep =
            keep_running(source.clone(), ownership.clone(), world.push.clone(), world.health.clone(), stop.clone());
        tokio::select! {
            _ = CutAfter::new(keep, usize::try_from(polls).unwrap()) => {}
            () = until("all told", || board.all_told()) => {}
        }
        ownership.revoked.cancel();
        let again = world.run(&source);
        until("all told and arrived", || board.all_told() && board.all_arrived()).await;
        assert!(again.stop(SECOND).await);
        board.judge();
        until("all settled", || world.tally().in_flight() == 0).await;
    }
}

/// One bounded queue over all connections: a source that reconnects for ever does not fill the memory.
#[tokio::test(start_paused = true)]
async fn kafka_away_for_good_fills_one_queue_and_acknowledges_nothing() {
    let world = World::new(SourceClass::Ephemeral, Script::always(Answer::Lost));
    let board = Board::new(&world, 1, 3_000, 5);
    let running = world.run(&source(&world, &board));
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    let in_flight = world.tally().in_flight();
    assert!((1000..=2049).contains(&in_flight), "{in_flight} in flight");
    assert!(board.connections.load(Ordering::Relaxed) > 3);
    assert_eq!((world.tally().published, world.tally().returned), (0, 0));
    let queued = board.taken();
    world.mend();
    until("what waited has arrived", || board.came().are_safe(&queued)).await;
    running.stop(20 * SECOND).await;
    board.judge();
}

/// At a stop the connection is closed and what was taken goes out, within the limits.
#[tokio::test(start_paused = true)]
async fn a_stop_drains_what_was_taken() {
    for deaf in [false, true] {
        let world = World::new(SourceClass::Ephemeral, Script::outage(3));
        let board = Board::new(&world, 7, 200, 0);
        board.deaf.store(deaf, Ordering::Relaxed);
        let running = world.run(&source(&world, &board));
        until("some are taken", || board.taken().len() > 20).await;
        assert!(running.stop(10 * SECOND).await, "deaf: {deaf}");
        assert!(board.all_arrived());
        board.judge();
        assert_eq!(world.tally().in_flight(), 0);
        assert_eq!(world.health.all()["i"].state, State::Standby);
    }
}

/// Kafka stays away: the stop is bounded all the same.
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let world = World::new(SourceClass::Ephemeral, Script::always(Answer::Lost));
    let board = Board::new(&world, 7, 200, 0);
    let running = world.run(&source(&world, &board));
    until("some are taken", || board.taken().len() > 20).await;
    let stop = running.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(4 * SECOND).await;
        stop.now.cancel();
    });
    assert!(running.stop(5 * SECOND).await);
    assert!(world.publisher.records().is_empty());
}
