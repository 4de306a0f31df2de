//! An owner is frozen beyond its session and then goes on: what it had open is fenced, nothing doubles, and consumers of
//! everything else hardly notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use inlet_tests::consume::Committed;
use inlet_tests::wait;

use super::book::{Book, now};
use super::report::Report;
use super::world::World;
use super::{read, scene};
use crate::ledger::{Class, Millis};

/// Well beyond the owners' session and the transaction's time-out.
const FROZEN: Duration = Duration::from_secs(30);
/// Load before it and after it.
const AROUND: Duration = Duration::from_secs(10);
const BATCH: usize = 500;
const LIMIT: Duration = Duration::from_secs(180);

/// The report, and the longest that an input not answered by the frozen gateway was safe (or in its mailbox) before a
/// read_committed consumer saw it.
pub fn run(seed: u64) -> Result<(Report, Duration)> {
    let mut worst = None;
    let mut report = scene(seed, |world, book| {
        worst = Some(freeze(world, book)?);
        Ok(())
    })?;
    let lag = worst.context("it was measured")?;
    report.story = format!(
        "an owner frozen for {} s; visible lag of all others at most {:.1} s",
        FROZEN.as_secs(),
        lag.as_secs_f64()
    );
    Ok((report, lag))
}

fn freeze(world: &mut World, book: &Book) -> Result<Duration> {
    let watcher = Watcher::start(world)?;
    pass(AROUND)?;
    let (number, disturbed) = (book.freeze(), book.disturb());
    world.gateways[0].process()?.pause();
    pass(FROZEN)?;
    world.gateways[0].process()?.resume();
    book.thaw(number);
    book.calm(disturbed, 0);
    pass(AROUND)?;
    watcher.worst(book, 0)
}

fn pass(span: Duration) -> Result<()> {
    let begun = std::time::Instant::now();
    wait::until_true(span * 2, "time to pass", || begun.elapsed() >= span)
}

/// Notes when each input is seen first.
struct Watcher {
    stop: Arc<AtomicBool>,
    task: std::thread::JoinHandle<Result<HashMap<String, Millis>>>,
}

impl Watcher {
    fn start(world: &World) -> Result<Self> {
        let mut events = Committed::open(&world.kafka.bootstrap(), &world.config.events(), LIMIT)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = std::thread::spawn(move || {
            let mut seen = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                for copy in events.next(BATCH)?.iter().filter_map(read::event) {
                    seen.entry(copy.id).or_insert_with(now);
                }
            }
            Ok(seen)
        });
        Ok(Self { stop, task })
    }

    /// What is safe and was not seen yet lags until now.
    fn worst(self, book: &Book, frozen: usize) -> Result<Duration> {
        let end = now();
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.task.join().map_err(|_| anyhow!("the watcher panicked"))??;
        let ledger = book.ledger();
        let lags = ledger.obligations().filter_map(|(id, entry)| {
            let safe_at = match entry.input.class {
                Class::Push => {
                    entry.accepted_by().filter(|a| a.replica != frozen).and_then(|a| a.end).map(|(at, _)| at)
                }
                Class::Replay => book.owed_at(id),
                Class::Live => None,
            }?;
            Some(seen.get(id).copied().unwrap_or(end) - safe_at)
        });
        let worst = lags.max().context("nothing was measured")?;
        Ok(Duration::from_millis(u64::try_from(worst).unwrap_or(0)))
    }
}
