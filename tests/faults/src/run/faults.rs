//! What goes wrong, and when: a plan that follows from the seed, carried out while the load goes on.
//!
//! Faults overlap: what ends one (a restart, a link that is well again) waits in a queue while others begin. Now and then
//! there is a calm, so that what only happens in peace (obligations of a live source) happens too.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use inlet_tests::servers::proxy::Weather;

use super::book::Book;
use super::world::{GATEWAYS, World};
use crate::dice::Dice;

const BROKERS: usize = 3;
/// Between two faults: from, to.
const GAP_MS: (u64, u64) = (150, 2_200);
/// Until a killed gateway is started again.
const GATEWAY_DOWN_MS: (u64, u64) = (0, 2_500);
/// Until a killed broker is started again.
const BROKER_DOWN_MS: (u64, u64) = (500, 6_000);
/// Until others lead what a killed broker led: its session, and an election.
const LEADERS_MOVE_MS: i64 = 8_000;
const PROBE_EVERY: Duration = Duration::from_millis(700);
/// How long a link is cut, stalled or slow.
const WEATHER_MS: (u64, u64) = (300, 7_000);
const DELAY_MS: (u64, u64) = (20, 300);
/// How long a gateway is frozen: up to well beyond its session of the owners' group.
const FROZEN_MS: (u64, u64) = (500, 14_000);
/// After so many kills there is peace for so long.
const KILLS_TO_CALM: usize = 8;
const CALM: Duration = Duration::from_secs(14);
const TICK: Duration = Duration::from_millis(10);

/// How often each thing was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub kills: usize,
    pub kills_while_starting: usize,
    pub frozen: usize,
    pub brokers_killed: usize,
    pub cut: usize,
    pub stalled: usize,
    pub slowed: usize,
    pub mail_restarts: usize,
    pub calls_cut: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} gateways killed ({} while they started), {} frozen; {} brokers killed; links: {} cut, {} stalled, {} \
             slowed; the mail server restarted {} times, the PBX's line cut {} times",
            self.kills,
            self.kills_while_starting,
            self.frozen,
            self.brokers_killed,
            self.cut,
            self.stalled,
            self.slowed,
            self.mail_restarts,
            self.calls_cut
        )
    }
}

/// What ends a fault; the last number is that of the disturbance in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    StartGateway(usize),
    Thaw(usize, usize, usize),
    StartBroker(usize, usize),
    /// Of the time in which a broker that was started did not answer yet: looked for again until it does.
    BrokerAnswers(usize, usize),
    /// Of a gateway's link to a broker, unless another weather has come since.
    Fair(usize, usize, u64, usize),
}

/// State of a gateway's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Up,
    Starting,
    Frozen,
    Down,
}

pub struct Faults {
    dice: Dice,
    kills: usize,
    counts: Counts,
    gateways: [Is; GATEWAYS],
    brokers_down: [bool; BROKERS],
    /// Number of the present weather of each link.
    weather: [[u64; BROKERS]; GATEWAYS],
    ends: Vec<(Instant, End)>,
}

