//! Which channels are one call, and when it has ended. A plain state machine: frames and moments in, summaries out.
//!
//! The facts were handed on before, so what is lost with this memory is at most a summary.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use connector_sdk::schemas::CallDirection;
use connector_sdk::{Bytes, Timestamp};

use crate::catalog::{self, Treatment};
use crate::number::{End, Numbers, called};
use crate::story::mailbox;
use crate::wire::{self, Frame};

/// Calls at a time; the oldest one is given up beyond.
const CALLS_MAX: usize = 2000;
/// Frames kept of one call; beyond, those in the middle go: how it began and how it ended tell the outcome.
const FRAMES_MAX: usize = 400;
/// Bytes kept of one call.
const CALL_MAX_BYTES: usize = 128 << 10;
/// Finished calls whose late frames are known as such.
const CLOSED_MAX: usize = 1000;
/// Variables that say something about the outcome; all others are left out.
const VARIABLES: &[&str] = &["VMSTATUS", "VM_MESSAGEFILE"];
/// Events that come after a call, or without one: they never begin one.
const NEVER_FIRST: &[&str] = &["Cdr", "MessageWaiting", "VarSet", "HangupRequest", "SoftHangupRequest"];

/// Prefixes of the fields by which an event names a leg, its main one first.
const LEGS: &[&str] = &["", "Dest", "Transferer", "OrigTransferer"];

/// What the session puts beside a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    pub call: Option<String>,
    pub sequence: Option<u64>,
    pub direction: Option<CallDirection>,
}

/// A call that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub call: String,
    /// Its frames in the order of arrival, each with the time at which it came.
    pub body: Bytes,
    /// Its end was not seen.
    pub lost: bool,
    /// Bytes of frames that were not kept.
    pub dropped: u64,
}

/// A running call.
#[derive(Debug)]
struct Live {
    /// With the number of their arrival, so that two calls can be merged in order.
    frames: Vec<(u64, Bytes)>,
    bytes: usize,
    dropped: u64,
    /// Running channels, and in which connection each was seen last.
    legs: HashMap<String, u64>,
    gone: HashSet<String>,
    aliases: Vec<String>,
    started: Timestamp,
    ended: Option<Timestamp>,
    lost: bool,
    sequence: u64,
    caller: Option<Caller>,
    direction: Option<CallDirection>,
    /// The mailbox that it was sent to.
    mailbox: Option<String>,
}

#[derive(Clone, Debug)]
struct Caller {
    channel: String,
    context: Option<String>,
    number: Option<String>,
    called: Option<String>,
}

impl Live {
    fn new(now: Timestamp) -> Self {
        Self {
            frames: Vec::new(),
            bytes: 0,
            dropped: 0,
            legs: HashMap::new(),
            gone: HashSet::new(),
            aliases: Vec::new(),
            started: now,
            ended: None,
            lost: false,
            sequence: 0,
            caller: None,
            direction: None,
            mailbox: None,
        }
    }

    fn keep(&mut self, arrival: u64, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push((arrival, frame));
        while self.frames.len() > FRAMES_MAX || (self.bytes > CALL_MAX_BYTES && self.frames.len() > 2) {
            let (_, middle) = self.frames.remove(self.frames.len() / 2);
            self.bytes -= middle.len();
            self.dropped += middle.len() as u64;
        }
    }
}

/// Every call that runs, and those that have just ended.
#[derive(Debug)]
pub struct Tracker {
    numbers: Numbers,
    settle: Duration,
    max_call: Duration,
    calls: BTreeMap<String, Live>,
    /// Call of each running channel.
    by_leg: HashMap<String, String>,
    /// Call into which another was merged.
    merged: HashMap<String, String>,
    closed: VecDeque<String>,
    evicted: Vec<Finished>,
    connection: u64,
    arrivals: u64,
}

impl Tracker {
    pub fn new(numbers: Numbers, settle: Duration, max_call: Duration) -> Self {
        Self {
            numbers,
            settle,
            max_call,
            calls: BTreeMap::new(),
            by_leg: HashMap::new(),
            merged: HashMap::new(),
            closed: VecDeque::new(),
            evicted: Vec::new(),
            connection: 0,
            arrivals: 0,
        }
    }

    /// A new connection: channels count as running again when they show up in it.
    pub fn connected(&mut self) {
        self.connection += 1;
    }

    /// The list of running channels is complete: what is not on it, and was not seen since, has vanished.
    pub fn listed(&mut self, now: Timestamp) {
        let connection = self.connection;
        for call in self.calls.values_mut() {
            let before = call.legs.len();
            call.legs.retain(|leg, seen| *seen >= connection || !self.by_leg.contains_key(leg));
            if call.legs.len() < before {
                call.lost = true;
            }
            if call.legs.is_empty() && call.ended.is_none() {
                call.ended = Some(now);
            }
        }
        self.by_leg.retain(|leg, call| self.calls.get(call).is_some_and(|call| call.legs.contains_key(leg)));
    }

