//! One frame → a fact about a leg; the frames of a call → its summary (`summary.rs`).

use std::sync::Arc;

use connector_sdk::schemas::{
    Actor, Call, CallDirection, CallState, Channel, Direction, Event, Kind, Party, Recipient, Role, Timestamp,
};
use connector_sdk::{Draft, Parse, Parsed, RawEvent, Wire};

use crate::catalog::{self, Treatment};
use crate::number::{End, called, endpoint};
use crate::wire::{self, Frame};
use crate::{Options, PROVIDER, id, summary};

const PARSER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Fields that have a place of their own in the event.
const TOLD: &[&str] = &["Event", "Privilege", "Linkedid", "Queue", "Timestamp"];

/// The instance's parser.
pub struct Parser {
    options: Arc<Options>,
}

impl Parser {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

impl Parse for Parser {
    fn parse(&self, raw: &RawEvent) -> Parsed {
        if raw.wire != Wire::Frames {
            return Parsed::reject("unexpected_wire", format!("{:?} input is not this connector's", raw.wire));
        }
        let mut parsed = match raw.headers.get(wire::ITEM) {
            None => frame(&self.options, raw),
            Some(wire::CALL) => summary::parse(&self.options, raw),
            Some(other) => Parsed::reject("unknown_item", format!("{} {other} is not known", wire::ITEM)),
        };
        for draft in &mut parsed.events {
            draft.event.provenance.parser_version = Some(PARSER.into());
            // Nothing but the log-in vouches for an event; over TLS the PBX has shown its certificate as well.
            draft.event.provenance.verified_by = Some(if self.options.tls { "tls-login" } else { "login" }.into());
            draft.event.provenance.sanitized |= std::str::from_utf8(&raw.body).is_err();
        }
        parsed
    }

    fn redact(&self, raw: &RawEvent) -> RawEvent {
        let mut raw = connector_sdk::redact::request(raw, &[]);
        raw.body = wire::masked(&raw.body);
        raw
    }
}

fn frame(options: &Options, raw: &RawEvent) -> Parsed {
    let frame = Frame::read(&raw.body);
    let Some(name) = frame.event().map(str::to_owned) else {
        return match frame.get("Response") {
            Some(_) => Parsed::skip("Response", "the answer to an action of the session"),
            None => Parsed::reject("malformed_frame", "a frame without Event or Response"),
        };
    };
    let input = Input { options, raw, frame: &frame, name: &name };
    match catalog::treatment(&name) {
        Some(Treatment::Fact) => input.fact(),
        Some(Treatment::Kept(reason) | Treatment::Noise(reason)) => Parsed::skip(name, reason),
        None => input.unsupported(),
    }
}

/// What a fact says beyond the frame's common fields.
struct Fact<'a> {
    kind: Kind,
    state: CallState,
    /// Prefix of the fields of the leg that it is about.
    leg: &'a str,
    reason: Option<&'static str>,
    provider_state: Option<&'a str>,
}

struct Input<'a> {
    options: &'a Options,
    raw: &'a RawEvent,
    frame: &'a Frame,
    name: &'a str,
}

impl<'a> Input<'a> {
    fn fact(&self) -> Parsed {
        let get = |key| self.frame.get(key);
        let ringing = |leg, provider_state| Fact {
            kind: Kind::CallRinging,
            state: CallState::Ringing,
            leg,
            reason: None,
            provider_state,
        };
        let ended = |leg, reason, provider_state| Fact {
            kind: Kind::CallEnded,
            state: CallState::Ended,
            leg,
            reason,
            provider_state,
        };
        let answered = |provider_state| Fact {
            kind: Kind::CallAnswered,
            state: CallState::Answered,
            leg: "Dest",
            reason: None,
            provider_state,
        };
        if get("Channel").is_some_and(catalog::own_channel) {
            return Parsed::skip(self.name, "a channel of the PBX itself");
        }
        let state = get("ChannelStateDesc");
        let fact = match self.name {
            "Newchannel" if state == Some("Ring") => ringing("", state),
            "Newchannel" => return Parsed::skip(self.name, "the leg is told of when it rings"),
            "Newstate" if matches!(state, Some("Ring" | "Ringing")) => ringing("", state),
            "Newstate" => return Parsed::skip(self.name, "DialEnd and AgentConnect say who answered"),
            // A leg whose far end sends sound instead of ringing never comes to the state Ringing.
            "DialState" if get("DialStatus") == Some("PROGRESS") => ringing("Dest", get("DialStatus")),
            "DialState" => return Parsed::skip(self.name, "Newstate says when the leg rings"),
            "DialEnd" => match get("DialStatus") {
                Some("ANSWER") => answered(get("DialStatus")),
                status => ended("Dest", status.and_then(dial_reason), status),
            },
            "QueueCallerJoin" => ringing("", Some("QueueCallerJoin")),
            "QueueCallerAbandon" => ended("", Some("abandoned_in_queue"), Some("QueueCallerAbandon")),
            "AgentCalled" => ringing("Dest", Some("AgentCalled")),
            "AgentRingNoAnswer" => ended("Dest", Some("no_answer"), Some("AgentRingNoAnswer")),
            "AgentConnect" => answered(Some("AgentConnect")),
            "AgentComplete" => ended("Dest", None, Some("AgentComplete")),
            "BlindTransfer" => ended("Transferer", None, Some("BlindTransfer")),
            "AttendedTransfer" => ended("OrigTransferer", None, Some("AttendedTransfer")),
            "MessageWaiting" if get("Uniqueid").is_none() => {
                return Parsed::skip(self.name, "the state of a mailbox, without a call");
            }
            "MessageWaiting" if get("Waiting") != Some("1") => {
                return Parsed::skip(self.name, "nothing new in the mailbox");
            }
            "MessageWaiting" => Fact {
                kind: Kind::CallVoicemail,
                state: CallState::Voicemail,
                leg: "",
                reason: None,
                provider_state: Some("MessageWaiting"),
            },
            "Hangup" => ended("", None, state),
            "Cdr" => ended("", cdr_reason(self.frame), get("Disposition")),
            _ => return self.unsupported(),
        };
        self.told(&fact)
    }

