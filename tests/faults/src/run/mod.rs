//! One run against real servers: three brokers behind proxies, two gateways, a mailbox server, a PBX, webhooks and forms;
//! processes are killed and frozen, links cut and slowed, and the judge says what came of it.
//!
//! * A conversation keeps to one gateway, as with a sticky load balancer; when that one does not answer, the provider may
//!   go over to the other, and the conversation stays there. D5 promises an order among what one gateway took.
//! * Replicas tell each other by way of Kafka what they have answered. Where that way is cut, a redelivery at another replica
//!   cannot be recognised: D4's time begins anew when both are connected again (the book notes when they were not).
//! * A frame of the PBX is owed when the connection that heard it lived on for [`load::calls::TAKEN_AFTER`], no gateway
//!   being frozen meanwhile. What a cut connection was handing over is told by `connector.gap`, not by an obligation.

pub mod book;
pub mod faults;
pub mod frozen;
pub mod load;
pub mod outage;
mod read;
mod report;
pub mod rolling;
pub mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use inlet_tests::consume::{Committed, Record};
use inlet_tests::wait;

use crate::judge::{Copy, Rules, Verdict, judge};
use book::Book;
use faults::Faults;
use load::Load;
pub use report::Report;
use world::World;

/// From the end of the faults until everything owed is on Kafka.
const LIVENESS: Duration = Duration::from_secs(300);
/// Then so long nothing more may come: a spool that still drains, a late copy.
const QUIET: Duration = Duration::from_secs(6);
/// Environment variable: a folder for the gateways' logs.
const KEEP_LOGS: &str = "INLET_FAULTS_LOGS";
const TOPIC_LIMIT: Duration = Duration::from_secs(60);

/// Random faults from a seed, until so many gateways were killed.
pub fn run(seed: u64, kills: usize) -> Result<Report> {
    let mut faults = Faults::new(seed, kills);
    let mut report = scene(seed, |world, book| faults.run(world, book))?;
    report.kills = faults.counts().kills;
    report.story = faults.counts().to_string();
    Ok(report)
}

/// Starts everything, lets `act` happen under load, waits for what is owed, and judges.
pub fn scene(seed: u64, act: impl FnOnce(&mut World, &Book) -> Result<()>) -> Result<Report> {
    let begun = Instant::now();
    let mut world = World::start()?;
    let book = Arc::new(Book::default());
    let load = Load::start(&world.view(), &book, seed)?;
    let acted = act(&mut world, &book);
    if acted.is_err() {
        load.give_up();
    }
    let finished = load.finish();
    acted.context("while things were broken")?;
    finished?;
    let mut seen = Seen::open(&world)?;
    let liveness = seen.await_all(&book);
    let quiet = seen.await_quiet();
    let verdict = seen.judge(&book);
    let goodbyes = world.say_goodbye();
    if let Some(folder) = std::env::var_os(KEEP_LOGS) {
        world.keep_logs(folder.as_ref())?;
    }
    // What is missing is the verdict's to say.
    liveness.or_else(|error| if verdict.lost.is_empty() { Err(error) } else { Ok(()) })?;
    quiet?;
    let (sums, seen, took) = (book.sums(), seen.sums(), begun.elapsed());
    Ok(Report { seed, verdict, sums, story: String::new(), kills: 0, seen, goodbyes, took })
}

/// What a read_committed consumer has seen so far.
struct Seen {
    events: Committed,
    letters: Committed,
}

impl Seen {
    fn open(world: &World) -> Result<Self> {
        let open = |topic: &str| Committed::open(&world.kafka.bootstrap(), topic, TOPIC_LIMIT);
        Ok(Self { events: open(&world.config.events())?, letters: open(&world.config.dead_letters())? })
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.events.records.iter().chain(&self.letters.records)
    }

    fn copies(&self, book: &Book) -> Vec<Copy> {
        let events = self.events.records.iter().filter_map(read::event);
        let letters = self.letters.records.iter().map(|record| read::letter(record, &book.bodies()));
        events.chain(letters).collect()
    }

    fn judge(&self, book: &Book) -> Verdict {
        let rules = Rules { disturbed: book.disturbed(), ..Rules::default() };
        judge(&book.ledger(), &self.copies(book), &rules)
    }

    fn await_all(&mut self, book: &Book) -> Result<()> {
        wait::until(LIVENESS, "everything owed to be on Kafka", || {
            self.events.drain()?;
            self.letters.drain()?;
            let lost = self.judge(book).lost;
            let examples = &lost[..lost.len().min(5)];
            ensure!(lost.is_empty(), "{} are missing, such as {}", lost.len(), examples.join(", "));
            Ok(Some(()))
        })
    }

    fn await_quiet(&mut self) -> Result<()> {
        let (mut count, mut since) = (0, Instant::now());
        wait::until(LIVENESS, "nothing more to come", || {
            self.events.drain()?;
            self.letters.drain()?;
            let now = self.records().filter(|record| !read::is_own(record)).count();
            if std::mem::replace(&mut count, now) != now {
                since = Instant::now();
            }
            Ok((since.elapsed() >= QUIET).then_some(()))
        })
    }

    fn sums(&self) -> report::SeenSums {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for record in &self.events.records {
            *kinds.entry(read::kind(record).unwrap_or_default()).or_default() += 1;
        }
        report::SeenSums { kinds, letters: self.letters.records.len() }
    }
}
