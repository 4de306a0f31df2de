//! Phones and callers: SIP over UDP on loopback, with a tone as the voice. Enough for Asterisk, no more.

use super::sip_message::Message;
use crate::wait;
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One packet of 8 kHz µ-law.
const RTP_SAMPLES: usize = 160;
const RTP_PACE: Duration = Duration::from_millis(20);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const REGISTRATION_SECONDS: u32 = 3600;
const MAX_DATAGRAM_BYTES: usize = 8192;

/// What a phone does when it is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Behaviour {
    /// Rings, then answers.
    Answer { after: Duration },
    /// Rings until the caller's side gives up.
    Ring,
    /// 486.
    Busy,
    /// 603.
    Decline,
}

#[derive(Debug)]
struct Line {
    socket: UdpSocket,
    server: SocketAddr,
    rtp: UdpSocket,
    talking: AtomicBool,
    peer_rtp: Mutex<Option<u16>>,
    stop: AtomicBool,
}

impl Line {
    fn open(sip_port: u16) -> Result<Arc<Self>> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(RTP_PACE))?;
        Ok(Arc::new(Self {
            socket,
            server: ([127, 0, 0, 1], sip_port).into(),
            rtp: UdpSocket::bind("127.0.0.1:0")?,
            talking: AtomicBool::new(false),
            peer_rtp: Mutex::default(),
            stop: AtomicBool::new(false),
        }))
    }

    fn local(&self) -> String {
        self.socket.local_addr().map(|a| a.to_string()).unwrap_or_default()
    }

    fn rtp_port(&self) -> u16 {
        self.rtp.local_addr().map(|a| a.port()).unwrap_or(0)
    }

    fn via(&self) -> String {
        format!("SIP/2.0/UDP {};branch=z9hG4bK{};rport", self.local(), unique())
    }

    fn send(&self, message: &Message) {
        // A server that is gone shows in what the test waits for.
        let _ = self.socket.send_to(&message.to_bytes(), self.server);
    }

    fn talk(&self, peer: &Message) {
        *self.peer_rtp.lock().expect("no panic while held") = peer.rtp_port();
        self.talking.store(true, Ordering::Relaxed);
    }

    /// Receives until told to stop and sends a packet of tone at each turn while talking.
    fn run(&self, mut handle: impl FnMut(Option<Message>)) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        let mut tone = Tone::default();
        let mut next_packet = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let message = self.socket.recv(&mut buffer).ok().and_then(|length| Message::parse(&buffer[..length]));
            handle(message);
            while self.talking.load(Ordering::Relaxed) && Instant::now() >= next_packet {
                if let Some(port) = *self.peer_rtp.lock().expect("no panic while held") {
                    let _ = self.rtp.send_to(&tone.packet(), ("127.0.0.1", port));
                }
                next_packet = next_packet.max(Instant::now() - RTP_PACE * 4) + RTP_PACE;
            }
        }
    }
}

/// A registered phone that lives until it is dropped.
#[derive(Debug)]
pub struct Phone {
    line: Arc<Line>,
    behaviour: Arc<Mutex<Behaviour>>,
    dialogue: Arc<Mutex<Option<Message>>>,
    number: String,
    thread: Option<JoinHandle<()>>,
}

impl Phone {
    pub(super) fn register(sip_port: u16, number: &str) -> Result<Self> {
        let line = Line::open(sip_port)?;
        let aor = format!("sip:{number}@127.0.0.1");
        let request = Message::request("REGISTER", &format!("sip:127.0.0.1:{sip_port}"))
            .with("Via", line.via())
            .with("Max-Forwards", "70")
            .with("From", format!("<{aor}>;tag={}", unique()))
            .with("To", format!("<{aor}>"))
            .with("Call-ID", format!("register-{}", unique()))
            .with("CSeq", "1 REGISTER")
            .with("Contact", format!("<sip:{number}@{}>", line.local()))
            .with("Expires", REGISTRATION_SECONDS.to_string());
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        wait::until(ANSWER_LIMIT, &format!("registration of {number}"), || {
            line.send(&request);
            let length = line.socket.recv(&mut buffer)?;
            let answer = Message::parse(&buffer[..length]).context("a SIP message")?;
            match answer.status() {
                200 => Ok(Some(())),
                0 | 100 => Ok(None),
                _ => bail!("{}", answer.start),
            }
        })?;
        let behaviour = Arc::new(Mutex::new(Behaviour::Ring));
        let dialogue = Arc::new(Mutex::new(None));
        let mut desk = Desk::new(line.clone(), number, behaviour.clone(), dialogue.clone());
        let worker = line.clone();
        let thread = std::thread::spawn(move || worker.run(|message| desk.turn(message)));
        Ok(Self { line, behaviour, dialogue, number: number.to_owned(), thread: Some(thread) })
    }

