//! Poll sources: exactly once, whatever Kafka answers and wherever the driver is cut off.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::{Cursor, Intake, IntakeError, Io, Item, Page, Poll, SourceClass, Start, StreamId, async_trait};
use inlet::delivery::memory::{Answer, MemoryLane, Script};
use inlet::intake::sources::{Source, Stop, keep_running};

use crate::cut::CutAfter;
use crate::inputs::{Input, Verb, stream};
use crate::judge::{Repeats, came, judge};
use crate::world::{Dice, World, until};

const PAGE: usize = 7;
const SECOND: Duration = Duration::from_secs(1);

/// Where a page puts the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Behind each item.
    Each,
    /// Behind the page alone.
    Page,
    /// Behind every third item, and behind the page.
    Some,
}

/// From stream and number of the question to what goes wrong.
pub type Decision = Box<dyn Fn(&str, usize) -> Fault + Send + Sync>;

/// What the provider holds, and how it misbehaves.
pub struct Feed {
    pub streams: Mutex<BTreeMap<String, Vec<Input>>>,
    pub positions: Positions,
    pub log: Mutex<Log>,
    /// Decides about each question.
    pub fault: Decision,
    /// What is committed is looked up here with each question.
    pub lane: MemoryLane,
    /// History that was never asked for is not looked for.
    pub from_beginning: bool,
    pub interval: Duration,
}

#[derive(Default)]
pub struct Log {
    /// Inputs that were acknowledged before they were safe.
    pub broken_promises: Vec<Input>,
    pub questions: usize,
    pub begun: usize,
}

pub enum Fault {
    None,
    Retry,
    Broken,
    Unauthorised,
    Lost,
    Panic,
    /// Gives items from before the position again.
    Repeat(usize),
    /// Says that more waits, and gives nothing.
    Tease,
    /// Gives items and no position.
    Still,
}

impl Feed {
    pub fn new(lane: &MemoryLane, positions: Positions) -> Self {
        Self {
            streams: Mutex::new([("a", 60), ("b", 25)].map(|(name, n)| (name.to_owned(), stream(name, n))).into()),
            positions,
            log: Mutex::default(),
            fault: Box::new(|_, _| Fault::None),
            lane: lane.clone(),
            from_beginning: true,
            interval: SECOND,
        }
    }

    pub fn failing(self, fault: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> Self {
        Self { fault: Box::new(fault), ..self }
    }

    pub fn inputs(&self) -> Vec<Input> {
        self.streams.lock().unwrap().values().flatten().cloned().collect()
    }

    pub fn all_arrived(&self) -> bool {
        let inputs = self.inputs();
        assert_eq!(self.log.lock().unwrap().broken_promises, [], "acknowledged before they were safe");
        came(&inputs, &self.lane.records()).are_safe(&inputs)
    }

    /// What lies before a position that is asked from must be safe.
    fn bear_witness(&self, before: &[Input]) {
        let committed = came(&self.inputs(), &self.lane.records());
        let unsafe_one = before.iter().find(|input| !committed.is_safe(input));
        if let Some(input) = unsafe_one {
            self.log.lock().unwrap().broken_promises.push(input.clone());
        }
    }

    fn page(&self, items: &[Input], from: usize) -> Page {
        let mut page = Page { more: from + PAGE < items.len(), ..Page::default() };
        for (number, input) in items.iter().enumerate().skip(from).take(PAGE) {
            let is_behind = match self.positions {
                Positions::Each => true,
                Positions::Page => false,
                Positions::Some => number % 3 == 0,
            };
            let cursor_after = is_behind.then(|| Cursor((number + 1).into()));
            page.items.push(Item { raw: input.raw(), cursor_after });
        }
        let end = (from + PAGE).min(items.len());
        if self.positions != Positions::Each && end > from {
            page.cursor = Some(Cursor(end.into()));
        }
        page
    }
}

pub struct FakePoll(pub Arc<Feed>);

#[async_trait]
impl Poll for FakePoll {
    async fn streams(&mut self, _: &Io) -> Result<Vec<StreamId>, IntakeError> {
        tokio::task::yield_now().await;
        Ok(self.0.streams.lock().unwrap().keys().map(StreamId::new).collect())
    }

