//! Calls at the PBX, frame by frame. Nobody says them again.

use std::time::{Duration, Instant};

use anyhow::Result;
use inlet_tests::servers::scripted_ami::Line;

use super::push::pause;
use super::{Desk, ON};
use crate::dice::Dice;
use crate::ledger::Class;
use crate::run::book::Book;

/// A frame was surely taken when the connection that heard it lived on for so long, with no gateway frozen meanwhile: four
/// times the deadline by which a gateway has it on Kafka or in its spool.
pub const TAKEN_AFTER: Duration = Duration::from_secs(10);

const PAUSE_MS: (u64, u64) = (50, 500);
/// A call's frames: the event, and further fields.
const FRAMES: [(&str, &str); 4] = [
    ("Newchannel", "ChannelState: 4\r\nChannelStateDesc: Ring\r\nExten: 4930900101\r\n"),
    ("QueueCallerJoin", "Queue: support\r\nPosition: 1\r\nCount: 1\r\n"),
    ("QueueCallerAbandon", "Queue: support\r\nPosition: 1\r\nOriginalPosition: 1\r\nHoldTime: 3\r\n"),
    ("Hangup", "Cause: 16\r\nCause-txt: Normal Clearing\r\n"),
];

pub fn send(desk: &Desk, mut dice: Dice) -> Result<()> {
    // By the number that the PBX gave to what it said.
    let mut said: Vec<(usize, String)> = Vec::new();
    for call in 0.. {
        if !desk.phase.is(ON) {
            break;
        }
        let linked = format!("17950000{:02}.{call}", call % 100);
        for (place, (event, fields)) in (0..).zip(FRAMES) {
            let id = format!("call-{call}-{place}");
            let name = format!("[{id}]");
            let frame = format!(
                "Event: {event}\r\nPrivilege: call,all\r\nChannel: PJSIP/trunk-{call:08x}\r\n\
                 CallerIDNum: 4915110000100\r\nCallerIDName: {name}\r\nContext: from-trunk\r\nUniqueid: {linked}\r\n\
                 Linkedid: {linked}\r\n{fields}\r\n"
            );
            let body = frame.trim_end_matches("\r\n");
            desk.book.offer(&id, Class::Live, &linked, place, &name, body.as_bytes());
            said.push((desk.view.pbx.say(frame.as_bytes()), id));
            pause(&mut dice, PAUSE_MS);
        }
    }
    settle(&desk.book, &desk.view.pbx.lines(), &said);
    Ok(())
}

/// Notes who heard what, and makes obligations of what was surely taken.
fn settle(book: &Book, lines: &[Line], said: &[(usize, String)]) {
    let now = Instant::now();
    for (number, id) in said {
        let heard = lines.iter().enumerate().filter(|(_, line)| line.heard.iter().any(|(heard, _)| heard == number));
        heard.for_each(|(line, _)| book.hear(id, line));
        let is_taken = lines.iter().any(|line| {
            let heard = line.heard.iter().find(|(heard, _)| heard == number);
            heard.is_some_and(|(_, at)| {
                let safe_at = *at + TAKEN_AFTER;
                line.closed.unwrap_or(now) >= safe_at && !book.was_frozen(*at, safe_at)
            })
        });
        if is_taken {
            book.owe(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_its_connection_outlived_is_owed() {
        let book = Book::default();
        let begun = Instant::now();
        let said: Vec<_> = (1..=4).map(|number| (number, format!("frame {number}"))).collect();
        for (_, id) in &said {
            book.offer(id, Class::Live, "call", 0, "", id.as_bytes());
        }
        let heard_at = begun.checked_sub(TAKEN_AFTER * 2).expect("the machine runs for longer");
        let lines = [
            Line { closed: Some(heard_at + TAKEN_AFTER), heard: vec![(1, heard_at)] },
            Line { closed: Some(heard_at + TAKEN_AFTER / 2), heard: vec![(2, heard_at)] },
            // Heard a moment ago, and open still.
            Line { closed: None, heard: vec![(3, begun)] },
        ];
        settle(&book, &lines, &said);
        let owed: Vec<_> = book.ledger().obligations().map(|(id, _)| id.clone()).collect();
        assert_eq!(owed, ["frame 1"]);
    }

    #[test]
    fn what_was_heard_while_a_gateway_was_frozen_is_not_owed() {
        let book = Book::default();
        book.offer("frame", Class::Live, "call", 0, "", b"");
        let heard_at = Instant::now();
        let frozen = book.freeze();
        book.thaw(frozen);
        let lines = [Line { closed: Some(heard_at + TAKEN_AFTER * 3), heard: vec![(1, heard_at)] }];
        settle(&book, &lines, &[(1, "frame".to_owned())]);
        assert_eq!(book.sums().obligations, 0);
    }
}
