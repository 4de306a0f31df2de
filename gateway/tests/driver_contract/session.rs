//! Sessions whose source can be read again: exactly once, also with a session that takes no care at all.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{Cursor, Intake, IntakeError, Session, SessionCx, SourceClass, StreamId, Ticket, async_trait};
use inlet::delivery::memory::{Answer, MemoryLane, Script};
use inlet::intake::health::State;
use inlet::intake::sources::{Source, Stop, keep_running};

use crate::cut::CutAfter;
use crate::inputs::{Input, stream, stream_with_blobs};
use crate::judge::{Repeats, arrivals, came, judge};
use crate::world::{Dice, World, until};

const SECOND: Duration = Duration::from_secs(1);
const STREAMS: [&str; 2] = ["a", "b"];

/// A server that gives what lies behind a position, and sessions that misbehave.
struct Server {
    inputs: Vec<Input>,
    lane: MemoryLane,
    dice: Dice,
    /// Of ten moments how many bring a fault.
    faults: u64,
    log: Mutex<Vec<String>>,
}

impl Server {
    fn new(world: &World, seed: u64, faults: u64) -> Arc<Self> {
        let mut inputs = stream("a", 50);
        inputs.extend(stream_with_blobs("b", 30));
        Arc::new(Self { inputs, lane: world.lane.clone(), dice: Dice::new(seed), faults, log: Mutex::default() })
    }

    fn of(&self, stream: &StreamId) -> Vec<Input> {
        self.inputs.iter().filter(|input| input.stream == stream.0).cloned().collect()
    }

    fn complain(&self, text: String) {
        self.log.lock().unwrap().push(text);
    }

    fn all_arrived(&self) -> bool {
        let complaints = self.log.lock().unwrap();
        assert!(complaints.is_empty(), "{complaints:?}");
        self.are_safe(&self.inputs)
    }

    fn are_safe(&self, inputs: &[Input]) -> bool {
        came(&self.inputs, &self.lane.records()).are_safe(inputs)
    }
}

struct FakeSession(Arc<Server>);

#[async_trait]
impl Session for FakeSession {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        let server = &self.0;
        tokio::task::yield_now().await;
        cx.connected().await;
        let mut under_way: Vec<(Input, Ticket)> = Vec::new();
        let mut streams = Vec::new();
        for name in STREAMS {
            let stream = StreamId::new(name);
            let from = match cx.cursor(&stream).await {
                Some(cursor) => usize::try_from(cursor.0.as_u64().expect("as it was given")).expect("fits"),
                None => {
                    cx.store_cursor(&stream, Cursor(0.into())).await?;
                    0
                }
            };
            let items = server.of(&stream);
            if !server.are_safe(&items[..from]) {
                server.complain(format!("{stream} was told to begin at {from}, but not all before is safe"));
            }
            streams.push((stream, items, from));
        }
        while streams.iter().any(|(_, items, from)| *from < items.len()) {
            for (stream, items, from) in &mut streams {
                let Some(input) = items.get(*from) else { continue };
                *from += 1;
                let after = Some(Cursor((*from).into()));
                match fault(server) {
                    Some(Fault::Drop) => return Err(IntakeError::retry("scripted loss of the connection")),
                    Some(Fault::Close) => return Ok(()),
                    Some(Fault::Panic) => panic!("scripted panic in a session"),
                    Some(Fault::GiveUp) => {
                        // An unsound connector: drops a submission half-way, and goes on with the next.
                        let submit = cx.submit(stream, input.raw(), after);
                        let _ = CutAfter::new(submit, 1).await;
                        continue;
                    }
                    Some(Fault::LeaveBehind) => {
                        leave_behind(&cx, stream, &items[*from - 1..]);
                        return Err(IntakeError::retry("scripted, with a task left behind"));
                    }
                    None => {}
                }
                // What a ticket says is not even looked at before the end.
                under_way.push((input.clone(), cx.submit(stream, input.raw(), after).await));
            }
        }
        for (input, ticket) in under_way {
            if ticket.outcome().await.is_safe() && !server.are_safe(std::slice::from_ref(&input)) {
                server.complain(format!("{input:?} was acknowledged before it was safe"));
            }
        }
        cx.stopping().cancelled().await;
        Ok(())
    }
}

enum Fault {
    Drop,
    Close,
    Panic,
    GiveUp,
    LeaveBehind,
}

fn fault(server: &Server) -> Option<Fault> {
    if server.dice.roll(100) >= server.faults {
        return None;
    }
    Some(match server.dice.roll(5) {
        0 => Fault::Drop,
        1 => Fault::Close,
        2 => Fault::Panic,
        3 => Fault::GiveUp,
        _ => Fault::LeaveBehind,
    })
}

