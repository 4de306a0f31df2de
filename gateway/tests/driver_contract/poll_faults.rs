//! Poll sources that misbehave: they fail, panic, repeat themselves, lose the position.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_sdk::{SourceClass, Start};
use inlet::delivery::memory::{Answer, Script};
use inlet::intake::health::State;

use crate::judge::{How, Repeats, arrivals, came, judge};
use crate::poll::{Fault, Feed, Positions, source};
use crate::world::{Dice, World, until};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_at_random_loses_nothing() {
    for seed in 0..25 {
        let dice = Dice::new(seed);
        let world = World::new(SourceClass::Replay, Script::random(seed));
        let feed = Feed::new(&world.lane, Positions::Some).failing(move |_, _| match dice.roll(10) {
            0 | 1 => Fault::Retry,
            2 => Fault::Panic,
            3 => Fault::Broken,
            4 => Fault::Unauthorised,
            5 => Fault::Tease,
            _ => Fault::None,
        });
        let feed = Arc::new(feed);
        let running = world.run(&source(&world, &feed));
        until("all arrived", || feed.all_arrived()).await;
        running.stop(SECOND).await;
        judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
        assert_eq!(world.tally().in_flight(), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_again_keeps_its_ids() {
    for seed in 0..30 {
        let dice = Dice::new(seed);
        let world = World::new(SourceClass::Replay, Script::random(seed));
        let feed = Feed::new(&world.lane, Positions::Each).failing(move |_, _| match dice.roll(3) {
            0 => Fault::Repeat(usize::try_from(dice.roll(12)).unwrap()),
            _ => Fault::None,
        });
        let feed = Arc::new(feed);
        let running = world.run(&source(&world, &feed));
        until("all arrived", || feed.all_arrived()).await;
        running.stop(SECOND).await;
        judge(&feed.inputs(), &world.lane.records(), Repeats::Allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_does_not_stop_the_others() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = mended.clone();
    let feed = Feed::new(&world.lane, Positions::Each).failing(move |stream, _| match stream {
        "a" if !is_mended.load(Ordering::Relaxed) => Fault::Broken,
        _ => Fault::None,
    });
    let feed = Arc::new(feed);
    let running = world.run(&source(&world, &feed));
    let of_b: Vec<_> = feed.inputs().into_iter().filter(|input| input.stream == "b").collect();
    until("b has arrived", || came(&feed.inputs(), &world.lane.records()).are_safe(&of_b)).await;
    let status = world.health.all()["i"].clone();
    assert_eq!(status.state, State::Degraded);
    assert!(status.reason.contains("a: scripted breakage"), "{}", status.reason);
    mended.store(true, Ordering::Relaxed);
    until("all arrived", || feed.all_arrived()).await;
    until("is well", || world.health.all()["i"].state == State::Running).await;
    running.stop(SECOND).await;
    judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
}

/// What is read again is marked, to its end and not beyond, also across a restart in the middle of it.
#[tokio::test(start_paused = true)]
async fn d3_a_lost_position_is_read_again_and_marked() {
    for restart in [false, true] {
        let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
        let (lost, held) = (AtomicBool::new(false), Arc::new(AtomicBool::new(restart)));
        let is_held = held.clone();
        let feed = Feed::new(&world.lane, Positions::Some).failing(move |stream, from| match (stream, from) {
            ("a", 60) if !lost.swap(true, Ordering::Relaxed) => Fault::Lost,
            // In the middle of what is read again.
            ("a", 28) if lost.load(Ordering::Relaxed) && is_held.load(Ordering::Relaxed) => Fault::Retry,
            _ => Fault::None,
        });
        let feed = Arc::new(feed);
        let source = source(&world, &feed);
        let mut running = world.run(&source);
        let resynced = || {
            let arrivals = arrivals(&feed.inputs(), &world.lane.records());
            arrivals.iter().filter(|one| matches!(one.how, How::Event { resync: true, .. })).count()
        };
        if restart {
            until("some are read again", || resynced() > 0).await;
            assert!(running.stop(SECOND).await);
            held.store(false, Ordering::Relaxed);
            running = world.run(&source);
        }
        let events_of_a = arrivals_of_a(&feed);
        until("all are read again", || resynced() == events_of_a).await;
        // New input after that is not marked.
        tokio::time::sleep(10 * SECOND).await;
        let more = crate::inputs::stream("a", 70);
        feed.streams.lock().unwrap().insert("a".to_owned(), more);
        until("all arrived", || feed.all_arrived()).await;
        running.stop(SECOND).await;
        assert_eq!(resynced(), events_of_a);
        judge(&feed.inputs(), &world.lane.records(), Repeats::Allowed);
    }
}

/// How many events stream `a` gives.
fn arrivals_of_a(feed: &Feed) -> usize {
    use crate::inputs::Verb;
    let events = |verb| match verb {
        Verb::Ok => 1,
        Verb::Two => 2,
        _ => 0,
    };
    feed.inputs().iter().filter(|input| input.stream == "a").map(|input| events(input.verb)).sum()
}

#[tokio::test(start_paused = true)]
async fn a_position_lost_again_and_again_is_not_read_again_without_end() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let feed = Feed::new(&world.lane, Positions::Each)
        .failing(|stream, from| if stream == "a" && from >= 14 { Fault::Lost } else { Fault::None });
    let feed = Arc::new(Feed { interval: 300 * SECOND, ..feed });
    let running = world.run(&source(&world, &feed));
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    let begun = feed.log.lock().unwrap().begun;
    assert!((5..30).contains(&begun), "begun {begun} times in a day");
    assert!(world.lane.records().len() < 1000);
    let status = world.health.all()["i"].clone();
    assert!(status.state == State::Degraded && status.reason.contains("again and again"), "{status:?}");
    running.stop(SECOND).await;
}

/// A page without end, and one whose position stands still: asked at the source's own pace, not in a loop.
#[tokio::test(start_paused = true)]
async fn a_source_that_stands_still_is_not_asked_without_pause() {
    let stills: [fn() -> Fault; 2] = [|| Fault::Tease, || Fault::Still];
    for still in stills {
        let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
        let feed = Feed::new(&world.lane, Positions::Page)
            .failing(move |_, from| if from > 0 { still() } else { Fault::None });
        let feed = Arc::new(feed);
        let running = world.run(&source(&world, &feed));
        tokio::time::sleep(Duration::from_secs(600)).await;
        let questions = feed.log.lock().unwrap().questions;
        assert!(questions < 2000, "{questions} questions in ten minutes");
        running.stop(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn history_is_left_alone_unless_it_is_asked_for() {
    let world = World::starting(SourceClass::Replay, Start::Now, Script::outage(3));
    let feed = Feed { from_beginning: false, ..Feed::new(&world.lane, Positions::Each) };
    let feed = Arc::new(feed);
    let running = world.run(&source(&world, &feed));
    tokio::time::sleep(60 * SECOND).await;
    assert!(world.lane.records().is_empty());
    let mut longer = crate::inputs::stream("b", 30);
    feed.streams.lock().unwrap().insert("b".to_owned(), longer.clone());
    let new = longer.split_off(25);
    until("the new ones arrived", || came(&feed.inputs(), &world.lane.records()).are_safe(&new)).await;
    running.stop(SECOND).await;
    judge(&new, &world.lane.records(), Repeats::Never);
}

/// A blob store that is away holds the source at the input that needs it; nothing overtakes.
#[tokio::test(start_paused = true)]
async fn without_a_blob_store_the_source_waits() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let feed = Feed::new(&world.lane, Positions::Each);
    feed.streams.lock().unwrap().insert("c".to_owned(), crate::inputs::stream_with_blobs("c", 20));
    let feed = Arc::new(feed);
    world.break_blobs();
    let running = world.run(&source(&world, &feed));
    tokio::time::sleep(300 * SECOND).await;
    let so_far = arrivals(&feed.inputs(), &world.lane.records());
    assert!(
        so_far.iter().all(|one| !["c-3", "c-4", "c-5"].contains(&one.id.as_str())),
        "the position passed an input that was not taken"
    );
    assert_eq!(world.health.all()["i"].state, State::Degraded);
    world.mend_blobs();
    until("all arrived", || feed.all_arrived()).await;
    running.stop(SECOND).await;
    judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
}