    /// What to do with calls from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no panic while held") = behaviour;
    }

    /// The agent hangs up.
    pub fn hang_up(&self) -> Result<()> {
        let invite = self.dialogue.lock().expect("no panic while held").take().context("the phone is not talking")?;
        self.line.talking.store(false, Ordering::Relaxed);
        self.line.send(&self.in_dialogue("BYE", 2, &invite));
        Ok(())
    }

    /// Blind transfer: the caller is sent to another extension.
    pub fn transfer(&self, extension: &str) -> Result<()> {
        let dialogue = self.dialogue.lock().expect("no panic while held");
        let invite = dialogue.as_ref().context("the phone is not talking")?;
        let refer = self
            .in_dialogue("REFER", 1, invite)
            .with("Refer-To", format!("<sip:{extension}@127.0.0.1:{}>", self.line.server.port()))
            .with("Referred-By", format!("<sip:{}@127.0.0.1>", self.number));
        self.line.send(&refer);
        Ok(())
    }

    pub fn is_talking(&self) -> bool {
        self.dialogue.lock().expect("no panic while held").is_some()
    }

    /// A request of our own in the dialogue that the other side's INVITE opened: From and To change places.
    fn in_dialogue(&self, method: &str, sequence: u32, invite: &Message) -> Message {
        Message::request(method, invite.contact_uri().unwrap_or("sip:127.0.0.1"))
            .with("Via", self.line.via())
            .with("Max-Forwards", "70")
            .with("From", format!("{};tag={}", invite.header("To"), local_tag(invite)))
            .with("To", invite.header("From"))
            .with("Call-ID", invite.header("Call-ID"))
            .with("CSeq", format!("{sequence} {method}"))
            .with("Contact", format!("<sip:{}@{}>", self.number, self.line.local()))
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        stop(&self.line, &mut self.thread);
    }
}

/// The phone's side of what comes in.
struct Desk {
    line: Arc<Line>,
    contact: String,
    behaviour: Arc<Mutex<Behaviour>>,
    dialogue: Arc<Mutex<Option<Message>>>,
    ringing: Option<(Message, Instant, Behaviour)>,
    /// The last final answer, for an INVITE that comes again.
    answered: Option<(String, Message)>,
}

impl Desk {
    fn new(
        line: Arc<Line>,
        number: &str,
        behaviour: Arc<Mutex<Behaviour>>,
        dialogue: Arc<Mutex<Option<Message>>>,
    ) -> Self {
        let contact = format!("<sip:{number}@{}>", line.local());
        Self { line, contact, behaviour, dialogue, ringing: None, answered: None }
    }

    fn turn(&mut self, message: Option<Message>) {
        if let Some(message) = message {
            match message.method() {
                "INVITE" => self.invited(message),
                "CANCEL" => self.cancelled(&message),
                "BYE" => {
                    self.line.talking.store(false, Ordering::Relaxed);
                    self.dialogue.lock().expect("no panic while held").take();
                    self.line.send(&Message::answer_to(&message, 200, "OK", ""));
                }
                "ACK" | "SIP/2.0" => {}
                _ => self.line.send(&Message::answer_to(&message, 200, "OK", &unique())),
            }
        }
        if let Some((invite, since, Behaviour::Answer { after })) = &self.ringing
            && since.elapsed() >= *after
        {
            let invite = invite.clone();
            self.ringing = None;
            self.pick_up(&invite);
        }
    }

