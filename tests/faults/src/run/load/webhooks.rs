//! Signed chat messages: conversations whose next message goes out after the 2xx of the one before.

use std::sync::Arc;

use anyhow::Result;
use inlet_tests::webhooks;

use super::push::{Parcel, pause, until_taken};
use super::{Desk, ON};
use crate::dice::Dice;
use crate::ledger::Class;
use crate::run::world::SLACK_SECRET;

/// Conversations of one sender, which it serves in turn.
const CONVERSATIONS: usize = 3;
const PAUSE_MS: (u64, u64) = (5, 120);
const MESSAGE: &str = include_str!("message.json");
/// Some texts are longer than others.
const FILLER_MAX: u64 = 2_000;

pub fn send(desk: &Desk, number: usize, mut dice: Dice) -> Result<()> {
    let mut homes = [0; CONVERSATIONS];
    homes.iter_mut().for_each(|home| *home = dice.roll(desk.view.ingress.len() as u64) as usize);
    for place in 0.. {
        for (conversation, home) in homes.iter_mut().enumerate() {
            if !desk.phase.is(ON) {
                return Ok(());
            }
            let channel = format!("C{number}{conversation}");
            let id = format!("chat-{channel}-{place}");
            let text = format!("[{id}] {}", filler(&mut dice));
            let body = MESSAGE
                .replace("@EVENT_ID@", &format!("Ev{channel}{place:06}"))
                .replace("@CHANNEL@", &channel)
                .replace("@TS@", &format!("1766458031.{place:06}"))
                .replace("@TEXT@", &text);
            desk.book.offer(&id, Class::Push, &channel, place, &text, body.as_bytes());
            // Signed anew with each delivery, as the provider does; the body is the same.
            let make = Arc::new(move |ingress: &str| {
                webhooks::slack(&format!("{ingress}/in/chat"), SLACK_SECRET, body.clone())
            });
            until_taken(desk, &Parcel { id, make }, home, &mut dice)?;
            pause(&mut dice, PAUSE_MS);
        }
    }
    Ok(())
}

fn filler(dice: &mut Dice) -> String {
    let most = if dice.one_in(10) { FILLER_MAX } else { 60 };
    let length = dice.between(1, most);
    (0..length).map(|_| char::from(b'a' + dice.roll(26) as u8)).collect()
}
