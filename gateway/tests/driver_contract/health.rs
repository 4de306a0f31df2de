//! What operators are told: the worst of an instance's parts, once, and when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connector_sdk::schemas::{Event, Timestamp};
use connector_sdk::{Intake, IntakeError, Io, Session, SessionCx, Shape, SourceClass, StreamId, Upkeep, async_trait};
use inlet::delivery::memory::{Answer, MemoryPublisher, Script};
use inlet::intake::health::{Health, State};
use inlet::intake::push::PushLine;
use inlet::intake::sources::{Source, SourceIntake};

use crate::poll::{Fault, Feed, Positions, source};
use crate::world::{World, io, until};

const SECOND: Duration = Duration::from_secs(1);

/// A world whose notices can be read.
fn world(script: Script) -> (World, Arc<MemoryPublisher>) {
    let mut world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let notices = Arc::new(MemoryPublisher::new(script));
    world.health = Health::new(PushLine { publisher: notices.clone(), ..world.push.clone() });
    (world, notices)
}

fn told(notices: &MemoryPublisher) -> Vec<String> {
    let notice = |value: &[u8]| serde_json::from_slice::<Event>(value).unwrap().notice.expect("a notice").state;
    notices.records().iter().map(|record| notice(&record.value)).collect()
}

fn parts(notices: &MemoryPublisher) -> Vec<Option<String>> {
    let part = |value: &[u8]| serde_json::from_slice::<Event>(value).unwrap().notice.expect("a notice").part;
    notices.records().iter().map(|record| part(&record.value)).collect()
}

fn state(world: &World) -> State {
    world.health.all()["i"].state
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_as_well_as_its_worst_part() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let of = |shape| world.health.of(&world.instance, shape);
    of(Shape::Upkeep).set(State::Standby, "", "");
    of(Shape::Webhook).set(State::Running, "", "");
    assert_eq!(state(&world), State::Running, "another replica has the upkeep; this one takes webhooks");
    of(Shape::Upkeep).set(State::Stopped, "the token was withdrawn", "renew it");
    of(Shape::Webhook).set(State::Running, "", "");
    assert_eq!(state(&world), State::Stopped);
    let (a, b) = (StreamId::new("a"), StreamId::new("b"));
    of(Shape::Upkeep).set(State::Running, "", "");
    of(Shape::Session).stream(&a, "is missing", "");
    of(Shape::Session).stream(&b, "is full", "");
    of(Shape::Session).stream(&b, "", "");
    of(Shape::Session).set(State::Running, "", "");
    assert_eq!((state(&world), world.health.all()["i"].reason.as_str()), (State::Degraded, "a: is missing"));
    of(Shape::Session).stream(&a, "", "");
    assert_eq!(state(&world), State::Running);
    until("told", || notices.records().len() >= 6).await;
    assert_eq!(told(&notices), ["stopped", "running", "degraded", "degraded", "running", "running"]);
    assert_eq!(parts(&notices), [None, None, Some("a"), Some("b"), Some("b"), Some("a")].map(|p| p.map(str::to_owned)));
}

/// D10: a trouble that a reconnect finds again is no news; one that it does not find is over after a while.
#[tokio::test(start_paused = true)]
async fn d10_a_reconnect_is_no_news() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let reporter = world.health.of(&world.instance, Shape::Session);
    let folder = StreamId::new("Archive");
    for _ in 0..5 {
        reporter.set(State::Running, "", "");
        reporter.stream(&folder, "does not exist", "create it");
        tokio::time::sleep(30 * SECOND).await;
        reporter.forget_streams();
        reporter.set(State::Degraded, "connection lost", "");
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(told(&notices), ["degraded"]);
    reporter.set(State::Running, "", "");
    until("it is over", || notices.records().len() >= 2).await;
    assert_eq!(told(&notices), ["degraded", "running"]);
    assert_eq!(parts(&notices), [Some("Archive".to_owned()), Some("Archive".to_owned())]);
    assert!(world.health.all()["i"].troubles.is_empty());
}

/// D10: what passes by itself is told when it does not pass.
#[tokio::test(start_paused = true)]
async fn d10_a_fault_that_lasts_is_told_once() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let reporter = world.health.of(&world.instance, Shape::Poll);
    for _ in 0..60 {
        reporter.set(State::Degraded, "connection refused", "tried again by itself");
        tokio::time::sleep(60 * SECOND).await;
    }
    assert_eq!(told(&notices), ["degraded"]);
    assert_eq!(world.health.all()["i"].troubles.len(), 1);
    reporter.set(State::Running, "", "");
    until("told", || notices.records().len() >= 2).await;
    assert_eq!(told(&notices), ["degraded", "running"]);
}