    fn invited(&mut self, invite: Message) {
        let call = invite.header("Call-ID").to_owned();
        if let Some((answered, answer)) = &self.answered
            && *answered == call
        {
            // Again the same, or a re-INVITE: the same description holds.
            let mut again = Message::answer_to(&invite, answer.status(), "OK", &local_tag(&invite));
            again.body.clone_from(&answer.body);
            let again = again.with("Contact", self.contact.clone()).with("Content-Type", "application/sdp");
            return self.line.send(&again);
        }
        let ringing_already = self.ringing.as_ref().is_some_and(|(other, ..)| other.header("Call-ID") == call);
        if ringing_already {
            return;
        }
        let behaviour = *self.behaviour.lock().expect("no panic while held");
        let tag = local_tag(&invite);
        let refusal = match behaviour {
            Behaviour::Busy => Some((486, "Busy Here")),
            Behaviour::Decline => Some((603, "Decline")),
            Behaviour::Answer { .. } | Behaviour::Ring => None,
        };
        if let Some((status, reason)) = refusal {
            return self.line.send(&Message::answer_to(&invite, status, reason, &tag));
        }
        let ringing = Message::answer_to(&invite, 180, "Ringing", &tag).with("Contact", self.contact.clone());
        self.line.send(&ringing);
        self.ringing = Some((invite, Instant::now(), behaviour));
    }

    fn pick_up(&mut self, invite: &Message) {
        let answer = Message::answer_to(invite, 200, "OK", &local_tag(invite))
            .with("Contact", self.contact.clone())
            .with_sdp(self.line.rtp_port());
        self.line.send(&answer);
        self.line.talk(invite);
        self.answered = Some((invite.header("Call-ID").to_owned(), answer));
        *self.dialogue.lock().expect("no panic while held") = Some(invite.clone());
    }

    fn cancelled(&mut self, cancel: &Message) {
        self.line.send(&Message::answer_to(cancel, 200, "OK", &local_tag(cancel)));
        if let Some((invite, ..)) = self.ringing.take() {
            self.line.send(&Message::answer_to(&invite, 487, "Request Terminated", &local_tag(&invite)));
        }
    }
}

/// A call from the trunk. Dropping it falls silent, as a lost line does; [`Call::hang_up`] is the polite end.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    invite: Message,
    state: Arc<Mutex<CallState>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default, Clone)]
struct CallState {
    provisional: bool,
    answer: Option<Message>,
    ended: bool,
}

impl Call {
    pub(super) fn place(sip_port: u16, from: &str, name: &str, to: &str) -> Result<Self> {
        let line = Line::open(sip_port)?;
        let uri = format!("sip:{to}@127.0.0.1:{sip_port}");
        let invite = Message::request("INVITE", &uri)
            .with("Via", line.via())
            .with("Max-Forwards", "70")
            .with("From", format!("\"{name}\" <sip:{from}@127.0.0.1>;tag={}", unique()))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", format!("call-{}", unique()))
            .with("CSeq", "1 INVITE")
            .with("Contact", format!("<sip:{from}@{}>", line.local()))
            .with("X-Trunk", "inlet")
            .with_sdp(line.rtp_port());
        line.send(&invite);
        let state = Arc::new(Mutex::new(CallState::default()));
        let (worker, shared, request) = (line.clone(), state.clone(), invite.clone());
        let thread = std::thread::spawn(move || {
            worker.run(|message| {
                if let Some(message) = message {
                    caller_turn(&worker, &request, &shared, message);
                }
            });
        });
        Ok(Self { line, invite, state, thread: Some(thread) })
    }

    /// Waits until Asterisk says 200.
    pub fn wait_answered(&self) -> Result<()> {
        wait::until(ANSWER_LIMIT, "an answered call", || match self.state().answer {
            Some(answer) if answer.status() == 200 => Ok(Some(())),
            Some(answer) => bail!("{}", answer.start),
            None => Ok(None),
        })
    }

