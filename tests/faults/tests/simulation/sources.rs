//! The scripted sources, and the providers that call.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::{
    Admission, Cursor, IntakeError, Io, Item as PageItem, Keys, Outcome, Page, Poll, RawEvent, Reply, Session,
    SessionCx, Start, StreamId, Timestamp, Webhook, async_trait,
};
use inlet::intake::push::PushLine;
use inlet::intake::webhook::Hook;
use inlet_faults::dice::Dice;
use inlet_faults::ledger::Answer;

use crate::life::{Clock, Steps};
use crate::outside::Outside;
use crate::parse;

const STREAM: &str = "items";
const PAGE: usize = 4;
const DEADLINE: Duration = Duration::from_millis(2500);
/// A provider's pause before it sends again.
const AGAIN_MAX_MS: u64 = 2_000;

/// What every source knows.
#[derive(Clone)]
pub struct Here {
    pub outside: Arc<Outside>,
    pub steps: Arc<Steps>,
    pub clock: Clock,
}

/// A mailbox that is asked.
pub struct Mailbox(pub Here, pub &'static str);

#[async_trait]
impl Poll for Mailbox {
    async fn streams(&mut self, _: &Io) -> Result<Vec<StreamId>, IntakeError> {
        self.0.steps.step().await;
        Ok(vec![StreamId::new(STREAM)])
    }

    async fn begin(&mut self, _: &StreamId, _: &Start, _: &Io) -> Result<Cursor, IntakeError> {
        self.0.steps.step().await;
        Ok(Cursor(0.into()))
    }

    async fn poll(&mut self, _: &StreamId, cursor: &Cursor, _: &Io) -> Result<Page, IntakeError> {
        self.0.steps.step().await;
        if self.0.steps.one_in(12) {
            return Err(IntakeError::retry("scripted fault"));
        }
        let items = &self.0.outside.feeds[self.1];
        let from = self.0.outside.position(Some(cursor.clone()), &self.0.steps);
        let mut page = Page { more: from + PAGE < items.len(), ..Page::default() };
        for (number, item) in items.iter().enumerate().skip(from).take(PAGE) {
            let raw = parse::raw(&item.body, self.0.clock.now());
            // Some pages have a position behind each item, some only at their end.
            let cursor_after = (from.is_multiple_of(2)).then(|| Cursor((number + 1).into()));
            page.items.push(PageItem { raw, cursor_after });
        }
        page.cursor = Some(Cursor((from + PAGE).min(items.len()).into()));
        Ok(page)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// A connection from which one reads on behind a position.
pub struct Stream(pub Here, pub &'static str);

#[async_trait]
impl Session for Stream {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        let stream = StreamId::new(STREAM);
        self.0.steps.step().await;
        cx.connected().await;
        let cursor = cx.cursor(&stream).await;
        if cursor.is_none() {
            cx.store_cursor(&stream, Cursor(0.into())).await?;
        }
        let from = self.0.outside.position(cursor, &self.0.steps);
        for (number, item) in self.0.outside.feeds[self.1].iter().enumerate().skip(from) {
            if self.0.steps.one_in(12) {
                return Err(IntakeError::retry("scripted loss of the connection"));
            }
            self.0.steps.step().await;
            let raw = parse::raw(&item.body, self.0.clock.now());
            drop(cx.submit(&stream, raw, Some(Cursor((number + 1).into()))).await);
        }
        cx.stopping().cancelled().await;
        Ok(())
    }
}

/// It tells each thing once, to whoever listens.
pub struct Switchboard(pub Here);

#[async_trait]
impl Session for Switchboard {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        let here = &self.0;
        here.steps.step().await;
        cx.connected().await;
        loop {
            let item = {
                let mut to_tell = here.outside.to_tell.lock().expect("no panic while held");
                if to_tell.is_empty() { None } else { Some(to_tell.remove(0)) }
            };
            let Some(item) = item else { break };
            let raw = parse::raw(&item.body, here.clock.now());
            let ticket = cx.submit(&StreamId::new(STREAM), raw, None).await;
            let outside = here.outside.clone();
            tokio::spawn(async move {
                // Taken surely, once its driver says so.
                if ticket.outcome().await.is_safe() {
                    outside.ledger().owe(&item.id);
                }
            });
            here.steps.step().await;
            if here.steps.one_in(8) {
                return Err(IntakeError::retry("scripted loss of the connection"));
            }
        }
        cx.stopping().cancelled().await;
        Ok(())
    }
}

pub struct Open;

impl Webhook for Open {
    fn admit(&self, _: &RawEvent, _: &Keys, _: Timestamp) -> Admission {
        Admission::Accept
    }

    fn reply(&self, _: &RawEvent, outcome: &Outcome) -> Reply {
        Reply::default_for(outcome)
    }

    fn sign(&self, _: &mut RawEvent, _: Timestamp) {}
}

/// A customer and the provider between: the next message goes out after the 2xx of the one before; what is not answered
/// so is sent again, and now and then what was.
pub async fn talk(here: Here, number: usize, hook: Arc<Hook>, push: PushLine, mut dice: Dice) {
    loop {
        let conversation = || here.outside.conversations[number].lock().expect("no panic while held");
        let Some(item) = conversation().first().cloned() else { return };
        here.steps.step().await;
        let attempt = here.outside.ledger().begin(&item.id, 0, here.clock.now());
        let raw = parse::raw(&item.body, here.clock.now());
        let reply = hook.handle(raw, &push, DEADLINE).await;
        let answer = if (200..300).contains(&reply.status) { Answer::Safe } else { Answer::NotSafe };
        here.outside.ledger().end(&item.id, &attempt, here.clock.now(), answer);
        let again = answer != Answer::Safe || dice.one_in(10);
        if !again {
            conversation().remove(0);
        }
        here.steps.step().await;
        if again || dice.one_in(3) {
            tokio::time::sleep(Duration::from_millis(dice.roll(AGAIN_MAX_MS))).await;
        }
    }
}