    async fn begin(&mut self, stream: &StreamId, start: &Start, _: &Io) -> Result<Cursor, IntakeError> {
        tokio::task::yield_now().await;
        self.0.log.lock().unwrap().begun += 1;
        let length = self.0.streams.lock().unwrap()[&stream.0].len();
        Ok(Cursor(if *start == Start::Now { length } else { 0 }.into()))
    }

    async fn poll(&mut self, stream: &StreamId, cursor: &Cursor, _: &Io) -> Result<Page, IntakeError> {
        tokio::task::yield_now().await;
        let from = usize::try_from(cursor.0.as_u64().expect("a position as it was given")).expect("fits");
        let feed = &self.0;
        feed.log.lock().unwrap().questions += 1;
        let items = feed.streams.lock().unwrap()[&stream.0].clone();
        if feed.from_beginning {
            feed.bear_witness(&items[..from]);
        }
        match (feed.fault)(&stream.0, from) {
            Fault::None => Ok(feed.page(&items, from)),
            Fault::Retry => Err(IntakeError::retry("scripted fault")),
            Fault::Broken => Err(IntakeError::Broken("scripted breakage".into())),
            Fault::Unauthorised => Err(IntakeError::Unauthorised("scripted refusal".into())),
            Fault::Lost => Err(IntakeError::CursorLost("scripted loss".into())),
            Fault::Panic => panic!("scripted panic in poll"),
            Fault::Repeat(back) => Ok(feed.page(&items, from.saturating_sub(back))),
            Fault::Still => {
                let mut page = feed.page(&items, from);
                page.cursor = None;
                page.items.iter_mut().for_each(|item| item.cursor_after = None);
                Ok(page)
            }
            Fault::Tease => Ok(Page { more: true, ..Page::default() }),
        }
    }