    fn told(&self, fact: &Fact<'_>) -> Parsed {
        let frame = self.frame;
        let Some(leg_id) = frame.of(fact.leg, "Uniqueid") else {
            return Parsed::reject("missing_field", format!("{} without {}Uniqueid", self.name, fact.leg));
        };
        let linked = frame.of(fact.leg, "Linkedid").or_else(|| frame.get("Linkedid"));
        let call_id = linked.or(self.raw.headers.get(wire::CALL_ID)).unwrap_or(leg_id);
        let mut call = Call::new(call_id);
        call.leg_id = Some(leg_id.to_owned());
        call.sequence = self.raw.headers.get(wire::SEQUENCE).and_then(|text| text.parse().ok());
        call.state = Some(fact.state.clone());
        call.provider_state = fact.provider_state.map(str::to_owned);
        call.reason = fact.reason.map(str::to_owned);
        call.queue = frame.get("Queue").map(str::to_owned);
        call.mailbox = frame.get("Mailbox").map(str::to_owned);
        // 0 is no cause of Q.850 but "not set".
        call.hangup_code = frame.number("Cause").and_then(|code| u32::try_from(code).ok()).filter(|code| *code > 0);
        call.hangup_cause = call.hangup_code.and(frame.get("Cause-txt")).map(str::to_owned);
        call.direction = self.direction(call_id);
        self.parties(&mut call, fact, leg_id == call_id);
        self.times(&mut call);
        let event = event(self.options, fact.kind.clone(), self.at(), call);
        self.draft(event, call_id, leg_id)
    }

    fn draft(&self, mut event: Event, call_id: &str, leg_id: &str) -> Parsed {
        event.provenance.provider_type = Some(self.name.to_owned());
        event.provider_sequence = self.frame.get("SequenceNumber").map(str::to_owned);
        let rest = self.frame.rest(TOLD);
        event.provider_data = rest.as_object().is_some_and(|map| !map.is_empty()).then(|| rest.into());
        Parsed::one(Draft::new(id::fact(call_id, leg_id, self.name, self.frame, &self.raw.body), event))
    }

    /// From whom to whom, and which of them is an agent.
    fn parties(&self, call: &mut Call, fact: &Fact<'_>, first_leg: bool) {
        let (numbers, frame) = (&self.options.numbers, self.frame);
        let own = || numbers.party(frame.of(fact.leg, "CallerIDNum"), frame.of(fact.leg, "CallerIDName"));
        let other = |prefix: &str, what: &str| {
            numbers.party(frame.of(prefix, &format!("{what}Num")), frame.of(prefix, &format!("{what}Name")))
        };
        let number = |text: Option<&str>| text.map(|text| numbers.party(Some(text), None));
        let channel = frame.of(fact.leg, "Channel").unwrap_or("");
        let leg_is_trunk = numbers.is_trunk(channel, frame.of(fact.leg, "Context"));
        if self.name == "Cdr" {
            call.from = number(frame.get("Source"));
            call.to = number(called(frame.get("Destination")));
            call.agent = frame.get("DestinationChannel").filter(|c| !numbers.is_trunk(c, None)).map(label);
            return;
        }
        (call.from, call.to) = if fact.leg == "Dest" {
            (frame.get("Channel").map(|_| other("", "CallerID")), Some(own()))
        } else if first_leg {
            (Some(own()), number(called(frame.of(fact.leg, "Exten"))))
        } else {
            (Some(other(fact.leg, "ConnectedLine")), Some(own()))
        };
        let agent_leg = !channel.is_empty() && !leg_is_trunk && (!first_leg || fact.leg.ends_with("Transferer"));
        call.agent = agent_leg.then(|| label(channel));
        call.transferred_to = match self.name {
            "BlindTransfer" => frame.get("Extension").map(str::to_owned),
            "AttendedTransfer" => frame.get("TransferTargetChannel").map(label),
            _ => None,
        };
    }