/// D10: the head of the mailbox against the cursor.
#[tokio::test(start_paused = true)]
async fn d10_a_stream_that_stays_behind_raises_an_event_and_a_metric() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let reporter = world.health.of(&world.instance, Shape::Session);
    reporter.set(State::Running, "", "");
    let inbox = StreamId::new("INBOX");
    let says = async |behind: u64, times: usize| {
        for _ in 0..times {
            reporter.lag(&inbox, behind);
            tokio::time::sleep(60 * SECOND).await;
        }
    };
    says(5000, 3).await;
    says(10, 1).await;
    says(5000, 4).await;
    assert!(told(&notices).is_empty(), "a burst that is read away is no alarm");
    says(5001, 4).await;
    assert_eq!((told(&notices), parts(&notices)), (vec!["degraded".to_owned()], vec![Some("INBOX".to_owned())]));
    assert!(world.health.all()["i"].reason.contains("5001 items behind"), "{:?}", world.health.all());
    let metrics = world.metrics.render();
    assert!(metrics.contains("inlet_source_lag{instance=\"i\",connector=\"fake\",detail=\"INBOX\"} 5001"), "{metrics}");
    assert!(metrics.contains("inlet_instance_troubles{instance=\"i\",connector=\"fake\"} 1"), "{metrics}");
    says(0, 1).await;
    until("told", || notices.records().len() >= 2).await;
    assert_eq!(told(&notices), ["degraded", "running"]);
}

/// Tried again every minute, told once.
#[tokio::test(start_paused = true)]
async fn d10_a_source_that_stays_broken_is_told_once() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let feed = Feed::new(&world.lane, Positions::Each).failing(|_, _| Fault::Unauthorised);
    let running = world.run(&source(&world, &Arc::new(feed)));
    tokio::time::sleep(3600 * SECOND).await;
    assert_eq!(state(&world), State::Stopped);
    assert_eq!(told(&notices), ["stopped"]);
    assert!(world.metrics.render().contains("inlet_instance_running{instance=\"i\",connector=\"fake\"} 0"));
    running.stop(SECOND).await;
    until("told", || notices.records().len() >= 2).await;
    // It is no longer this replica's to say.
    assert_eq!(told(&notices), ["stopped", "standby"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_degrades_one_instance_and_passes() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let asked = AtomicUsize::new(0);
    let feed = Feed::new(&world.lane, Positions::Each).failing(move |_, from| {
        // Often enough that the pauses grow long.
        let panics = from == 14 && asked.fetch_add(1, Ordering::Relaxed) < 8;
        if panics { Fault::Panic } else { Fault::None }
    });
    let feed = Arc::new(feed);
    let running = world.run(&source(&world, &feed));
    until("is degraded", || world.health.all().get("i").is_some_and(|s| s.state == State::Degraded)).await;
    let status = world.health.all()["i"].clone();
    assert!(status.reason.contains("panicked") && !status.reason.contains("scripted"), "{status:?}");
    until("all arrived", || feed.all_arrived()).await;
    until("is well", || state(&world) == State::Running).await;
    running.stop(SECOND).await;
    assert!(told(&notices).is_empty());
}

/// Events wait for Kafka, in their order.
#[tokio::test(start_paused = true)]
async fn notices_wait_for_kafka() {
    let (world, notices) = world(Script::outage(50));
    let reporter = world.health.of(&world.instance, Shape::Session);
    let at = |second| Timestamp::from_unix_seconds(second).unwrap();
    reporter.set(State::Stopped, "bad token", "renew it");
    reporter.gap(at(1), at(2), "lost");
    reporter.set(State::Running, "", "");
    until("told", || notices.records().len() >= 3).await;
    assert_eq!(told(&notices), ["stopped", "gap", "running"]);
}

/// A connection that is lost: one gap, from then until it is watched again.
struct Flaky {
    runs: usize,
}

#[async_trait]
impl Session for Flaky {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        self.runs += 1;
        match self.runs {
            1 => {
                cx.connected().await;
                Err(IntakeError::retry("the line was cut"))
            }
            // Not to be had for a while.
            2..5 => Err(IntakeError::retry("connection refused")),
            _ => {
                cx.connected().await;
                cx.stopping().cancelled().await;
                Ok(())
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d10_a_lost_connection_is_one_gap() {
    let (world, notices) = world(Script::always(Answer::Taken));
    let session = Intake::Session(Box::new(Flaky { runs: 0 }));
    let mut instance = crate::world::instance("i", SourceClass::Ephemeral, Default::default(), &world.metrics);
    instance.source = SourceClass::Ephemeral;
    let source = Source::new(Arc::new(instance), io(), SourceIntake::Intake(session));
    let running = world.run(&source);
    until("is well", || notices.records().len() == 1 && state(&world) == State::Running).await;
    running.stop(SECOND).await;
    let records = notices.records();
    let event: Event = serde_json::from_slice(&records[0].value).unwrap();
    let notice = event.notice.unwrap();
    assert_eq!((records.len(), notice.state.as_str(), notice.reason.as_str()), (1, "gap", "the line was cut"));
    assert!(notice.from.is_some() && notice.to.is_some());
}

struct FailingUpkeep;

#[async_trait]
impl Upkeep for FailingUpkeep {
    async fn keep(&mut self, _: &Io) -> Result<Duration, IntakeError> {
        Err(IntakeError::Broken("the subscription is gone".into()))
    }
}

/// The webhook goes on, and operators hear that its subscription does not.
#[tokio::test(start_paused = true)]
async fn d10_a_broken_upkeep_shows_beside_a_running_webhook() {
    let (world, notices) = world(Script::always(Answer::Taken));
    world.health.of(&world.instance, Shape::Webhook).set(State::Running, "", "");
    let source = Source::new(world.instance.clone(), io(), SourceIntake::Upkeep(Box::new(FailingUpkeep)));
    let running = world.run(&source);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(world.health.all()["i"].reason, "the subscription is gone");
    assert_eq!(told(&notices), ["stopped"]);
    running.stop(SECOND).await;
    assert_eq!(state(&world), State::Running);
}
