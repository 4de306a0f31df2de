//! The tracker over real transcripts, with moments of the test's choice.

use super::*;
use crate::wire::{Splitter, frames};

const ANSWERED: &[u8] = include_bytes!("../../fixtures/summary_answered/input.frames");
const BLIND: &[u8] = include_bytes!("../../fixtures/summary_blind_transfer/input.frames");
const MERGED: &[u8] = include_bytes!("../../fixtures/summary_merged/input.frames");
const VOICEMAIL: &[u8] = include_bytes!("../../fixtures/summary_voicemail/input.frames");
const ATTENDED: &[u8] = include_bytes!("../../fixtures/transfer_attended/input.frames");
const SETTLE: Duration = Duration::from_secs(5);
const MAX_CALL: Duration = Duration::from_secs(3600);

fn tracker() -> Tracker {
    let numbers = Numbers {
        country_code: None,
        trunk_prefix: "0".into(),
        international_prefix: "00".into(),
        digits_are_international: true,
        trunks: vec!["*trunk*".into()],
        inbound_contexts: Vec::new(),
    };
    let mut tracker = Tracker::new(numbers, SETTLE, MAX_CALL);
    tracker.connected();
    tracker
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH.plus(Duration::from_secs(seconds))
}

fn split(transcript: &[u8]) -> Vec<Bytes> {
    let mut splitter = Splitter::default();
    splitter.push(transcript);
    std::iter::from_fn(|| splitter.next()).collect()
}

fn feed(tracker: &mut Tracker, transcript: &[u8], keep: impl Fn(&Frame) -> bool, now: Timestamp) -> Vec<Noted> {
    let frames = split(transcript).into_iter().map(|bytes| (Frame::read(&bytes), bytes));
    frames.filter(|(frame, _)| keep(frame)).map(|(frame, bytes)| tracker.take(&frame, &bytes, now)).collect()
}

fn is(name: &str) -> impl Fn(&Frame) -> bool {
    move |frame| frame.event() == Some(name)
}

#[test]
fn a_summary_waits_for_late_events_and_comes_once() {
    let mut tracker = tracker();
    feed(&mut tracker, ANSWERED, |frame| !is("Cdr")(frame), at(10));
    assert_eq!(tracker.next_due(), Some(at(15)));
    assert_eq!(tracker.due(at(14)), []);
    feed(&mut tracker, ANSWERED, is("Cdr"), at(14));
    let finished = tracker.due(at(15));
    assert_eq!(finished.len(), 1);
    assert_eq!((finished[0].call.as_str(), finished[0].lost), ("1795315315.0", false));
    let kept = frames(&finished[0].body);
    assert_eq!(kept.last().and_then(Frame::event), Some("Cdr"));
    assert_eq!(kept[0].get(wire::RECEIVED), Some("1970-01-01T00:00:10Z"));
    // What comes even later is a fact without a call.
    feed(&mut tracker, ANSWERED, |frame| is("Cdr")(frame) || is("Hangup")(frame), at(16));
    assert_eq!((tracker.due(at(10_000)), tracker.next_due()), (Vec::new(), None));
}