    /// Times and spans that the frame itself states.
    fn times(&self, call: &mut Call) {
        let number = |key| self.frame.number(key);
        match self.name {
            "AgentConnect" => call.ring_seconds = number("HoldTime"),
            "AgentComplete" => {
                call.talk_seconds = number("TalkTime");
                call.ended_by = match self.frame.get("Reason") {
                    Some(who @ ("caller" | "agent")) => Some(who.to_owned()),
                    _ => None,
                };
            }
            // Milliseconds, unlike the seconds of AgentConnect (app_queue.c).
            "AgentRingNoAnswer" => call.ring_seconds = number("RingTime").map(|millis| millis / 1000),
            "Cdr" => {
                call.duration_seconds = number("Duration");
                // The dialplan's own answer (a queue, an announcement) is billed too.
                let talked = self.frame.get("Disposition") == Some("ANSWERED");
                call.talk_seconds = number("BillableSeconds").filter(|_| talked);
            }
            _ => {}
        }
        let created = call.leg_id.as_deref().and_then(id::created_seconds);
        call.started_at = created.and_then(Timestamp::from_unix_seconds);
    }

    /// The session's word for the call, else what this frame alone tells for sure.
    fn direction(&self, call_id: &str) -> Option<CallDirection> {
        if let Some(known) = self.raw.headers.get(wire::DIRECTION) {
            return Some(CallDirection::from(known));
        }
        let frame = self.frame;
        let end = |prefix| {
            let of = |key| frame.of(prefix, key);
            of("Channel").map(|channel| End { channel, context: of("Context"), number: of("CallerIDNum") })
        };
        let caller = end("").filter(|_| frame.get("Uniqueid") == Some(call_id))?;
        let dialled: Vec<_> = end("Dest").into_iter().collect();
        Some(self.options.numbers.direction(&caller, called(frame.get("Exten")), &dialled))
    }

    fn at(&self) -> Timestamp {
        self.frame.get("Timestamp").and_then(Timestamp::from_unix_decimal).unwrap_or(self.raw.received_at)
    }

    fn unsupported(&self) -> Parsed {
        let call_id = self.frame.get("Linkedid").or(self.raw.headers.get(wire::CALL_ID));
        let leg_id = self.frame.get("Uniqueid").unwrap_or("");
        let mut draft = Draft::unsupported(
            id::fact(call_id.unwrap_or(""), leg_id, self.name, self.frame, &self.raw.body),
            Channel::Voice,
            PROVIDER,
            &self.options.account,
            self.at(),
            self.name,
            self.frame.rest(&[]),
        );
        draft.event.direction = Direction::Internal;
        if let Some(call_id) = call_id {
            draft.event.conversation = id::conversation(call_id);
        }
        draft.event.provenance.provider_type = Some(self.name.to_owned());
        Parsed::one(draft)
    }
}

/// An event about a call, with who called whom as sender and recipient.
pub fn event(options: &Options, kind: Kind, at: Timestamp, call: Call) -> Event {
    let mut event = Event::new(kind, Channel::Voice, PROVIDER, &options.account, at);
    event.direction = match call.direction {
        Some(CallDirection::Outbound) => Direction::OutboundEcho,
        Some(CallDirection::Internal) => Direction::Internal,
        _ => Direction::Inbound,
    };
    event.conversation = id::conversation(&call.call_id);
    let actor = |party: &Party| {
        let actor = Actor::new(options.numbers.identity(party).into_iter().collect()).named(party.name.clone());
        Some(actor).filter(|actor| !actor.identities.is_empty() || actor.display_name.is_some())
    };
    event.sender = call.from.as_ref().and_then(actor);
    event.recipients = call.to.iter().filter_map(actor).map(|actor| Recipient { role: Role::To, actor }).collect();
    event.call = Some(call);
    event
}

/// What people call a leg: its endpoint.
pub fn label(channel: &str) -> String {
    endpoint(channel).to_owned()
}

/// Why a dialled leg was not answered. CANCEL says nothing: the caller hung up, or another leg was answered.
pub fn dial_reason(status: &str) -> Option<&'static str> {
    match status {
        "BUSY" => Some("busy"),
        "NOANSWER" => Some("no_answer"),
        "CHANUNAVAIL" | "CONGESTION" => Some("failed"),
        _ => None,
    }
}

fn cdr_reason(frame: &Frame) -> Option<&'static str> {
    match frame.get("Disposition")? {
        "BUSY" => Some("busy"),
        "NO ANSWER" => Some("no_answer"),
        "FAILED" | "CONGESTION" => Some("failed"),
        _ => None,
    }
}
