//! One run against real servers: three brokers behind proxies, two gateways, a mailbox server, a PBX, webhooks and forms;
//! processes are killed and frozen, links cut and slowed, and the judge says what came of it.
//!
//! * A conversation keeps to one gateway, as with a sticky load balancer; when that one does not answer, the provider may
//!   go over to the other, and the conversation stays there. D5 promises an order among what one gateway took.
//! * A frame of the PBX is owed when the connection that heard it lived on for [`load::calls::TAKEN_AFTER`], no gateway
//!   being frozen meanwhile. What a cut connection was handing over is told by `connector.gap`, not by an obligation.

pub mod book;
pub mod faults;
pub mod load;
mod read;
mod report;
pub mod world;

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
const TOPIC_LIMIT: Duration = Duration::from_secs(60);

/// What a run is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// kill -9 of a gateway, so often.
    pub kills: usize,
    pub seed: u64,
}

/// Runs, waits and judges.
pub fn run(options: Options) -> Result<Report> {
    let begun = Instant::now();
    let mut world = World::start()?;
    let book = Arc::new(Book::default());
    let load = Load::start(&world.view(), &book, options.seed)?;
    let mut faults = Faults::new(options.seed, options.kills);
    let disturbed = faults.run(&mut world, &book);
    if disturbed.is_err() {
        load.give_up();
    }
    let finished = load.finish();
    disturbed.context("breaking things")?;
    finished?;
    let mut seen = Seen::open(&world)?;
    let liveness = seen.await_all(&book);
    let quiet = seen.await_quiet();
    let verdict = seen.judge(&book);
    let gateways = world.say_goodbye();
    liveness.or_else(|error| if verdict.lost.is_empty() { Err(error) } else { Ok(()) })?;
    quiet?;
    Ok(Report {
        options,
        verdict,
        sums: book.sums(),
        faults: faults.counts(),
        seen: seen.sums(),
        gateways,
        took: begun.elapsed(),
    })
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
        judge(&book.ledger(), &self.copies(book), Rules::default())
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
        let kind = |name: &str| self.events.records.iter().filter(|r| read::kind(r).as_deref() == Some(name)).count();
        report::SeenSums {
            events: self.events.records.len(),
            letters: self.letters.records.len(),
            gaps: kind("connector.gap"),
            health: kind("connector.health"),
        }
    }
}