/// A task that goes on submitting when its session is long gone.
fn leave_behind(cx: &SessionCx, stream: &StreamId, items: &[Input]) {
    let (cx, stream, items) = (cx.clone(), stream.clone(), items.to_vec());
    tokio::spawn(async move {
        for input in items {
            let after = Some(Cursor((input.number + 1).into()));
            drop(cx.submit(&stream, input.raw(), after).await);
            // Slowly, so that it meets the run that comes after its own.
            tokio::time::sleep(SECOND / 7).await;
        }
    });
}

fn source(world: &World, server: &Arc<Server>) -> Source {
    world.source(Intake::Session(Box::new(FakeSession(server.clone()))))
}

async fn holds(world: &World, server: &Arc<Server>) {
    let running = world.run(&source(world, server));
    until("all arrived", || server.all_arrived()).await;
    // What is left behind comes late.
    tokio::time::sleep(30 * SECOND).await;
    running.stop(SECOND).await;
    judge(&server.inputs, &world.lane.records(), Repeats::Never);
    until("all settled", || world.tally().in_flight() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_whatever_kafka_answers() {
    let mut scripts = vec![Script::always(Answer::Taken), Script::always(Answer::Refused), Script::outage(9)];
    scripts.extend((0..20).map(Script::random));
    for script in scripts {
        let world = World::new(SourceClass::Replay, script);
        holds(&world, &Server::new(&world, 0, 0)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_without_care_loses_and_repeats_nothing() {
    for seed in 0..30 {
        // Half of them in one long epoch, in which what one run left behind meets the next.
        let script = if seed % 2 == 0 { Script::always(Answer::Taken) } else { Script::random(seed) };
        let world = World::new(SourceClass::Replay, script);
        holds(&world, &Server::new(&world, seed, 4)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_each_await() {
    let mut polls = 1;
    loop {
        let world = World::new(SourceClass::Replay, Script::first([Answer::Taken, Answer::Taken, Answer::Lost]));
        let server = Server::new(&world, 0, 0);
        let source = source(&world, &server);
        let ownership = world.lane.own(0);
        let stop = Stop::default();
        let keep =
            keep_running(source.clone(), ownership.clone(), world.push.clone(), world.health.clone(), stop.clone());
        let was_cut = tokio::select! {
            _ = CutAfter::new(keep, polls) => true,
            () = until("all arrived", || server.all_arrived()) => false,
        };
        ownership.revoked.cancel();
        holds(&world, &server).await;
        if !was_cut {
            break;
        }
        polls += 1;
    }
    assert!(polls > 30, "only {polls} awaits were tried");
}

/// The next input must not carry the position past one that the blob store did not take.
#[tokio::test(start_paused = true)]
async fn nothing_overtakes_an_input_that_was_not_taken() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let server = Server::new(&world, 0, 0);
    world.break_blobs();
    let running = world.run(&source(&world, &server));
    until("is degraded", || world.health.all().get("i").is_some_and(|s| s.state == State::Degraded)).await;
    tokio::time::sleep(300 * SECOND).await;
    let so_far = arrivals(&server.inputs, &world.lane.records());
    assert!(so_far.iter().all(|one| !["b-3", "b-4", "b-9"].contains(&one.id.as_str())), "{so_far:?}");
    assert!(world.tally().returned > 0);
    world.mend_blobs();
    until("all arrived", || server.all_arrived()).await;
    assert_eq!(world.health.all()["i"].state, State::Running);
    running.stop(SECOND).await;
    judge(&server.inputs, &world.lane.records(), Repeats::Never);
}

#[tokio::test(start_paused = true)]
async fn ownership_comes_and_goes() {
    for seed in 0..25 {
        let world = World::new(SourceClass::Replay, Script::random(seed));
        let server = Server::new(&world, seed, 2);
        let source = source(&world, &server);
        let dice = Dice::new(seed + 1000);
        let mut running = world.run(&source);
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(dice.roll(1000))).await;
            if dice.one_in(2) {
                world.lane.cut();
                continue;
            }
            running.stop.please.cancel();
            running.ownership.revoked.cancel();
            if dice.one_in(2) {
                running.stop.now.cancel();
            }
            running = world.run(&source);
        }
        until("all arrived", || server.all_arrived()).await;
        running.stop(SECOND).await;
        judge(&server.inputs, &world.lane.records(), Repeats::Never);
    }
}