    /// Waits for a refusal or for the other side's BYE; gives the final status (200 for an answered call).
    pub fn wait_ended(&self) -> Result<u16> {
        let limit = ANSWER_LIMIT * 3;
        wait::until(limit, "the call's end", || {
            let state = self.state();
            Ok(state.ended.then(|| state.answer.as_ref().map_or(0, Message::status)))
        })
    }

    /// Hangs up: BYE when answered, CANCEL before.
    pub fn hang_up(&self) -> Result<()> {
        let state = self.state();
        self.line.talking.store(false, Ordering::Relaxed);
        match state.answer {
            Some(answer) if answer.status() == 200 => {
                self.line.send(&caller_request(&self.line, "BYE", 2, &self.invite, &answer));
            }
            Some(answer) => bail!("the call was refused already: {}", answer.start),
            None => {
                wait::until_true(ANSWER_LIMIT, "a provisional answer", || self.state().provisional)?;
                // A CANCEL is of the INVITE's own transaction: the same Via and the same number.
                let mut cancel = Message::request("CANCEL", self.invite.start.split(' ').nth(1).unwrap_or(""));
                for name in ["Via", "Max-Forwards", "From", "To", "Call-ID"] {
                    cancel = cancel.with(name, self.invite.header(name));
                }
                self.line.send(&cancel.with("CSeq", "1 CANCEL"));
            }
        }
        self.wait_ended().map(drop)
    }

    fn state(&self) -> CallState {
        self.state.lock().expect("no panic while held").clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        stop(&self.line, &mut self.thread);
    }
}

fn caller_turn(line: &Line, invite: &Message, state: &Mutex<CallState>, message: Message) {
    let mut state = state.lock().expect("no panic while held");
    match (message.status(), message.answered_method()) {
        (0, _) => {
            if message.method() == "BYE" {
                line.talking.store(false, Ordering::Relaxed);
                state.ended = true;
            }
            if message.method() != "ACK" {
                line.send(&Message::answer_to(&message, 200, "OK", ""));
            }
        }
        (100..200, "INVITE") => state.provisional = true,
        (200, "INVITE") => {
            line.send(&caller_request(line, "ACK", 1, invite, &message));
            if state.answer.is_none() {
                line.talk(&message);
            }
            state.answer = Some(message);
        }
        (_, "INVITE") => {
            let mut ack = Message::request("ACK", invite.start.split(' ').nth(1).unwrap_or(""));
            for name in ["Via", "Max-Forwards", "From", "Call-ID"] {
                ack = ack.with(name, invite.header(name));
            }
            line.send(&ack.with("To", message.header("To")).with("CSeq", "1 ACK"));
            state.answer = Some(message);
            state.ended = true;
        }
        (_, "BYE") => state.ended = true,
        _ => {}
    }
}

fn caller_request(line: &Line, method: &str, sequence: u32, invite: &Message, answer: &Message) -> Message {
    Message::request(method, answer.contact_uri().unwrap_or("sip:127.0.0.1"))
        .with("Via", line.via())
        .with("Max-Forwards", "70")
        .with("From", invite.header("From"))
        .with("To", answer.header("To"))
        .with("Call-ID", invite.header("Call-ID"))
        .with("CSeq", format!("{sequence} {method}"))
        .with("Contact", invite.header("Contact"))
}

fn stop(line: &Line, thread: &mut Option<JoinHandle<()>>) {
    line.stop.store(true, Ordering::Relaxed);
    if let Some(thread) = thread.take() {
        let _ = thread.join();
    }
}

/// Our tag of a dialogue, the same at each retransmission.
fn local_tag(invite: &Message) -> String {
    let call = invite.header("Call-ID");
    format!("t{}", call.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))))
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A square wave in µ-law: loud enough that a voicemail is not taken for silence.
#[derive(Debug, Default)]
struct Tone {
    sequence: u16,
    timestamp: u32,
}

impl Tone {
    fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        packet.extend((0..RTP_SAMPLES).map(|sample| if (sample / 10).is_multiple_of(2) { 0x90 } else { 0x10 }));
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(RTP_SAMPLES as u32);
        packet
    }
}
