//! The frames of a finished call → one event that says how it went.

use connector_sdk::schemas::{Call, CallDirection, CallOutcome, CallState, Kind, Truncation};
use connector_sdk::{Draft, Parsed, RawEvent, Timestamp};
use jiff::civil::DateTime;
use serde_json::{Map, Value};

use crate::number::{End, called};
use crate::parse::{dial_reason, event, label};
use crate::story::{Leg, Story};
use crate::wire::{self, Frame};
use crate::{Options, id};

/// How the times in CDR events are written: the PBX's local time without a zone.
const CDR_TIME: &str = "%Y-%m-%d %H:%M:%S%.f";
/// Q.850: the called party rejected the call.
const CAUSE_REJECTED: &str = "21";

/// Reads the frames of a call.
pub fn parse(options: &Options, raw: &RawEvent) -> Parsed {
    let story = Story::read(wire::frames(&raw.body), raw.headers.get(wire::CALL_ID));
    let Some(caller) = caller(&story, raw.headers.get(wire::CALL_ID)) else {
        return Parsed::reject("malformed_call", "no frame of the call names a channel");
    };
    let lost = raw.headers.get(wire::END) == Some(wire::LOST);
    let telling = Telling { options, story: &story, caller, lost, end: raw.received_at };
    let call = telling.call(raw.headers.get(wire::CALL_ID));
    let kind = match call.outcome {
        Some(CallOutcome::Missed) => Kind::CallMissed,
        Some(CallOutcome::Voicemail) => Kind::CallVoicemail,
        _ => Kind::CallEnded,
    };
    let (call_id, at) = (call.call_id.clone(), call.ended_at.unwrap_or(raw.received_at));
    let mut event = event(options, kind, at, call);
    event.provenance.provider_type = Some("call".into());
    event.provider_data = telling.rest().map(Into::into);
    if let Some(dropped) = raw.headers.get(wire::DROPPED).and_then(|text| text.parse::<u64>().ok()) {
        event.provenance.truncations.push(Truncation {
            field: "/provider_data".into(),
            original_bytes: raw.body.len() as u64 + dropped,
            kept_bytes: raw.body.len() as u64,
        });
    }
    Parsed::one(Draft::new(id::summary(&call_id), event))
}

/// The leg that began the call: the one whose id is the call's.
fn caller<'a>(story: &'a Story, call_id: Option<&str>) -> Option<&'a Leg> {
    let root = call_id.or(story.linked_ids.first().map(String::as_str));
    root.and_then(|root| story.leg(root)).or_else(|| story.legs.first())
}

/// Durations in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spans {
    duration: Option<u64>,
    ring: Option<u64>,
    talk: Option<u64>,
}

struct Telling<'a> {
    options: &'a Options,
    story: &'a Story,
    caller: &'a Leg,
    lost: bool,
    /// When the session made the summary.
    end: Timestamp,
}

