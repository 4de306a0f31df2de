//! Customers and providers: each sort of load in threads of its own, until told to finish.

mod again;
pub mod calls;
mod forms;
mod mails;
mod push;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use super::book::Book;
use super::world::View;
use crate::dice::Dice;
use again::Again;

const WEBHOOK_SENDERS: usize = 6;
const FORM_SENDERS: usize = 2;

/// What the senders are told.
#[derive(Clone)]
pub struct Phase(Arc<AtomicU8>);

const ON: u8 = 0;
/// Begin nothing new; get answered what was begun.
const FINISH: u8 = 1;
/// End now.
const GIVE_UP: u8 = 2;

impl Phase {
    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Relaxed) == phase
    }
}

/// What a sender works with.
#[derive(Clone)]
pub struct Desk {
    pub view: View,
    pub book: Arc<Book>,
    pub phase: Phase,
    pub again: Arc<Again>,
}

/// Running senders.
pub struct Load {
    phase: Phase,
    senders: Vec<JoinHandle<Result<()>>>,
    repeaters: Vec<JoinHandle<Result<()>>>,
    again: Arc<Again>,
}

impl Load {
    pub fn start(view: &View, book: &Arc<Book>, seed: u64) -> Result<Self> {
        let again = Arc::new(Again::default());
        let phase = Phase(Arc::default());
        let desk = Desk { view: view.clone(), book: book.clone(), phase: phase.clone(), again: again.clone() };
        let mut load = Self { phase, senders: Vec::new(), repeaters: Vec::new(), again };
        for number in 0..WEBHOOK_SENDERS {
            let (desk, dice) = (desk.clone(), Dice::for_part(seed, &format!("webhooks {number}")));
            load.senders.push(std::thread::spawn(move || webhooks::send(&desk, number, dice)));
        }
        for number in 0..FORM_SENDERS {
            let (desk, dice) = (desk.clone(), Dice::for_part(seed, &format!("forms {number}")));
            load.senders.push(std::thread::spawn(move || forms::send(&desk, number, dice)));
        }
        let (own, dice) = (desk.clone(), Dice::for_part(seed, "mails"));
        load.senders.push(std::thread::spawn(move || mails::send(&own, dice)));
        let (own, dice) = (desk.clone(), Dice::for_part(seed, "calls"));
        load.senders.push(std::thread::spawn(move || calls::send(&own, dice)));
        for number in 0..again::REPEATERS {
            let (desk, dice) = (desk.clone(), Dice::for_part(seed, &format!("again {number}")));
            load.repeaters.push(std::thread::spawn(move || again::send(&desk, dice)));
        }
        Ok(load)
    }

    /// Everything begun is answered, and every redelivery made.
    pub fn finish(self) -> Result<()> {
        if self.phase.is(ON) {
            self.phase.0.store(FINISH, Ordering::Relaxed);
        }
        let mut first = Ok(());
        for sender in self.senders {
            let ended = sender.join().unwrap_or_else(|_| Err(anyhow!("a sender panicked; see above")));
            first = first.and(ended);
        }
        self.again.close();
        for repeater in self.repeaters {
            let ended = repeater.join().unwrap_or_else(|_| Err(anyhow!("a repeater panicked; see above")));
            first = first.and(ended);
        }
        first
    }

    pub fn give_up(&self) {
        self.phase.0.store(GIVE_UP, Ordering::Relaxed);
    }
}