    /// Counts a frame to its call.
    pub fn take(&mut self, frame: &Frame, bytes: &Bytes, now: Timestamp) -> Noted {
        let Some(event) = frame.event() else { return Noted::default() };
        let treatment = catalog::treatment(event);
        if matches!(treatment, Some(Treatment::Noise(_))) || frame.get("Channel").is_some_and(catalog::own_channel) {
            return Noted::default();
        }
        let Some(id) = self.call_of(frame, event, now) else { return Noted::default() };
        self.arrivals += 1;
        let Some(call) = self.calls.get_mut(&id) else { return Noted::default() };
        if event != "VarSet" || frame.get("Variable").is_some_and(|name| VARIABLES.contains(&name)) {
            call.keep(self.arrivals, timed(bytes, now));
        }
        if event == "Newexten" && frame.get("Application").is_some_and(|name| name.eq_ignore_ascii_case("VoiceMail")) {
            call.mailbox = frame.get("AppData").and_then(mailbox);
        }
        let fact = !matches!(treatment, Some(Treatment::Kept(_)));
        if fact {
            // The clock's milliseconds, so that the numbers rise across restarts too.
            let clock = u64::try_from(now.unix_millis()).unwrap_or(0);
            call.sequence = clock.max(call.sequence + 1);
        }
        direction(&self.numbers, call, &id, frame);
        let noted = Noted {
            sequence: fact.then_some(call.sequence),
            direction: call.direction.clone(),
            call: Some(id.clone()),
        };
        self.legs(&id, frame, event, now);
        noted
    }

    /// The call that a frame belongs to, made where it is new, merged where a channel has moved to another one.
    fn call_of(&mut self, frame: &Frame, event: &str, now: Timestamp) -> Option<String> {
        let of = |key: &str| LEGS.iter().find_map(|prefix| frame.of(prefix, key));
        let leg = of("Uniqueid");
        let linked = of("Linkedid").map(|id| self.canonical(id));
        let known = leg.and_then(|leg| self.by_leg.get(leg)).cloned();
        let id = match (linked, known) {
            (Some(linked), Some(known)) if linked != known => {
                self.merge(&known, &linked);
                linked
            }
            (Some(linked), _) => linked,
            (None, Some(known)) => known,
            // A CDR without LinkedID, after its channel: the first leg's id is the call's.
            (None, None) => match leg {
                Some(leg) => self.canonical(leg),
                None => self.call_of_mailbox(frame)?,
            },
        };
        // The call in which the agent asked back goes on as a part of the one that is handed over.
        if let Some(second) = frame.get("SecondTransfererLinkedid").map(|id| self.canonical(id))
            && second != id
        {
            self.merge(&second, &id);
        }
        if self.calls.contains_key(&id) {
            return Some(id);
        }
        let begins = ["", "Dest"]
            .iter()
            .any(|prefix| frame.of(prefix, "Uniqueid").is_some() && frame.of(prefix, "Channel").is_some());
        let begins = begins && !NEVER_FIRST.contains(&event);
        if !begins || self.closed.contains(&id) {
            return None;
        }
        self.make_room();
        self.calls.insert(id.clone(), Live::new(now));
        Some(id)
    }

    fn canonical(&self, id: &str) -> String {
        self.merged.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    /// Old versions tell of a new message without saying whose call it was: the latest one sent to that mailbox.
    fn call_of_mailbox(&self, frame: &Frame) -> Option<String> {
        let mailbox = frame.get("Mailbox")?;
        let sent = self.calls.iter().filter(|(_, call)| call.mailbox.as_deref() == Some(mailbox));
        sent.max_by_key(|(_, call)| call.started).map(|(id, _)| id.clone())
    }

    /// `from` goes on as a part of `into`.
    fn merge(&mut self, from: &str, into: &str) {
        let Some(old) = self.calls.remove(from) else { return };
        for leg in old.legs.keys() {
            self.by_leg.insert(leg.clone(), into.to_owned());
        }
        for alias in old.aliases.iter().map(String::as_str).chain([from]) {
            self.merged.insert(alias.to_owned(), into.to_owned());
        }
        self.closed.retain(|closed| closed != into);
        let call = self.calls.entry(into.to_owned()).or_insert_with(|| Live::new(old.started));
        call.started = call.started.min(old.started);
        call.ended = None;
        call.sequence = call.sequence.max(old.sequence);
        call.aliases.extend(old.aliases);
        call.aliases.push(from.to_owned());
        call.legs.extend(old.legs);
        call.gone.extend(old.gone);
        call.dropped += old.dropped;
        let mut frames = std::mem::take(&mut call.frames);
        frames.extend(old.frames);
        frames.sort_by_key(|(arrival, _)| *arrival);
        call.bytes = 0;
        for (arrival, frame) in frames {
            call.keep(arrival, frame);
        }
    }

    fn legs(&mut self, id: &str, frame: &Frame, event: &str, now: Timestamp) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if event == "Hangup" {
            if let Some(leg) = frame.get("Uniqueid") {
                call.legs.remove(leg);
                call.gone.insert(leg.to_owned());
                self.by_leg.remove(leg);
            }
        } else if !NEVER_FIRST.contains(&event) {
            for prefix in ["", "Dest"] {
                let Some(leg) = frame.of(prefix, "Uniqueid") else { continue };
                if !call.gone.contains(leg) {
                    call.legs.insert(leg.to_owned(), self.connection);
                    self.by_leg.insert(leg.to_owned(), id.to_owned());
                }
            }
        }
        call.ended = if call.legs.is_empty() { call.ended.or(Some(now)) } else { None };
    }