impl Telling<'_> {
    fn call(&self, call_id: Option<&str>) -> Call {
        let story = self.story;
        let root = call_id.or(story.linked_ids.first().map(String::as_str)).unwrap_or(&self.caller.id);
        let mut call = Call::new(root);
        let numbers = &self.options.numbers;
        call.direction = Some(self.direction());
        call.from = Some(numbers.party(self.caller.number.as_deref(), self.caller.name.as_deref()));
        call.to = self.called().map(|number| numbers.party(Some(number), None));
        call.queue.clone_from(&story.queue);
        call.rung = self.rung();
        call.answered_by = self.last_answer().map(|leg| self.name(leg));
        call.agent = match call.direction {
            // Who calls out is the agent.
            Some(CallDirection::Outbound) => Some(label(&self.caller.channel)),
            _ => call.answered_by.clone(),
        };
        call.transferred_to = self.transferred_to();
        let outcome = self.outcome();
        call.state = Some(match outcome {
            CallOutcome::Missed => CallState::Missed,
            CallOutcome::Voicemail => CallState::Voicemail,
            _ => CallState::Ended,
        });
        call.mailbox = story.mailbox.clone().filter(|_| outcome == CallOutcome::Voicemail);
        call.reason = (outcome == CallOutcome::Missed).then(|| self.reason()).flatten().map(str::to_owned);
        if outcome != CallOutcome::Lost {
            call.ended_by = Some(self.ended_by(&outcome).to_owned());
        }
        call.hangup_cause.clone_from(&self.caller.cause_text);
        call.hangup_code = self.caller.cause.as_deref().and_then(|code| code.parse().ok());
        self.times(&mut call, &outcome);
        call.outcome = Some(outcome);
        call
    }

    fn outcome(&self) -> CallOutcome {
        if self.lost || !self.caller.hung_up {
            CallOutcome::Lost
        } else if self.last_answer().is_some() || self.served_by_the_pbx() {
            CallOutcome::Answered
        } else if self.story.voicemail_left {
            CallOutcome::Voicemail
        } else {
            CallOutcome::Missed
        }
    }

    /// Somebody of the business called an application of the PBX (their own mailbox, a conference): nobody was to answer.
    fn served_by_the_pbx(&self) -> bool {
        self.direction() != CallDirection::Inbound && self.caller.up && !self.story.legs.iter().any(|leg| leg.dialled)
    }

    fn direction(&self) -> CallDirection {
        let dialled: Vec<End<'_>> = self.story.legs.iter().filter(|leg| leg.dialled).map(end).collect();
        self.options.numbers.direction(&end(self.caller), self.called(), &dialled)
    }

    fn called(&self) -> Option<&str> {
        let by_cdr = || self.story.cdrs.iter().find_map(|cdr| called(cdr.get("Destination")));
        self.caller.exten.as_deref().or_else(by_cdr)
    }

    /// The legs that talked with the caller, in order.
    fn answers(&self) -> impl Iterator<Item = (&Leg, &crate::story::Answer)> {
        let answers = self.story.answers.iter();
        answers.filter(|answer| answer.leg != self.caller.id).filter_map(|a| Some((self.story.leg(&a.leg)?, a)))
    }

    fn last_answer(&self) -> Option<&Leg> {
        self.answers().last().map(|(leg, _)| leg)
    }

    /// A phone's name; for a leg to the outside the number that was called there.
    fn name(&self, leg: &Leg) -> String {
        let trunk = self.is_trunk(leg);
        leg.number.clone().filter(|_| trunk).unwrap_or_else(|| label(&leg.channel))
    }

    fn is_trunk(&self, leg: &Leg) -> bool {
        self.options.numbers.is_trunk(&leg.channel, leg.context.as_deref())
    }

    fn rung(&self) -> Vec<String> {
        let mut rung: Vec<String> = Vec::new();
        let outbound = self.direction() == CallDirection::Outbound;
        for leg in self.story.legs.iter().filter(|leg| leg.dialled && !(outbound && self.is_trunk(leg))) {
            let name = self.name(leg);
            if !rung.contains(&name) {
                rung.push(name);
            }
        }
        rung
    }

    fn transferred_to(&self) -> Option<String> {
        // Two calls that became one without an event of a transfer (`Bridge`, some phones): who took over talked last.
        if self.story.transfers.is_empty() && self.merged() && self.answers().count() > 1 {
            return self.last_answer().map(|leg| self.name(leg));
        }
        let transfer = self.story.transfers.last()?;
        let to = transfer.to.as_deref().map(|to| if to.contains('/') { label(to) } else { to.to_owned() });
        to.or_else(|| self.last_answer().map(|leg| self.name(leg)))
    }

    fn merged(&self) -> bool {
        self.story.linked_ids.len() > 1
    }

    fn reason(&self) -> Option<&'static str> {
        if self.story.abandoned {
            return Some("abandoned_in_queue");
        }
        let dialled: Vec<&Leg> = self.story.legs.iter().filter(|leg| leg.dialled).collect();
        let statuses: Vec<&str> = dialled.iter().filter_map(|leg| leg.dial_status.as_deref()).collect();
        let caller_left = self.story.asked.contains(&self.caller.id);
        // Who hangs up in the announcement after the ringing was not answered before that.
        if caller_left && (dialled.is_empty() || statuses.is_empty() || statuses.contains(&"CANCEL")) {
            return Some("cancelled_by_caller");
        }
        if statuses.contains(&"NOANSWER") && !dialled.iter().any(|leg| leg.cause.as_deref() == Some(CAUSE_REJECTED)) {
            return Some("no_answer");
        }
        if dialled.iter().any(|leg| leg.cause.as_deref() == Some(CAUSE_REJECTED)) {
            return Some("rejected");
        }
        for status in ["BUSY", "CHANUNAVAIL", "CONGESTION"] {
            if statuses.contains(&status) {
                return dial_reason(status);
            }
        }
        if caller_left {
            return Some("cancelled_by_caller");
        }
        // Nobody was rung and the PBX hung up: an announcement after hours looks like a block list. No guess.
        (!dialled.is_empty() || self.story.queue.is_some()).then_some("no_answer")
    }

    fn ended_by(&self, outcome: &CallOutcome) -> &'static str {
        let asked = &self.story.asked;
        if *outcome != CallOutcome::Answered {
            return if asked.contains(&self.caller.id) { self.role(self.caller) } else { "system" };
        }
        let last = self.answers().last();
        let since = last.map_or(0, |(_, answer)| answer.asked_before);
        let parties = |id: &&String| **id == self.caller.id || last.is_some_and(|(leg, _)| leg.id == **id);
        let first = asked.get(since..).unwrap_or(&[]).iter().find(parties);
        match (first.and_then(|id| self.story.leg(id)), self.story.queue_times.ended.as_deref()) {
            (Some(leg), _) => self.role(leg),
            (None, Some("caller")) => "caller",
            (None, Some("agent")) => "agent",
            _ => "system",
        }
    }

    /// `caller` and `agent` as in an inbound call; an outbound call's far end is the `callee`.
    fn role(&self, leg: &Leg) -> &'static str {
        match (self.direction(), leg.id == self.caller.id) {
            (CallDirection::Outbound, true) => "agent",
            (CallDirection::Outbound, false) => "callee",
            (_, true) => "caller",
            (_, false) => "agent",
        }
    }

    fn times(&self, call: &mut Call, outcome: &CallOutcome) {
        let created = id::created_seconds(&self.caller.id).and_then(Timestamp::from_unix_seconds);
        call.started_at = created.or(self.story.first_at);
        let (cdr, seen) = (self.by_cdr(outcome), self.by_arrival(outcome));
        // Where the end was not seen there is no duration to tell.
        if *outcome == CallOutcome::Lost {
            return;
        }
        call.duration_seconds = cdr.duration.or(seen.duration);
        call.talk_seconds = cdr.talk.or(seen.talk);
        call.ring_seconds = cdr.ring.or(seen.ring);
        let after = |seconds: Option<u64>| Some(call.started_at?.plus(std::time::Duration::from_secs(seconds?)));
        call.ended_at = after(call.duration_seconds).or(self.story.last_hangup_at);
        call.answered_at = (*outcome == CallOutcome::Answered).then(|| after(call.ring_seconds)).flatten();
    }

    /// The PBX's own durations: the queue's for its agents, else those of the CDRs.
    fn by_cdr(&self, outcome: &CallOutcome) -> Spans {
        let queue = &self.story.queue_times;
        let mut cdrs: Vec<Cdr<'_>> = self.story.cdrs.iter().filter_map(Cdr::read).collect();
        cdrs.sort_by_key(|cdr| cdr.start);
        let own: Vec<&Cdr<'_>> = cdrs.iter().filter(|cdr| cdr.leg == Some(self.caller.id.as_str())).collect();
        let all: Vec<&Cdr<'_>> = if own.is_empty() { cdrs.iter().collect() } else { own };
        let Some(start) = all.first().map(|cdr| cdr.start) else {
            return Spans { duration: None, ring: queue.hold_seconds, talk: queue.talk_seconds };
        };
        let duration = all.iter().map(|cdr| cdr.end).max().and_then(|end| seconds(start, end));
        if *outcome != CallOutcome::Answered {
            // An answer by the dialplan (a queue, an announcement) is none; that of the mailbox ends the ringing.
            let mailbox = all.iter().filter(|cdr| cdr.voicemail).find_map(|cdr| cdr.answer);
            let ring = mailbox.map_or(duration, |answer| seconds(start, answer));
            return Spans { duration, ring, talk: None };
        }
        let talked: Vec<&&Cdr<'_>> = all.iter().filter(|cdr| cdr.answer.is_some() && self.talked(cdr)).collect();
        let talk = (!talked.is_empty()).then(|| talked.iter().map(|cdr| cdr.billable).sum());
        let ring = talked.first().and_then(|cdr| cdr.answer).and_then(|answer| seconds(start, answer));
        Spans { duration, ring: queue.hold_seconds.or(ring), talk: queue.talk_seconds.or(talk) }
    }

    /// Whether a CDR is about a conversation with somebody who answered.
    fn talked(&self, cdr: &Cdr<'_>) -> bool {
        let leg = cdr.destination.and_then(|channel| self.story.leg_of_channel(channel));
        leg.is_some_and(|leg| self.answers().any(|(answered, _)| answered.id == leg.id))
    }

    /// What the frames' own times say; for PBXs without CDR events.
    fn by_arrival(&self, outcome: &CallOutcome) -> Spans {
        // A call that was running already began when its channel was made.
        let created = id::created_seconds(&self.caller.id).and_then(Timestamp::from_unix_seconds);
        let start = if self.story.joined_late { created } else { self.story.first_at };
        let (Some(start), Some(end)) = (start, self.story.last_hangup_at) else { return Spans::default() };
        let whole = |from: Timestamp, to: Timestamp| to.since(from).as_secs();
        let duration = Some(whole(start, end));
        let answered = self.answers().next().and_then(|(_, answer)| answer.at).filter(|_| !self.story.joined_late);
        match answered {
            Some(at) => Spans { duration, ring: Some(whole(start, at)), talk: Some(whole(at, end)) },
            None if *outcome == CallOutcome::Missed => Spans { duration, ring: duration, talk: None },
            None => Spans { duration, ..Spans::default() },
        }
    }

    /// What the event's own fields do not tell.
    fn rest(&self) -> Option<Value> {
        let story = self.story;
        let mut map = Map::new();
        if self.merged() {
            map.insert("linked_ids".into(), Value::from(story.linked_ids.clone()));
        }
        if let Some(transfer) = story.transfers.last() {
            map.insert("transfer".into(), transfer.kind.into());
        }
        let texts = [("last_application", &story.last_application), ("voicemail_file", &story.message_file)];
        for (key, text) in texts {
            if let Some(text) = text {
                map.insert(key.into(), text.as_str().into());
            }
        }
        if story.voicemail_reached {
            map.insert("voicemail_reached".into(), true.into());
        }
        if story.recorded {
            map.insert("recorded".into(), true.into());
        }
        if story.joined_late {
            map.insert("joined_late".into(), true.into());
        }
        if self.lost {
            map.insert("given_up_at".into(), self.end.to_string().into());
        }
        let seen = self.by_arrival(&self.outcome());
        if seen != Spans::default() && !story.cdrs.is_empty() {
            let spans = serde_json::json!({
                "duration_seconds": seen.duration, "ring_seconds": seen.ring, "talk_seconds": seen.talk,
            });
            map.insert("measured".into(), spans);
        }
        if !story.cdrs.is_empty() {
            let cdrs = story.cdrs.iter().map(|cdr| cdr.rest(&["Event", "Privilege", wire::RECEIVED]));
            map.insert("cdr".into(), Value::Array(cdrs.collect()));
        }
        (!map.is_empty()).then_some(Value::Object(map))
    }
}

