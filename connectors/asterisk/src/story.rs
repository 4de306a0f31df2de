//! What happened in a call, told frame by frame: its legs, who was rung, who talked with whom, who hung up.

use std::collections::BTreeMap;

use connector_sdk::Timestamp;

use crate::catalog;
use crate::wire::{Frame, RECEIVED};

/// How the channels begin that join two parts of the dialplan.
const LOCAL: &str = "Local/";

/// One channel of the call.
#[derive(Clone, Debug, Default)]
pub struct Leg {
    pub id: String,
    pub channel: String,
    pub context: Option<String>,
    pub number: Option<String>,
    pub name: Option<String>,
    /// The called number of a first leg: the extension in which it began.
    pub exten: Option<String>,
    pub up: bool,
    /// It was called by another leg.
    pub dialled: bool,
    /// How dialling it ended.
    pub dial_status: Option<String>,
    pub hung_up: bool,
    pub cause: Option<String>,
    pub cause_text: Option<String>,
}

/// Somebody answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub leg: String,
    pub at: Option<Timestamp>,
    /// How many hang-up requests had been seen before.
    pub asked_before: usize,
}

/// A transfer.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// `blind` or `attended`.
    pub kind: &'static str,
    /// Extension or channel that it went to.
    pub to: Option<String>,
}

/// What the queue said of an agent's call.
#[derive(Clone, Debug, Default)]
pub struct QueueTimes {
    pub hold_seconds: Option<u64>,
    pub talk_seconds: Option<u64>,
    /// `caller`, `agent` or `transfer`.
    pub ended: Option<String>,
}

/// The whole of it.
#[derive(Debug, Default)]
pub struct Story {
    pub legs: Vec<Leg>,
    /// Ids of calls that were merged into this one, itself included.
    pub linked_ids: Vec<String>,
    pub answers: Vec<Answer>,
    /// Legs that asked for the end, in order.
    pub asked: Vec<String>,
    pub queue: Option<String>,
    pub queue_times: QueueTimes,
    pub abandoned: bool,
    pub transfers: Vec<Transfer>,
    pub voicemail_reached: bool,
    pub voicemail_left: bool,
    pub mailbox: Option<String>,
    pub message_file: Option<String>,
    pub recorded: bool,
    pub last_application: Option<String>,
    pub cdrs: Vec<Frame>,
    /// When the first and last frames came; the PBX's own time where it sends it.
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub last_hangup_at: Option<Timestamp>,
    /// The call was running when the session began to watch.
    pub joined_late: bool,
    /// The leg that began the call, where the session says which.
    caller: Option<String>,
    /// Which legs are in which bridge.
    bridges: BTreeMap<String, Vec<String>>,
}

impl Story {
    /// Reads the frames in their order.
    pub fn read(frames: Vec<Frame>, caller: Option<&str>) -> Self {
        let mut story = Self { caller: caller.map(str::to_owned), ..Self::default() };
        for frame in frames {
            story.take(frame);
        }
        story
    }

    pub fn leg(&self, id: &str) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    pub fn leg_of_channel(&self, channel: &str) -> Option<&Leg> {
        self.legs.iter().rev().find(|leg| leg.channel == channel)
    }