    fn interval(&self) -> Duration {
        self.0.interval
    }
}

pub fn source(world: &World, feed: &Arc<Feed>) -> Source {
    world.source(Intake::Poll(Box::new(FakePoll(feed.clone()))))
}

fn scripts() -> Vec<Script> {
    let mut scripts = vec![
        Script::always(Answer::Taken),
        Script::always(Answer::Refused),
        Script::outage(9),
        Script::first([Answer::Taken, Answer::TakenUnheard, Answer::Lost, Answer::Refused]),
    ];
    scripts.extend((0..20).map(Script::random));
    scripts
}

#[tokio::test(start_paused = true)]
async fn exactly_once_whatever_kafka_answers() {
    for script in scripts() {
        for positions in [Positions::Each, Positions::Page, Positions::Some] {
            let world = World::new(SourceClass::Replay, script.clone());
            let feed = Arc::new(Feed::new(&world.lane, positions));
            let running = world.run(&source(&world, &feed));
            until("all arrived", || feed.all_arrived()).await;
            assert!(running.stop(SECOND).await);
            judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
            assert_eq!(world.tally().in_flight(), 0, "{script:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counts_say_what_became_of_each() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
    let feed = Arc::new(Feed::new(&world.lane, Positions::Each));
    let running = world.run(&source(&world, &feed));
    until("all settled", || world.tally().accepted == 85 && world.tally().in_flight() == 0).await;
    running.stop(SECOND).await;
    let of = |verbs: &[Verb]| feed.inputs().iter().filter(|input| verbs.contains(&input.verb)).count() as u64;
    let tally = world.tally();
    assert_eq!(tally.published, of(&[Verb::Ok, Verb::Two]));
    assert_eq!(tally.skipped, of(&[Verb::Skip]));
    assert_eq!(tally.dead_lettered, of(&[Verb::Bad, Verb::Panic, Verb::Silent, Verb::Worse]));
    assert_eq!(tally.returned, 0);
    let text = world.metrics.render();
    let bad = of(&[Verb::Bad]);
    assert!(
        text.contains(&format!(
            "inlet_items_dead_lettered_total{{instance=\"i\",connector=\"fake\",detail=\"bad\"}} {bad}"
        )),
        "{text}"
    );
    assert!(text.contains("detail=\"type of skip\""), "{text}");
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_each_await() {
    for positions in [Positions::Each, Positions::Page] {
        let mut polls = 1;
        loop {
            let world = World::new(SourceClass::Replay, Script::first([Answer::Taken, Answer::Lost]));
            let feed = Arc::new(Feed::new(&world.lane, positions));
            let source = source(&world, &feed);
            let ownership = world.lane.own(0);
            let keep = keep_running(
                source.clone(),
                ownership.clone(),
                world.push.clone(),
                world.health.clone(),
                Stop::default(),
            );
            let was_cut = tokio::select! {
                _ = CutAfter::new(keep, polls) => true,
                () = until("all arrived", || feed.all_arrived()) => false,
            };
            ownership.revoked.cancel();
            let again = world.run(&source);
            until("all arrived", || feed.all_arrived()).await;
            assert!(again.stop(SECOND).await);
            judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
            assert_eq!(world.tally().in_flight(), 0, "cut after {polls}");
            if !was_cut {
                break;
            }
            polls += 1;
        }
        assert!(polls > 30, "only {polls} awaits were tried");
    }
}

/// The epoch is cut and the shard is taken away and given back at random moments.
#[tokio::test(start_paused = true)]
async fn ownership_comes_and_goes() {
    for seed in 0..25 {
        let dice = Dice::new(seed);
        let world = World::new(SourceClass::Replay, Script::random(seed));
        let feed = Arc::new(Feed::new(&world.lane, Positions::Some));
        let source = source(&world, &feed);
        let mut running = world.run(&source);
        for _ in 0..30 {
            for _ in 0..dice.roll(40) {
                tokio::task::yield_now().await;
            }
            match dice.roll(4) {
                0 => {
                    running.stop.please.cancel();
                    running.stop.now.cancel();
                    running.ownership.revoked.cancel();
                    running = world.run(&source);
                }
                1 => world.lane.cut(),
                _ => tokio::time::sleep(Duration::from_millis(dice.roll(400))).await,
            }
        }
        until("all arrived", || feed.all_arrived()).await;
        running.stop(SECOND).await;
        judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
        assert_eq!(world.tally().in_flight(), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn d6_kafka_away_for_good_pauses_and_settles_nothing() {
    let world = World::new(SourceClass::Replay, Script::always(Answer::Lost));
    let feed = Arc::new(Feed::new(&world.lane, Positions::Each));
    let running = world.run(&source(&world, &feed));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(world.lane.records().is_empty());
    let (tally, questions) = (world.tally(), feed.log.lock().unwrap().questions);
    assert_eq!((tally.published, tally.dead_lettered, tally.skipped), (0, 0, 0));
    assert_eq!(questions, 0, "a position was never stored, so nothing may be asked");
    world.mend();
    until("all arrived", || feed.all_arrived()).await;
    running.stop(SECOND).await;
    judge(&feed.inputs(), &world.lane.records(), Repeats::Never);
}

/// Between two questions and in the middle of a page.
#[tokio::test(start_paused = true)]
async fn stops_within_its_bounds_and_settles_what_is_under_way() {
    for polls in 1..60 {
        let world = World::new(SourceClass::Replay, Script::always(Answer::Taken));
        let feed = Arc::new(Feed::new(&world.lane, Positions::Each));
        let running = world.run(&source(&world, &feed));
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
        assert!(running.stop(Duration::from_secs(4)).await, "after {polls}");
        assert_eq!((world.tally().in_flight(), world.tally().returned), (0, 0), "after {polls}");
    }
}