    fn make_room(&mut self) {
        if self.calls.len() < CALLS_MAX {
            return;
        }
        let oldest = self.calls.iter().min_by_key(|(_, call)| call.started).map(|(id, _)| id.clone());
        if let Some(mut finished) = oldest.and_then(|id| self.close(&id)) {
            finished.lost = true;
            self.evicted.push(finished);
        }
    }

    /// Calls whose summary is due.
    pub fn due(&mut self, now: Timestamp) -> Vec<Finished> {
        self.finish(|call, settle, max_call| due_at(call, settle, max_call) <= now)
    }

    /// Calls that have ended, whether settled or not; for shutdown.
    pub fn ended(&mut self) -> Vec<Finished> {
        self.finish(|call, _, _| call.ended.is_some())
    }

    fn finish(&mut self, over: impl Fn(&Live, Duration, Duration) -> bool) -> Vec<Finished> {
        let mut finished = std::mem::take(&mut self.evicted);
        let over: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| over(call, self.settle, self.max_call))
            .map(|(id, _)| id.clone())
            .collect();
        finished.extend(over.iter().filter_map(|id| self.close(id)));
        finished
    }

    /// When the next summary is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.calls.values().map(|call| due_at(call, self.settle, self.max_call)).min()
    }

    fn close(&mut self, id: &str) -> Option<Finished> {
        let call = self.calls.remove(id)?;
        for leg in call.legs.keys() {
            self.by_leg.remove(leg);
        }
        for alias in &call.aliases {
            self.merged.remove(alias);
        }
        self.closed.extend(call.aliases.iter().cloned().chain([id.to_owned()]));
        while self.closed.len() > CLOSED_MAX {
            self.closed.pop_front();
        }
        let body: Vec<u8> = call.frames.iter().flat_map(|(_, frame)| frame.iter().copied()).collect();
        Some(Finished {
            call: id.to_owned(),
            body: body.into(),
            lost: call.lost || call.ended.is_none(),
            dropped: call.dropped,
        })
    }
}

fn due_at(call: &Live, settle: Duration, max_call: Duration) -> Timestamp {
    match call.ended {
        Some(ended) if call.lost => ended,
        Some(ended) => ended.plus(settle),
        None => call.started.plus(max_call),
    }
}

/// Learns who began the call and whom it rang, for the direction of its facts.
fn direction(numbers: &Numbers, call: &mut Live, id: &str, frame: &Frame) {
    let own = |text: &str| text.to_owned();
    if call.caller.is_none() && frame.get("Uniqueid") == Some(id) {
        call.caller = frame.get("Channel").map(|channel| Caller {
            channel: own(channel),
            context: frame.get("Context").map(own),
            number: frame.get("CallerIDNum").map(own),
            called: called(frame.get("Exten")).map(own),
        });
    }
    let Some(caller) = &call.caller else { return };
    let dialled = frame.get("DestChannel").filter(|_| frame.get("DestUniqueid") != Some(id)).map(|channel| End {
        channel,
        context: frame.get("DestContext"),
        number: frame.get("DestCallerIDNum"),
    });
    // Once a trunk was rung it stays an outbound call, whoever is rung besides.
    if call.direction.is_none() || (dialled.is_some() && call.direction != Some(CallDirection::Outbound)) {
        let end =
            End { channel: &caller.channel, context: caller.context.as_deref(), number: caller.number.as_deref() };
        let dialled: Vec<_> = dialled.into_iter().collect();
        call.direction = Some(numbers.direction(&end, caller.called.as_deref(), &dialled));
    }
}

/// A frame as it is kept: secrets masked, the time of its arrival before it, an empty line behind it.
fn timed(bytes: &Bytes, now: Timestamp) -> Bytes {
    let mut kept = format!("{}: {now}\r\n", wire::RECEIVED).into_bytes();
    kept.extend_from_slice(&wire::masked(bytes));
    kept.extend_from_slice(b"\r\n");
    kept.into()
}

#[cfg(test)]
mod tests;