fn end(leg: &Leg) -> End<'_> {
    End { channel: &leg.channel, context: leg.context.as_deref(), number: leg.number.as_deref() }
}

/// One CDR event. Its times have no zone, so they are only compared with each other.
struct Cdr<'a> {
    leg: Option<&'a str>,
    destination: Option<&'a str>,
    start: DateTime,
    answer: Option<DateTime>,
    end: DateTime,
    billable: u64,
    voicemail: bool,
}

impl<'a> Cdr<'a> {
    fn read(frame: &'a Frame) -> Option<Self> {
        let time = |key| frame.get(key).and_then(|text| DateTime::strptime(CDR_TIME, text).ok());
        Some(Self {
            leg: frame.get("UniqueID"),
            destination: frame.get("DestinationChannel"),
            start: time("StartTime")?,
            answer: time("AnswerTime"),
            end: time("EndTime")?,
            billable: frame.number("BillableSeconds").unwrap_or(0),
            voicemail: frame.get("LastApplication").is_some_and(|name| name.eq_ignore_ascii_case("VoiceMail")),
        })
    }
}

/// Seconds between two local times; `None` where the clock was set back in between.
fn seconds(from: DateTime, to: DateTime) -> Option<u64> {
    u64::try_from(to.duration_since(from).as_secs()).ok()
}
