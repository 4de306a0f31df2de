//! Every event of the manager interface that is known: told as a fact, kept for the call's summary, or noise.
//!
//! The same list is in `kinds.toml`, with the fixtures; a test compares them.

/// What the connector does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Becomes a fact (some only in certain states), and is kept for the summary.
    Fact,
    /// No fact of its own; kept for the summary.
    Kept(&'static str),
    /// Says nothing about a customer's call.
    Noise(&'static str),
}

use Treatment::{Fact, Kept, Noise};

const OTHER_END: &str = "the facts carry both ends as they are at that moment";
const DIALPLAN: &str = "a step of the dialplan; the summary is told by it";
const VARIABLE: &str = "a channel variable; the summary is told by those of voicemail";
const BRIDGE: &str = "who talks with whom; the summary is told by it";
const ASKED: &str = "who asked for the end; the summary is told by it";
const QUEUE: &str = "a step of the queue; the joining, the ringing and the answer are the facts";
const DEVICE: &str = "state of a device, not of a call";
const SYSTEM: &str = "state of the PBX itself";
const SECURITY: &str = "log-ins of the PBX";
const MEDIA: &str = "a detail of the media";
const LISTING: &str = "part of the answer to an action";

/// By name; the names are case-sensitive as the PBX writes them.
pub const EVENTS: &[(&str, Treatment)] = &[
    ("Newchannel", Fact),
    ("Newstate", Fact),
    ("DialState", Fact),
    ("DialEnd", Fact),
    ("QueueCallerJoin", Fact),
    ("QueueCallerAbandon", Fact),
    ("AgentCalled", Fact),
    ("AgentRingNoAnswer", Fact),
    ("AgentConnect", Fact),
    ("AgentComplete", Fact),
    ("BlindTransfer", Fact),
    ("AttendedTransfer", Fact),
    ("MessageWaiting", Fact),
    ("Hangup", Fact),
    ("Cdr", Fact),
    ("DialBegin", Kept("Newstate says when the leg rings")),
    ("NewCallerid", Kept(OTHER_END)),
    ("NewConnectedLine", Kept(OTHER_END)),
    ("NewAccountCode", Noise(OTHER_END)),
    ("Newexten", Kept(DIALPLAN)),
    ("VarSet", Kept(VARIABLE)),
    ("BridgeEnter", Kept(BRIDGE)),
    ("BridgeLeave", Kept(BRIDGE)),
    ("BridgeCreate", Noise(BRIDGE)),
    ("BridgeDestroy", Noise(BRIDGE)),
    ("BridgeMerge", Kept(BRIDGE)),
    ("BridgeVideoSourceUpdate", Noise(MEDIA)),
    ("BridgeInfoChannel", Noise(LISTING)),
    ("BridgeInfoComplete", Noise(LISTING)),
    ("HangupRequest", Kept(ASKED)),
    ("SoftHangupRequest", Kept(ASKED)),
    ("HangupHandlerPush", Noise(DIALPLAN)),
    ("HangupHandlerPop", Noise(DIALPLAN)),
    ("HangupHandlerRun", Noise(DIALPLAN)),
    ("QueueCallerLeave", Kept(QUEUE)),
    ("AgentDump", Kept(QUEUE)),
    ("QueueMemberStatus", Noise(DEVICE)),
    ("QueueMemberAdded", Noise(DEVICE)),
    ("QueueMemberRemoved", Noise(DEVICE)),
    ("QueueMemberPause", Noise(DEVICE)),
    ("QueueMemberPenalty", Noise(DEVICE)),
    ("QueueMemberRinginuse", Noise(DEVICE)),
    ("AgentLogin", Noise(DEVICE)),
    ("AgentLogoff", Noise(DEVICE)),
    ("QueueParams", Noise(LISTING)),
    ("QueueMember", Noise(LISTING)),
    ("QueueEntry", Noise(LISTING)),
    ("QueueSummary", Noise(LISTING)),
    ("QueueStatusComplete", Noise(LISTING)),
    ("QueueSummaryComplete", Noise(LISTING)),
    ("Pickup", Kept(BRIDGE)),
    ("Rename", Kept("the channel's name changed; the summary takes the last one")),
    ("LocalBridge", Noise("two halves of one Local channel")),
    ("LocalOptimizationBegin", Noise("two halves of one Local channel")),
    ("LocalOptimizationEnd", Noise("two halves of one Local channel")),
    ("Hold", Kept("the call goes on")),
    ("Unhold", Kept("the call goes on")),
    ("ParkedCall", Kept("the call goes on")),
    ("ParkedCallGiveUp", Kept("the call goes on")),
    ("ParkedCallTimeOut", Kept("the call goes on")),
    ("ParkedCallSwap", Kept("the call goes on")),
    ("UnParkedCall", Kept("the call goes on")),
    ("MixMonitorStart", Kept("the recording is a file of the PBX that AMI cannot hand out")),
    ("MixMonitorStop", Kept("the recording is a file of the PBX that AMI cannot hand out")),
    ("MixMonitorMute", Kept("the recording is a file of the PBX that AMI cannot hand out")),
    ("MonitorStart", Kept("the recording is a file of the PBX that AMI cannot hand out")),
    ("MonitorStop", Kept("the recording is a file of the PBX that AMI cannot hand out")),
    ("ChanSpyStart", Noise("supervision by people of the business")),
    ("ChanSpyStop", Noise("supervision by people of the business")),
    ("MusicOnHoldStart", Noise(MEDIA)),
    ("MusicOnHoldStop", Noise(MEDIA)),
    ("DTMFBegin", Noise("digits may be account numbers and PINs; they are not kept")),
    ("DTMFEnd", Noise("digits may be account numbers and PINs; they are not kept")),
    ("FAXStatus", Noise(MEDIA)),
    ("FAXSession", Noise(MEDIA)),
    ("ReceiveFAX", Noise(MEDIA)),
    ("SendFAX", Noise(MEDIA)),
    ("RTCPSent", Noise(MEDIA)),
    ("RTCPReceived", Noise(MEDIA)),
    ("AOC-D", Noise("charges of the carrier")),
    ("AOC-E", Noise("charges of the carrier")),
    ("AOC-S", Noise("charges of the carrier")),
    ("OriginateResponse", Noise(LISTING)),
    ("CoreShowChannel", Kept("a running call, listed when the session connects")),
    ("CoreShowChannelsComplete", Noise(LISTING)),
    ("ConfbridgeStart", Noise("a conference is no customer's call")),
    ("ConfbridgeEnd", Noise("a conference is no customer's call")),
    ("ConfbridgeJoin", Kept(BRIDGE)),
    ("ConfbridgeLeave", Kept(BRIDGE)),
    ("ConfbridgeMute", Noise("a conference is no customer's call")),
    ("ConfbridgeUnmute", Noise("a conference is no customer's call")),
    ("ConfbridgeRecord", Noise("a conference is no customer's call")),
    ("ConfbridgeStopRecord", Noise("a conference is no customer's call")),
    ("ConfbridgeTalking", Noise("a conference is no customer's call")),
    ("MeetmeJoin", Noise("a conference is no customer's call")),
    ("MeetmeLeave", Noise("a conference is no customer's call")),
    ("MeetmeEnd", Noise("a conference is no customer's call")),
    ("MeetmeMute", Noise("a conference is no customer's call")),
    ("MeetmeTalking", Noise("a conference is no customer's call")),
    ("MeetmeTalkRequest", Noise("a conference is no customer's call")),
    ("ChannelTalkingStart", Noise(MEDIA)),
    ("ChannelTalkingStop", Noise(MEDIA)),
    ("CEL", Noise("channel event logging: the same events once more")),
    ("AsyncAGIStart", Noise(DIALPLAN)),
    ("AsyncAGIExec", Noise(DIALPLAN)),
    ("AsyncAGIEnd", Noise(DIALPLAN)),
    ("AGIExecStart", Noise(DIALPLAN)),
    ("AGIExecEnd", Noise(DIALPLAN)),
    ("DeviceStateChange", Noise(DEVICE)),
    ("PresenceStateChange", Noise(DEVICE)),
    ("PresenceStatus", Noise(DEVICE)),
    ("ExtensionStatus", Noise(DEVICE)),
    ("PeerStatus", Noise(DEVICE)),
    ("ContactStatus", Noise(DEVICE)),
    ("DeviceStateListComplete", Noise(LISTING)),
    ("Registry", Noise(DEVICE)),
    ("DNDState", Noise(DEVICE)),
    ("Alarm", Noise(DEVICE)),
    ("AlarmClear", Noise(DEVICE)),
    ("SpanAlarm", Noise(DEVICE)),
    ("SpanAlarmClear", Noise(DEVICE)),
    ("DAHDIChannel", Noise(DEVICE)),
    ("MCID", Noise(DEVICE)),
    ("MiniVoiceMail", Noise("MessageWaiting tells of messages")),
    ("VoicemailPasswordChange", Noise("a setting of a mailbox")),
    ("MWIGet", Noise(LISTING)),
    ("MWIGetComplete", Noise(LISTING)),
    ("FullyBooted", Noise(SYSTEM)),
    ("Shutdown", Noise(SYSTEM)),
    ("Reload", Noise(SYSTEM)),
    ("Load", Noise(SYSTEM)),
    ("Unload", Noise(SYSTEM)),
    ("LogChannel", Noise(SYSTEM)),
    ("TestEvent", Noise(SYSTEM)),
    ("SuccessfulAuth", Noise(SECURITY)),
    ("ChallengeSent", Noise(SECURITY)),
    ("ChallengeResponseFailed", Noise(SECURITY)),
    ("FailedACL", Noise(SECURITY)),
    ("InvalidAccountID", Noise(SECURITY)),
    ("InvalidPassword", Noise(SECURITY)),
    ("InvalidTransport", Noise(SECURITY)),
    ("AuthMethodNotAllowed", Noise(SECURITY)),
    ("LoadAverageLimit", Noise(SECURITY)),
    ("MemoryLimit", Noise(SECURITY)),
    ("RequestBadFormat", Noise(SECURITY)),
    ("RequestNotAllowed", Noise(SECURITY)),
    ("RequestNotSupported", Noise(SECURITY)),
    ("SessionLimit", Noise(SECURITY)),
    ("SessionTimeout", Noise(SECURITY)),
    ("UnexpectedAddress", Noise(SECURITY)),
];

/// Channel drivers of the PBX's own channels, which are nobody's call.
const OWN_CHANNELS: &[&str] = &["Message/", "CBAnn/", "CBRec/", "Announcer/", "Recorder/"];

/// What becomes of an event; `None` = not known (and so published as unsupported).
pub fn treatment(event: &str) -> Option<Treatment> {
    EVENTS.iter().find(|(name, _)| *name == event).map(|(_, treatment)| *treatment)
}

/// Whether a channel is the PBX's own.
pub fn own_channel(channel: &str) -> bool {
    OWN_CHANNELS.iter().any(|prefix| channel.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_kinds_toml() {
        let kinds = connector_sdk::kinds::parse(include_str!("../kinds.toml")).unwrap();
        for (name, treatment) in EVENTS {
            let listed = kinds.types.iter().find(|kind| kind.name == *name);
            let listed = listed.unwrap_or_else(|| panic!("{name} is not in kinds.toml"));
            let reason = match treatment {
                Fact => None,
                Kept(reason) | Noise(reason) => Some(*reason),
            };
            assert_eq!(listed.skipped.as_deref(), reason, "{name}");
        }
        for kind in kinds.types.iter().filter(|kind| !kind.name.contains(' ')) {
            let known = treatment(&kind.name).is_some() || ["call", "UserEvent", "Response"].contains(&&*kind.name);
            assert!(known, "{} is in kinds.toml only", kind.name);
        }
    }
}
