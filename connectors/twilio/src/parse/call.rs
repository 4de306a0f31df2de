//! Voice: statuses of calls and their legs, recordings, transcriptions.

use connector_sdk::schemas::{
    Actor, Attachment, Call, CallDirection, CallOutcome, CallState, Channel, Conversation, ConversationType, Direction,
    Event, FetchState, KeyBasis, Kind, Part, Recipient, Role,
};
use connector_sdk::{Draft, FetchOrder, Parsed, Timestamp, text};

use super::address::Address;
use super::{Context, media};
use crate::id;

/// Parameters that have a field of their own.
const USED: &[&str] = &[
    "AccountSid",
    "CallSid",
    "ParentCallSid",
    "CallStatus",
    "From",
    "To",
    "Direction",
    "SequenceNumber",
    "Timestamp",
    "CallDuration",
    "CallerName",
];
const USED_OF_RECORDING: &[&str] =
    &["AccountSid", "CallSid", "RecordingSid", "RecordingUrl", "RecordingStatus", "RecordingStartTime"];
const USED_OF_TRANSCRIPTION: &[&str] =
    &["AccountSid", "CallSid", "TranscriptionText", "TranscriptionStatus", "RecordingSid", "From", "To", "Direction"];

/// A state of a call, and what it means for a call that the customer began.
struct Meaning {
    kind: Kind,
    state: CallState,
    reason: Option<&'static str>,
}

fn meaning(status: &str) -> Option<Meaning> {
    let (kind, state, reason) = match status {
        "queued" | "initiated" | "ringing" => (Kind::CallRinging, CallState::Ringing, None),
        "in-progress" | "answered" => (Kind::CallAnswered, CallState::Answered, None),
        "completed" => (Kind::CallEnded, CallState::Ended, None),
        "busy" => (Kind::CallMissed, CallState::Missed, Some("busy")),
        "no-answer" => (Kind::CallMissed, CallState::Missed, Some("no_answer")),
        "failed" => (Kind::CallMissed, CallState::Missed, Some("failed")),
        "canceled" => (Kind::CallMissed, CallState::Missed, Some("cancelled_by_caller")),
        _ => return None,
    };
    Some(Meaning { kind, state, reason })
}

/// A status callback of a call or of a leg that a call dialled.
pub fn status(cx: &Context<'_>) -> Parsed {
    let params = cx.params;
    let (Some(sid), Some(status)) = (params.get("CallSid"), params.get("CallStatus")) else {
        return Context::missing("CallSid");
    };
    let Some(mut meaning) = meaning(status) else { return cx.unsupported(&format!("CallStatus:{status}")) };
    let parent = params.get("ParentCallSid");
    let direction = params.get("Direction");
    // A call that the business makes to a customer is not missed by the business when nobody answers.
    if direction == Some("outbound-api") && meaning.state == CallState::Missed {
        (meaning.kind, meaning.state) = (Kind::CallEnded, CallState::Ended);
    }

    let mut used = USED.to_vec();
    if params.get("RecordingUrl").is_some() && params.get("RecordingSid").is_some() {
        used.extend(["RecordingUrl", "RecordingSid"]);
    }
    let mut event = cx.event(meaning.kind.clone(), Channel::Voice, status, &used);
    place(&mut event, parent.unwrap_or(sid), parent, direction);
    people(cx, &mut event);
    event.call = Some(call(cx, sid, status, &meaning));
    let at = params.get("Timestamp").and_then(rfc2822);
    event.occurred_at = at.unwrap_or(event.received_at);
    event.provider_sequence = params.get("SequenceNumber").map(str::to_owned);

    let recording = params.get("RecordingUrl").zip(params.get("RecordingSid"));
    let fetches = recording.map(|(url, recording)| record(cx, &mut event, recording, url)).into_iter().collect();
    let key = id::call(sid, status, params.get("SequenceNumber"));
    Parsed { events: vec![Draft::new(key, event)], fetches, ..Parsed::default() }
}

fn call(cx: &Context<'_>, sid: &str, status: &str, meaning: &Meaning) -> Call {
    let params = cx.params;
    let parent = params.get("ParentCallSid");
    let inbound = params.get("Direction") == Some("inbound");
    let mut call = Call::new(parent.unwrap_or(sid));
    // The call that nobody dialled from is the whole; what it dials are legs, whose misses are their own.
    let whole = parent.is_none() && matches!(meaning.state, CallState::Ended | CallState::Missed);
    call.leg_id = (!whole).then(|| sid.to_owned());
    call.sequence = params.number("SequenceNumber");
    call.direction = params.get("Direction").map(call_direction);
    call.state = Some(meaning.state.clone());
    call.provider_state = Some(status.to_owned());
    call.reason = meaning.reason.map(str::to_owned);
    // 'completed' says that something answered, not that a person did: TwiML answers at once.
    call.outcome = (whole && inbound && meaning.state == CallState::Missed).then_some(CallOutcome::Missed);
    let withheld = &cx.config.withheld_numbers;
    call.from = params.raw("From").map(|from| {
        let mut party = Address::of(from).party(withheld);
        party.name = params.get("CallerName").map(text::one_line);
        party
    });
    call.to = params.get("To").map(|to| Address::of(to).party(withheld));
    if parent.is_some() {
        let agent =
            params.get("To").map(Address::of).filter(|to| matches!(to.prefix(), Some("client" | "sip" | "sips")));
        call.agent = agent.map(|to| to.whole.to_owned());
    }
    call.duration_seconds = params.number("CallDuration");
    let at = params.get("Timestamp").and_then(rfc2822);
    match status {
        "queued" | "initiated" => call.started_at = at,
        "ringing" if inbound => call.started_at = at,
        "in-progress" | "answered" => call.answered_at = at,
        "ringing" => {}
        _ => call.ended_at = at,
    }
    call
}

