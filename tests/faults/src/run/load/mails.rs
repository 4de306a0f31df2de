//! Mails put into mailboxes: what lies there is owed, exactly once.

use anyhow::Result;

use super::push::pause;
use super::{Desk, ON};
use crate::dice::Dice;
use crate::ledger::Class;
use crate::run::world::{MAILBOXES, mailbox_user};

const THREADS: u64 = 3;
const PAUSE_MS: (u64, u64) = (20, 250);
/// Mails that come at once: one a thread at most. The server looks into the folder whenever it likes, and may see the second
/// of two files and not the first.
const BURST_MAX: u64 = THREADS;

pub fn send(desk: &Desk, mut dice: Dice) -> Result<()> {
    let mut places = [[0; THREADS as usize]; MAILBOXES];
    while desk.phase.is(ON) {
        let mailbox = dice.roll(MAILBOXES as u64) as usize;
        let burst = if dice.one_in(8) { dice.between(2, BURST_MAX) } else { 1 };
        let mut put = Vec::new();
        let first = dice.roll(THREADS);
        for other in 0..burst {
            let thread = ((first + other) % THREADS) as usize;
            let place = places[mailbox][thread];
            places[mailbox][thread] += 1;
            let conversation = format!("mail-{mailbox}-{thread}");
            let id = format!("{conversation}-{place}");
            let text = format!("[{id}] about order {}", dice.roll(1_000_000));
            let mail = mail(&conversation, place, &text);
            desk.book.offer(&id, Class::Replay, &conversation, place, &text, &mail);
            put.push((id, mail));
        }
        desk.view.dovecot().fill(&mailbox_user(mailbox), "INBOX", put.iter().map(|(_, mail)| mail.as_slice()))?;
        put.iter().for_each(|(id, _)| desk.book.owe(id));
        pause(&mut dice, PAUSE_MS);
    }
    Ok(())
}

fn mail(conversation: &str, place: u64, text: &str) -> Vec<u8> {
    let of = |place: u64| format!("<{conversation}-{place}@faults.test>");
    let references = match place {
        0 => String::new(),
        _ => {
            format!("In-Reply-To: {before}\r\nReferences: {first} {before}\r\n", before = of(place - 1), first = of(0))
        }
    };
    format!(
        "Message-ID: {own}\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\nFrom: {conversation} <customer@customers.test>\r\n\
         To: support@example.test\r\nSubject: order of {conversation}\r\n{references}MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n",
        own = of(place),
    )
    .into_bytes()
}
