//! One input that somebody delivers by HTTP, again and again until it is answered 2xx.

use std::time::Duration;

use anyhow::{Result, bail};
use inlet_tests::http_client::Request;
use inlet_tests::runtime::block_on;

use super::{Desk, GIVE_UP};
use crate::dice::Dice;
use crate::ledger::Answer;

/// How long a sender waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pause before it is sent again: from, to.
const PAUSE_MS: (u64, u64) = (50, 1_000);
/// So many deliveries of one input are enough to say that it is never taken.
const DELIVERIES_MAX: usize = 600;

/// An input that can be delivered to either gateway.
#[derive(Clone)]
pub struct Parcel {
    pub id: String,
    pub make: std::sync::Arc<dyn Fn(&str) -> Request + Send + Sync>,
}

/// One delivery, noted in the ledger. Gives the answer, and the status where there was one.
pub fn deliver(desk: &Desk, parcel: &Parcel, replica: usize) -> (Answer, Option<u16>) {
    let request = (parcel.make)(&desk.view.ingress[replica]);
    let attempt = desk.book.begin(&parcel.id, replica);
    let answered = block_on(async { tokio::time::timeout(PATIENCE, request.send_async()).await });
    let (answer, status) = match answered {
        Ok(Ok(answer)) if (200..300).contains(&answer.status) => (Answer::Safe, Some(answer.status)),
        Ok(Ok(answer)) => (Answer::NotSafe, Some(answer.status)),
        Ok(Err(_)) => (Answer::Cut, None),
        Err(_) => (Answer::Silence, None),
    };
    desk.book.end(&parcel.id, &attempt, answer);
    (answer, status)
}

/// Delivers until it is taken; `home` is the gateway that the conversation keeps to, and changes with a kill.
pub fn until_taken(desk: &Desk, parcel: &Parcel, home: &mut usize, dice: &mut Dice) -> Result<()> {
    for _ in 0..DELIVERIES_MAX {
        let (answer, status) = deliver(desk, parcel, *home);
        match answer {
            Answer::Safe => {
                desk.again.plan(parcel, dice);
                return Ok(());
            }
            Answer::NotSafe if !matches!(status, Some(429 | 503)) => {
                bail!("{} was answered {}: neither safe nor 'later'", parcel.id, status.unwrap_or(0));
            }
            Answer::NotSafe => {}
            Answer::Cut | Answer::Silence => {
                if dice.one_in(2) {
                    *home = (*home + 1) % desk.view.ingress.len();
                }
            }
        }
        if desk.phase.is(GIVE_UP) {
            bail!("given up");
        }
        pause(dice, PAUSE_MS);
    }
    bail!("{} was not taken in {DELIVERIES_MAX} deliveries", parcel.id)
}

/// The pace of a sender.
pub fn pause(dice: &mut Dice, between_ms: (u64, u64)) {
    std::thread::sleep(Duration::from_millis(dice.between(between_ms.0, between_ms.1)));
}