    fn take(&mut self, frame: Frame) {
        let Some(event) = frame.event().map(str::to_owned) else { return };
        if frame.get("Channel").is_some_and(catalog::own_channel) {
            return;
        }
        let at = time(&frame);
        if event != "Cdr" {
            self.first_at = self.first_at.or(at);
            self.last_at = at.or(self.last_at);
        }
        self.joined_late |= self.legs.is_empty() && event == "CoreShowChannel";
        for prefix in ["", "Dest"] {
            self.see(&frame, prefix);
        }
        match event.as_str() {
            "CoreShowChannel" => {
                self.application(frame.get("Application"), frame.get("ApplicationData"));
                self.bridged(frame.get("BridgeId"), frame.get("Uniqueid"), at);
            }
            "Newexten" => self.application(frame.get("Application"), frame.get("AppData")),
            "DialBegin" | "AgentCalled" | "AgentRingNoAnswer" => self.dialled(&frame, None),
            "DialEnd" => self.dial_ended(&frame, at),
            "AgentConnect" => {
                self.dialled(&frame, None);
                self.queue_times.hold_seconds = frame.number("HoldTime");
                self.answered(frame.get("DestUniqueid"), at);
            }
            "AgentComplete" => {
                let talked = self.queue_times.talk_seconds.unwrap_or(0) + frame.number("TalkTime").unwrap_or(0);
                self.queue_times.talk_seconds = Some(talked);
                self.queue_times.ended = frame.get("Reason").map(str::to_owned);
            }
            "QueueCallerAbandon" => self.abandoned = true,
            "BridgeEnter" => self.bridged(frame.get("BridgeUniqueid"), frame.get("Uniqueid"), at),
            "BridgeLeave" => self.unbridged(&frame),
            "HangupRequest" => self.asked.extend(frame.get("Uniqueid").map(str::to_owned)),
            "Hangup" => self.hung_up(&frame, at),
            "BlindTransfer" => self.transfer("blind", frame.get("Extension")),
            "AttendedTransfer" => self.transfer("attended", frame.get("TransferTargetChannel")),
            "MessageWaiting" => self.message_waiting(&frame),
            "VarSet" => self.variable(&frame),
            "MixMonitorStart" | "MonitorStart" => self.recorded = true,
            "Cdr" => self.cdrs.push(frame.clone()),
            _ => {}
        }
        if let Some(queue) = frame.get("Queue") {
            self.queue = Some(queue.to_owned());
        }
    }

    /// Keeps what a frame says of one leg.
    fn see(&mut self, frame: &Frame, prefix: &str) {
        let (Some(id), Some(channel)) = (frame.of(prefix, "Uniqueid"), frame.of(prefix, "Channel")) else { return };
        if let Some(linked) = frame.of(prefix, "Linkedid")
            && !self.linked_ids.iter().any(|have| have == linked)
        {
            self.linked_ids.push(linked.to_owned());
        }
        let at = match self.legs.iter().position(|leg| leg.id == id) {
            Some(at) => at,
            None => {
                self.legs.push(Leg { id: id.to_owned(), ..Leg::default() });
                self.legs.len() - 1
            }
        };
        let leg = &mut self.legs[at];
        channel.clone_into(&mut leg.channel);
        let first = |slot: &mut Option<String>, key: &str| {
            if slot.is_none() {
                *slot = frame.of(prefix, key).map(str::to_owned);
            }
        };
        first(&mut leg.context, "Context");
        first(&mut leg.number, "CallerIDNum");
        first(&mut leg.name, "CallerIDName");
        if leg.exten.is_none() {
            leg.exten = crate::number::called(frame.of(prefix, "Exten")).map(str::to_owned);
        }
        leg.up |= frame.of(prefix, "ChannelStateDesc") == Some("Up");
    }

