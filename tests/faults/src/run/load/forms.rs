//! Contact forms, each a conversation of its own, filled in once and sent until the page says thank you.

use std::sync::Arc;

use anyhow::Result;
use inlet_tests::http_client::Request;

use super::push::{Parcel, pause, until_taken};
use super::{Desk, ON};
use crate::dice::Dice;
use crate::ledger::Class;

const PAUSE_MS: (u64, u64) = (50, 400);

pub fn send(desk: &Desk, number: usize, mut dice: Dice) -> Result<()> {
    let mut home = dice.roll(desk.view.ingress.len() as u64) as usize;
    for place in 0.. {
        if !desk.phase.is(ON) {
            break;
        }
        let id = format!("form-{number}-{place}");
        let text = format!("[{id}] where is my order {}", dice.roll(1_000_000));
        let body = format!(
            "{{\"name\":\"Customer {number}\",\"email\":\"customer{number}@example.test\",\"message\":\"{text}\"}}"
        );
        desk.book.offer(&id, Class::Push, &id, 0, &text, body.as_bytes());
        let key = id.clone();
        let make = Arc::new(move |ingress: &str| {
            Request::post(format!("{ingress}/forms/contact"), body.clone())
                .header("content-type", "application/json")
                .header("idempotency-key", key.clone())
        });
        until_taken(desk, &Parcel { id, make }, &mut home, &mut dice)?;
        pause(&mut dice, PAUSE_MS);
    }
    Ok(())
}