fn call_direction(direction: &str) -> CallDirection {
    match direction {
        "inbound" => CallDirection::Inbound,
        direction if direction.starts_with("outbound") => CallDirection::Outbound,
        other => CallDirection::Other(other.to_owned()),
    }
}

/// What a call dials is the business's own doing, mostly towards its agents.
fn place(event: &mut Event, call_id: &str, parent: Option<&str>, direction: Option<&str>) {
    event.conversation = Conversation::new(KeyBasis::Call, call_id).of_type(ConversationType::Call);
    if parent.is_some() {
        event.direction = Direction::Internal;
    } else if direction.is_some_and(|direction| direction.starts_with("outbound")) {
        event.direction = Direction::OutboundEcho;
    }
}

fn people(cx: &Context<'_>, event: &mut Event) {
    let withheld = &cx.config.withheld_numbers;
    let from = cx.params.get("From").map(Address::of).filter(|from| !from.withheld(withheld));
    event.sender =
        from.map(|from| Actor::new(vec![from.identity()]).named(cx.params.get("CallerName").map(text::one_line)));
    event.recipients = cx
        .params
        .get("To")
        .map(|to| Recipient { role: Role::To, actor: Actor::new(vec![Address::of(to).identity()]) })
        .into_iter()
        .collect();
}

/// A recording callback: it names the call and, of the people, nobody.
pub fn recording(cx: &Context<'_>) -> Parsed {
    let params = cx.params;
    let (Some(recording), Some(status)) = (params.get("RecordingSid"), params.get("RecordingStatus")) else {
        return Context::missing("RecordingSid");
    };
    match status {
        "in-progress" => return Parsed::skip("RecordingStatus:in-progress", "the file is not there yet"),
        "absent" => return Parsed::skip("RecordingStatus:absent", "nothing was recorded: there is no file"),
        "completed" | "failed" => {}
        other => return cx.unsupported(&format!("RecordingStatus:{other}")),
    }
    let Some(sid) = params.get("CallSid") else { return Context::missing("CallSid") };
    let provider_type = format!("recording-{status}");
    let mut event = cx.event(Kind::CallRecording, Channel::Voice, &provider_type, USED_OF_RECORDING);
    place(&mut event, sid, None, None);
    event.call = Some(Call::new(sid));
    let started = params.get("RecordingStartTime").and_then(rfc2822);
    event.occurred_at = started.unwrap_or(event.received_at);
    let mut fetches = Vec::new();
    match params.get("RecordingUrl").filter(|_| status == "completed") {
        Some(url) => fetches.push(record(cx, &mut event, recording, url)),
        None => {
            let mut attachment = Attachment::new(recording, FetchState::Failed);
            attachment.reason = Some(match params.get("ErrorCode") {
                Some(code) => format!("the provider could not record: error {code}"),
                None => "the provider has no recording".to_owned(),
            });
            event.attachments.push(attachment);
        }
    }
    if let Some(call) = &mut event.call {
        call.recording_id = Some(recording.to_owned());
    }
    Parsed { events: vec![Draft::new(id::artefact(recording, status), event)], fetches, ..Parsed::default() }
}

/// Adds a recording that has to be fetched.
fn record(cx: &Context<'_>, event: &mut Event, recording: &str, url: &str) -> FetchOrder {
    let format = cx.config.recording_format;
    let mut attachment = Attachment::new(recording, FetchState::Pending);
    attachment.media_type = Some(format.media_type().to_owned());
    attachment.provider_url = Some(url.to_owned());
    let order = media::order(event, &attachment, &format!("{url}.{}", format.extension()), cx.raw);
    event.content.push(Part::Media {
        attachment_id: recording.to_owned(),
        media: "audio".to_owned(),
        caption: None,
        duration_seconds: cx.params.number("RecordingDuration"),
    });
    event.attachments.push(attachment);
    if let Some(call) = &mut event.call {
        call.recording_id = Some(recording.to_owned());
    }
    order
}

/// A transcription callback.
pub fn transcription(cx: &Context<'_>) -> Parsed {
    let params = cx.params;
    let (Some(sid), Some(status)) = (params.get("TranscriptionSid"), params.get("TranscriptionStatus")) else {
        return Context::missing("TranscriptionSid");
    };
    match status {
        "completed" => {}
        "in-progress" => return Parsed::skip("TranscriptionStatus:in-progress", "the text is not there yet"),
        "failed" => return Parsed::skip("TranscriptionStatus:failed", "there is no text; the recording came before"),
        other => return cx.unsupported(&format!("TranscriptionStatus:{other}")),
    }
    let Some(call_sid) = params.get("CallSid") else { return Context::missing("CallSid") };
    let Some(transcript) = params.get("TranscriptionText") else { return Context::missing("TranscriptionText") };
    let mut event = cx.event(Kind::CallTranscript, Channel::Voice, "transcription-completed", USED_OF_TRANSCRIPTION);
    place(&mut event, call_sid, None, params.get("Direction"));
    people(cx, &mut event);
    let clean = text::clean(transcript);
    event.provenance.sanitized = clean != transcript;
    let mut call = Call::new(call_sid);
    call.direction = params.get("Direction").map(call_direction);
    call.recording_id = params.get("RecordingSid").map(str::to_owned);
    call.transcript = Some(clean.clone().into_owned());
    event.call = Some(call);
    event.content.push(Part::plain(clean.clone()));
    event.text = Some(clean.into_owned());
    Parsed::one(Draft::new(id::artefact(sid, status), event))
}

/// Twilio's voice times: RFC 2822.
fn rfc2822(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|at| Timestamp::from(at.timestamp()))
}