    /// A leg that was called on the caller's behalf: by its own leg, or by the far half of a Local channel. Whom an agent
    /// asks back, or whom the PBX calls to begin a call (`Originate`), is not rung for the caller.
    fn dialled(&mut self, frame: &Frame, status: Option<&str>) {
        let Some(id) = frame.get("DestUniqueid").filter(|id| Some(*id) != self.caller()) else { return };
        let id = id.to_owned();
        let by_caller = frame.get("Uniqueid").is_some() && frame.get("Uniqueid") == self.caller();
        if !by_caller && !frame.get("Channel").is_some_and(|channel| channel.starts_with(LOCAL)) {
            return;
        }
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == id) {
            leg.dialled = true;
            // The first end counts: a queue says CANCEL once more after NOANSWER.
            if leg.dial_status.is_none() {
                leg.dial_status = status.map(str::to_owned);
            }
        }
    }

    fn dial_ended(&mut self, frame: &Frame, at: Option<Timestamp>) {
        let status = frame.get("DialStatus");
        self.dialled(frame, status);
        // A Local channel answers for whoever is behind it, which may be an announcement; its far leg has its own DialEnd.
        let local = frame.get("DestChannel").is_some_and(|channel| channel.starts_with(LOCAL));
        let for_caller = frame.get("DestUniqueid").and_then(|id| self.leg(id)).is_some_and(|leg| leg.dialled);
        if status == Some("ANSWER") && for_caller && !local {
            self.answered(frame.get("DestUniqueid"), at);
        }
    }

    fn caller(&self) -> Option<&str> {
        self.caller.as_deref().or_else(|| self.linked_ids.first().map(String::as_str))
    }

    fn answered(&mut self, leg: Option<&str>, at: Option<Timestamp>) {
        let Some(leg) = leg else { return };
        if self.answers.last().is_none_or(|last| last.leg != leg) {
            self.answers.push(Answer { leg: leg.to_owned(), at, asked_before: self.asked.len() });
        }
    }

    /// Who is in a bridge with the caller talks with the caller: that is how pickups, transfers and calls that were
    /// already running are known as answered.
    fn bridged(&mut self, bridge: Option<&str>, leg: Option<&str>, at: Option<Timestamp>) {
        let (Some(bridge), Some(leg)) = (bridge, leg) else { return };
        let inside = self.bridges.entry(bridge.to_owned()).or_default();
        if !inside.iter().any(|have| have == leg) {
            inside.push(leg.to_owned());
        }
        let inside = inside.clone();
        let caller = self.caller().map(str::to_owned);
        if !inside.iter().any(|id| Some(id) == caller.as_ref()) {
            return;
        }
        let real = |id: &&String| self.leg(id).is_some_and(|leg| !leg.channel.starts_with(LOCAL));
        let other = inside.iter().filter(real).rev().find(|id| Some(*id) != caller.as_ref()).cloned();
        self.answered(other.as_deref(), at);
    }

    fn unbridged(&mut self, frame: &Frame) {
        let (Some(bridge), Some(leg)) = (frame.get("BridgeUniqueid"), frame.get("Uniqueid")) else { return };
        if let Some(inside) = self.bridges.get_mut(bridge) {
            inside.retain(|have| have != leg);
        }
    }

    fn hung_up(&mut self, frame: &Frame, at: Option<Timestamp>) {
        self.last_hangup_at = at.or(self.last_hangup_at);
        let Some(id) = frame.get("Uniqueid") else { return };
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == id) {
            leg.hung_up = true;
            // 0 is no cause of Q.850 but "not set".
            leg.cause = frame.get("Cause").filter(|cause| *cause != "0").map(str::to_owned);
            leg.cause_text = leg.cause.as_ref().and(frame.get("Cause-txt")).map(str::to_owned);
        }
    }

    fn transfer(&mut self, kind: &'static str, to: Option<&str>) {
        self.transfers.push(Transfer { kind, to: to.map(str::to_owned) });
    }

    fn application(&mut self, name: Option<&str>, data: Option<&str>) {
        // The far leg's pseudo applications say nothing.
        let Some(name) = name.filter(|name| !name.starts_with("App")) else { return };
        if name.eq_ignore_ascii_case("VoiceMail") {
            self.voicemail_reached = true;
            self.mailbox = data.and_then(mailbox).or_else(|| self.mailbox.take());
        }
        if !name.eq_ignore_ascii_case("Hangup") {
            self.last_application = Some(name.to_owned());
        }
    }

    fn message_waiting(&mut self, frame: &Frame) {
        if frame.get("Waiting") == Some("1") {
            self.voicemail_left = true;
            self.mailbox = frame.get("Mailbox").map(str::to_owned).or_else(|| self.mailbox.take());
        }
    }

    fn variable(&mut self, frame: &Frame) {
        match frame.get("Variable") {
            Some("VMSTATUS") => self.voicemail_left |= frame.get("Value") == Some("SUCCESS"),
            Some("VM_MESSAGEFILE") => self.message_file = frame.get("Value").map(str::to_owned),
            _ => {}
        }
    }
}

/// When something happened: by the PBX's clock where it sends it (`timestampevents`), else when the frame came.
pub fn time(frame: &Frame) -> Option<Timestamp> {
    let own = frame.get("Timestamp").and_then(Timestamp::from_unix_decimal);
    own.or_else(|| frame.get(RECEIVED).and_then(Timestamp::parse))
}

/// The first mailbox of VoiceMail's arguments (`101@default&102@default,us`).
pub fn mailbox(arguments: &str) -> Option<String> {
    let mailbox = arguments.split([',', '|', '&']).next()?.trim();
    (!mailbox.is_empty()).then(|| mailbox.to_owned())
}
