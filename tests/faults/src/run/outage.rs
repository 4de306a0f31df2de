//! Kafka is stopped for minutes under a steady load: nearly everything is answered 2xx, all of it is on Kafka soon after
//! its return, and the gateway's memory stays what it was.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::runtime::{block_on, spawn};
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};

use super::book::Book;
use super::read;
use crate::judge::{Copy, Rules, Verdict, judge};
use crate::ledger::{Answer, Class};

/// Conversations, each with its next message after the answer to the one before.
const SENDERS: u64 = 250;
const PATIENCE: Duration = Duration::from_secs(10);
/// Load before the outage, after which the memory counts as usual, and after it.
const BEFORE: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(5);
/// Everything must be on Kafka so soon after its return.
const BACK_LIMIT: Duration = Duration::from_secs(300);
const TOPIC_LIMIT: Duration = Duration::from_secs(120);
const BATCH: usize = 5_000;
const SECRET: &str = "outage-secret";
const MESSAGE: &str = include_str!("load/message.json");
/// Bars.
const SAFE_SHARE: f64 = 0.999;
const RSS_GROWTH_KIB: u64 = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub away: Duration,
    /// Requests a second.
    pub rate: u64,
}

#[derive(Debug)]
pub struct Report {
    pub options: Options,
    pub sent: usize,
    pub safe: usize,
    /// Requests a second that there were during the outage.
    pub rate: f64,
    /// From Kafka's return until all was there.
    pub back: Duration,
    pub rss_before_kib: u64,
    pub rss_most_kib: u64,
    pub verdict: Verdict,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean()
            && self.safe as f64 >= SAFE_SHARE * self.sent as f64
            && self.back <= BACK_LIMIT
            && self.rss_growth_kib() <= RSS_GROWTH_KIB
    }

    pub fn rss_growth_kib(&self) -> u64 {
        self.rss_most_kib.saturating_sub(self.rss_before_kib)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, sent, safe, rate, back, rss_before_kib, rss_most_kib, verdict } = self;
        writeln!(f, "{verdict}")?;
        writeln!(
            f,
            "Kafka away for {} s under {rate:.0} requests/s (wanted {}); {sent} sent, {safe} answered 2xx; memory {} MiB \
             before, {} MiB at most",
            options.away.as_secs(),
            options.rate,
            rss_before_kib >> 10,
            rss_most_kib >> 10
        )?;
        let share = 100.0 * *safe as f64 / *sent as f64;
        write!(
            f,
            "safe={share:.3}% back={}s rss_growth={}MiB lost={} doubled={} reordered={}",
            back.as_secs(),
            self.rss_growth_kib() >> 10,
            verdict.lost.len(),
            verdict.doubled.len(),
            verdict.reordered.len()
        )
    }
}

pub fn run(options: Options) -> Result<Report> {
    let mut kafka = Kafka::one()?;
    let instances = format!("  chat:\n    connector: slack\n    options: {{ signing_secret: {SECRET} }}\n");
    let config = Config::new(&kafka, "outage", &instances).with("spool: { max_bytes: 16GiB }");
    let mut gateway = Gateway::run(&config.text())?;
    let pid = gateway.process()?.id();
    let book = Arc::new(Book::default());
    let stop = Arc::new(AtomicBool::new(false));
    let pace = Duration::from_secs_f64(SENDERS as f64 / options.rate as f64);
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| spawn(send(gateway.intake("chat"), number, pace, book.clone(), stop.clone())))
        .collect();

    pass(BEFORE, || Ok(()))?;
    let (rss_before_kib, mut rss_most_kib) = (rss_kib(pid)?, 0);
    let mut watch = || {
        rss_most_kib = rss_most_kib.max(rss_kib(pid)?);
        Ok(())
    };
    let (before, begun) = (book.sums().attempts, Instant::now());
    kafka.stop(0)?;
    pass(options.away, &mut watch)?;
    let rate = (book.sums().attempts - before) as f64 / begun.elapsed().as_secs_f64();
    kafka.launch(0)?;
    kafka.await_broker(0)?;
    let returned = Instant::now();
    pass(AFTER, &mut watch)?;
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        block_on(sender).context("a sender panicked")?;
    }
    let (copies, back) = read_all(&kafka, &config, &book, returned, &mut watch)?;
    let verdict = judge(&book.ledger(), &copies, &Rules::default());
    let sums = book.sums();
    ensure!(gateway.stop()?.success(), "the gateway did not end in good order");
    let (sent, safe) = (sums.attempts, sums.safe);
    Ok(Report { options, sent, safe, rate, back, rss_before_kib, rss_most_kib, verdict })
}

/// One conversation: a message each `pace`, sent once.
async fn send(url: String, number: u64, pace: Duration, book: Arc<Book>, stop: Arc<AtomicBool>) {
    // Senders begin spread over the first pace.
    tokio::time::sleep(pace.mul_f64(number as f64 / SENDERS as f64)).await;
    let mut clock = tokio::time::interval(pace);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for place in 0.. {
        clock.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (channel, id) = (format!("C{number}"), format!("{number}-{place}"));
        let text = format!("[{id}] while Kafka was away");
        let body = MESSAGE
            .replace("@EVENT_ID@", &format!("Ev{channel}{place:06}"))
            .replace("@CHANNEL@", &channel)
            .replace("@TS@", &format!("1766458031.{place:06}"))
            .replace("@TEXT@", &text);
        book.offer(&id, Class::Push, &channel, place, &text, b"");
        let attempt = book.begin(&id, 0);
        let request = webhooks::slack(&url, SECRET, body);
        let answer = match tokio::time::timeout(PATIENCE, request.send_async()).await {
            Ok(Ok(answer)) if answer.status == 200 => Answer::Safe,
            Ok(Ok(_)) => Answer::NotSafe,
            Ok(Err(_)) => Answer::Cut,
            Err(_) => Answer::Silence,
        };
        book.end(&id, &attempt, answer);
    }
}

/// Everything on the topic, once all that is owed is there, or the limit is over.
fn read_all(
    kafka: &Kafka,
    config: &Config,
    book: &Book,
    returned: Instant,
    mut watch: impl FnMut() -> Result<()>,
) -> Result<(Vec<Copy>, Duration)> {
    let mut events = Committed::open(&kafka.bootstrap(), &config.events(), TOPIC_LIMIT)?;
    let mut copies = Vec::new();
    let mut owed: std::collections::HashSet<String> = book.ledger().obligations().map(|(id, _)| id.clone()).collect();
    loop {
        let batch = events.next(BATCH)?;
        let is_end = batch.is_empty();
        for copy in batch.iter().filter_map(read::event) {
            owed.remove(&copy.id);
            copies.push(copy);
        }
        watch()?;
        if (owed.is_empty() && is_end) || returned.elapsed() > BACK_LIMIT {
            return Ok((copies, returned.elapsed()));
        }
    }
}

fn pass(span: Duration, mut meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    wait::until(span * 2, "time to pass", || {
        meanwhile()?;
        Ok((begun.elapsed() >= span).then_some(()))
    })
}

/// Resident memory of a process.
fn rss_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway runs")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    line.split_whitespace().next().context("a number")?.parse().context("a number")
}