impl Faults {
    pub fn new(seed: u64, kills: usize) -> Self {
        Self {
            dice: Dice::for_part(seed, "faults"),
            kills,
            counts: Counts::default(),
            gateways: [Is::Up; GATEWAYS],
            brokers_down: [false; BROKERS],
            weather: [[0; BROKERS]; GATEWAYS],
            ends: Vec::new(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Until so many kills were done; then everything is made well again, and there is peace once more.
    pub fn run(&mut self, world: &mut World, book: &Book) -> Result<()> {
        let mut calm_at = KILLS_TO_CALM;
        while self.counts.kills < self.kills {
            let gap = self.ms(GAP_MS);
            self.pass(world, book, gap)?;
            self.one(world, book)?;
            if self.counts.kills >= calm_at {
                calm_at += KILLS_TO_CALM;
                self.end_all(world, book)?;
                self.pass(world, book, CALM)?;
            }
        }
        self.end_all(world, book)?;
        self.pass(world, book, CALM)
    }

    fn ms(&mut self, between: (u64, u64)) -> Duration {
        Duration::from_millis(self.dice.between(between.0, between.1))
    }

    /// Lets time pass and ends what is to end.
    fn pass(&mut self, world: &mut World, book: &Book, span: Duration) -> Result<()> {
        let until = Instant::now() + span;
        loop {
            let now = Instant::now();
            while let Some(due) = self.ends.iter().position(|(at, _)| *at <= now) {
                let (_, end) = self.ends.swap_remove(due);
                self.end(world, book, end)?;
            }
            if now >= until {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Ends everything now, and waits until all is well.
    fn end_all(&mut self, world: &mut World, book: &Book) -> Result<()> {
        for (_, end) in std::mem::take(&mut self.ends) {
            self.end(world, book, end)?;
        }
        for broker in 0..BROKERS {
            world.kafka.await_broker(broker)?;
        }
        // Those that have just been started answer now.
        for (_, end) in std::mem::take(&mut self.ends) {
            self.end(world, book, end)?;
        }
        for gateway in 0..GATEWAYS {
            world.await_ready(gateway)?;
            self.gateways[gateway] = Is::Up;
            let seen = world.gateways[gateway].status()?["lanes"]["seen"].to_string();
            self.note(&format!("gateway {gateway} is up; its index: {seen}"));
        }
        Ok(())
    }

    fn end(&mut self, world: &mut World, book: &Book, end: End) -> Result<()> {
        if !matches!(end, End::BrokerAnswers(..)) {
            self.note(&format!("{end:?}"));
        }
        match end {
            End::StartGateway(gateway) => {
                world.gateways[gateway].launch()?;
                self.gateways[gateway] = Is::Starting;
            }
            End::Thaw(gateway, frozen, disturbed) => {
                if self.gateways[gateway] == Is::Frozen {
                    world.gateways[gateway].process()?.resume();
                    self.gateways[gateway] = Is::Up;
                }
                book.thaw(frozen);
                book.calm(disturbed, 0);
            }
            End::StartBroker(broker, disturbed) => {
                world.kafka.launch(broker)?;
                self.ends.push((Instant::now() + PROBE_EVERY, End::BrokerAnswers(broker, disturbed)));
                self.brokers_down[broker] = false;
            }
            End::BrokerAnswers(broker, disturbed) => {
                if self.brokers_down[broker] || world.kafka.answers(broker) {
                    // Where it was killed again, that is a disturbance of its own.
                    book.calm(disturbed, LEADERS_MOVE_MS);
                } else {
                    self.ends.push((Instant::now() + PROBE_EVERY, End::BrokerAnswers(broker, disturbed)));
                }
            }
            End::Fair(gateway, broker, number, disturbed) => {
                book.calm(disturbed, 0);
                if self.weather[gateway][broker] == number {
                    world.kafka.side(gateway)[broker].set(Weather::Fair);
                }
            }
        }
        Ok(())
    }

    fn later(&mut self, between: (u64, u64), end: End) {
        let span = self.ms(between);
        self.ends.push((Instant::now() + span, end));
    }

    /// One fault, of those that are possible now.
    fn one(&mut self, world: &mut World, book: &Book) -> Result<()> {
        match self.dice.roll(20) {
            0..8 => self.kill(world),
            8..10 => self.freeze(world, book)?,
            10..13 => self.bounce(world, book),
            13..18 => self.disturb(world, book),
            18 => {
                self.counts.mail_restarts += 1;
                world.dovecot.lock().expect("no panic while held").restart()?;
            }
            _ => {
                self.counts.calls_cut += 1;
                world.pbx.cut();
            }
        }
        Ok(())
    }

    /// With what the run's clock said, so that a finding can be told from what was done.
    fn note(&self, what: &str) {
        eprintln!("{} {what}", super::book::now());
    }

    fn kill(&mut self, world: &mut World) {
        let gateway = self.dice.roll(GATEWAYS as u64) as usize;
        let is = self.gateways[gateway];
        // One that has just been started is mostly let come up: else nothing ever happens.
        let starting = is == Is::Starting && !world.is_ready(gateway);
        if is == Is::Down || (starting && !self.dice.one_in(4)) {
            return;
        }
        self.note(&format!("kill gateway {gateway}"));
        world.gateways[gateway].kill();
        self.gateways[gateway] = Is::Down;
        self.counts.kills += 1;
        self.counts.kills_while_starting += usize::from(starting);
        self.later(GATEWAY_DOWN_MS, End::StartGateway(gateway));
    }

    fn freeze(&mut self, world: &mut World, book: &Book) -> Result<()> {
        let gateway = self.dice.roll(GATEWAYS as u64) as usize;
        if !matches!(self.gateways[gateway], Is::Up | Is::Starting) || !world.is_ready(gateway) {
            return Ok(());
        }
        self.note(&format!("freeze gateway {gateway}"));
        world.gateways[gateway].process()?.pause();
        self.gateways[gateway] = Is::Frozen;
        self.counts.frozen += 1;
        self.later(FROZEN_MS, End::Thaw(gateway, book.freeze(), book.disturb()));
        Ok(())
    }

    /// A broker goes; mostly the others are up and go on, sometimes they are not, and then nothing is confirmed.
    fn bounce(&mut self, world: &mut World, book: &Book) {
        let down = self.brokers_down.iter().filter(|down| **down).count();
        let broker = self.dice.roll(BROKERS as u64) as usize;
        if self.brokers_down[broker] || (down > 0 && !self.dice.one_in(3)) {
            return;
        }
        self.note(&format!("kill broker {broker}"));
        world.kafka.kill(broker);
        self.brokers_down[broker] = true;
        self.counts.brokers_killed += 1;
        self.later(BROKER_DOWN_MS, End::StartBroker(broker, book.disturb()));
    }

    /// A gateway's link to one broker or to all of them.
    fn disturb(&mut self, world: &World, book: &Book) {
        let gateway = self.dice.roll(GATEWAYS as u64) as usize;
        let weather = match self.dice.roll(3) {
            0 => Weather::Cut,
            1 => Weather::Stalled,
            _ => Weather::Slow(self.ms(DELAY_MS)),
        };
        match weather {
            Weather::Cut => self.counts.cut += 1,
            Weather::Stalled => self.counts.stalled += 1,
            _ => self.counts.slowed += 1,
        }
        let one = self.dice.roll(BROKERS as u64) as usize;
        let all = self.dice.one_in(2);
        let span = self.ms(WEATHER_MS);
        let to = if all { "all brokers".to_owned() } else { format!("broker {one}") };
        self.note(&format!("gateway {gateway} to {to}: {weather:?} for {} ms", span.as_millis()));
        for broker in (0..BROKERS).filter(|broker| all || *broker == one) {
            self.weather[gateway][broker] += 1;
            world.kafka.side(gateway)[broker].set(weather);
            let end = End::Fair(gateway, broker, self.weather[gateway][broker], book.disturb());
            self.ends.push((Instant::now() + span, end));
        }
    }
}