#[test]
fn facts_know_their_place_and_the_direction() {
    let mut tracker = tracker();
    let noted = feed(&mut tracker, ANSWERED, |_| true, at(1));
    let sequences: Vec<u64> = noted.iter().filter_map(|noted| noted.sequence).collect();
    assert!(sequences.len() > 5 && sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert_eq!(sequences[0], 1000, "the clock's milliseconds");
    let whole = |noted: &Noted| noted.call.is_some() && noted.direction == Some(CallDirection::Inbound);
    assert!(noted.iter().all(whole), "{noted:?}");
}

#[test]
fn merged_calls_have_one_summary() {
    let mut tracker = tracker();
    feed(&mut tracker, MERGED, |_| true, at(1));
    let finished = tracker.due(at(6));
    assert_eq!(
        finished.iter().map(|call| (call.call.as_str(), call.lost)).collect::<Vec<_>>(),
        [("1795563181.21", false)]
    );
    // Both calls' frames, in the order in which they came.
    let kept: Vec<Frame> = frames(&finished[0].body);
    let came: Vec<Frame> = frames(MERGED);
    let events = |frames: &[Frame]| -> Vec<_> {
        let named = |frame: &Frame| frame.event() != Some("NewCallerid");
        frames
            .iter()
            .filter(|f| named(f))
            .map(|f| (f.event().map(str::to_owned), f.get("Uniqueid").map(str::to_owned)))
            .collect()
    };
    assert_eq!(events(&kept), events(&came));
    assert_eq!((tracker.merged.len(), tracker.by_leg.len()), (0, 0));
}

#[test]
fn an_attended_transfer_joins_the_call_of_the_question() {
    let mut tracker = tracker();
    let first = b"Event: Newchannel\r\nChannel: PJSIP/trunk-00000020\r\nUniqueid: 1795563002.30\r\nLinkedid: 1795563002.30\r\n\r\n";
    let second = b"Event: Newchannel\r\nChannel: PJSIP/101-00000022\r\nUniqueid: 1795563018.32\r\nLinkedid: 1795563018.32\r\n\r\n";
    feed(&mut tracker, first, |_| true, at(1));
    feed(&mut tracker, second, |_| true, at(2));
    assert_eq!(tracker.calls.len(), 2);
    let noted = feed(&mut tracker, ATTENDED, |_| true, at(3));
    assert_eq!(noted[0].call.as_deref(), Some("1795563002.30"));
    assert_eq!(tracker.calls.keys().collect::<Vec<_>>(), ["1795563002.30"]);
}

#[test]
fn a_call_that_is_not_listed_any_more_is_lost() {
    let mut tracker = tracker();
    feed(&mut tracker, ANSWERED, |frame| !is("Hangup")(frame) && !is("Cdr")(frame), at(1));
    assert_eq!(tracker.due(at(60)), []);
    tracker.connected();
    tracker.listed(at(61));
    let finished = tracker.due(at(61));
    assert_eq!(finished.iter().map(|call| call.lost).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_call_that_is_still_listed_goes_on() {
    let mut tracker = tracker();
    let running = |frame: &Frame| !is("Hangup")(frame) && !is("Cdr")(frame);
    feed(&mut tracker, ANSWERED, running, at(1));
    tracker.connected();
    // Any event of a channel in the new connection shows that it runs, as a line of the list does.
    feed(&mut tracker, ANSWERED, is("BridgeEnter"), at(60));
    tracker.listed(at(61));
    assert_eq!(tracker.due(at(62)), []);
    feed(&mut tracker, ANSWERED, is("Hangup"), at(70));
    let finished = tracker.due(at(75));
    assert_eq!(finished.iter().map(|call| call.lost).collect::<Vec<_>>(), [false]);
}

#[test]
fn a_call_is_given_up_in_the_end() {
    let mut tracker = tracker();
    feed(&mut tracker, ANSWERED, is("Newchannel"), at(1));
    assert_eq!(tracker.due(at(3600)), []);
    assert_eq!(tracker.due(at(3601)).iter().map(|call| call.lost).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_message_without_a_call_is_counted_to_the_call_sent_to_that_mailbox() {
    let mut tracker = tracker();
    feed(&mut tracker, BLIND, is("Newchannel"), at(1));
    feed(&mut tracker, VOICEMAIL, |frame| !is("MessageWaiting")(frame) && !is("Hangup")(frame), at(2));
    let old = b"Event: MessageWaiting\r\nMailbox: 101@default\r\nWaiting: 1\r\nNew: 1\r\nOld: 0\r\n\r\n";
    let noted = feed(&mut tracker, old, |_| true, at(3));
    assert_eq!(noted[0].call.as_deref(), Some("1795315356.39"));
    let other = b"Event: MessageWaiting\r\nMailbox: 102@default\r\nWaiting: 1\r\n\r\n";
    assert_eq!(feed(&mut tracker, other, |_| true, at(3)), [Noted::default()]);
}

#[test]
fn memory_is_bounded_and_both_ends_of_a_call_are_kept() {
    let mut tracker = tracker();
    feed(&mut tracker, ANSWERED, is("Newchannel"), at(1));
    for _ in 0..FRAMES_MAX {
        feed(&mut tracker, ANSWERED, is("BridgeEnter"), at(2));
    }
    feed(&mut tracker, ANSWERED, is("Hangup"), at(3));
    let finished = tracker.due(at(8)).remove(0);
    let kept = frames(&finished.body);
    assert!(kept.len() <= FRAMES_MAX && finished.body.len() <= CALL_MAX_BYTES && finished.dropped > 0);
    assert_eq!(kept.first().and_then(Frame::event), Some("Newchannel"));
    assert_eq!(kept.last().and_then(Frame::event), Some("Hangup"));
}

#[test]
fn the_oldest_call_makes_room() {
    let mut tracker = tracker();
    for call in 0..=CALLS_MAX as u64 {
        let text = format!(
            "Event: Newchannel\r\nChannel: PJSIP/1-{call:08x}\r\nUniqueid: {call}.0\r\nLinkedid: {call}.0\r\n\r\n"
        );
        feed(&mut tracker, text.as_bytes(), |_| true, at(call));
    }
    assert_eq!(tracker.calls.len(), CALLS_MAX);
    let finished = tracker.due(at(0));
    assert_eq!(finished.iter().map(|call| (call.call.as_str(), call.lost)).collect::<Vec<_>>(), [("0.0", true)]);
}

#[test]
fn secrets_in_frames_are_not_kept() {
    let mut tracker = tracker();
    let frame = b"Event: Newchannel\r\nChannel: PJSIP/1-1\r\nUniqueid: 1.1\r\nLinkedid: 1.1\r\nSecret: hush\r\n\r\n";
    feed(&mut tracker, frame, |_| true, at(1));
    let finished = tracker.due(at(1).plus(MAX_CALL)).remove(0);
    assert!(!String::from_utf8_lossy(&finished.body).contains("hush"));
}
