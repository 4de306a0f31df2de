//! The connection: banner, log-in, and a reader that empties the socket at once.
//!
//! Asterisk cuts off a client that does not read (`writetimeout`, 100 ms by default). So a task of its own reads into a
//! bounded buffer; when that is full, the connection is given up and opened again, which is reported as a gap.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use connector_sdk::net::{self, NetStream};
use connector_sdk::{Bytes, IntakeError};
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::catalog::{self, Treatment};
use crate::wire::{Frame, Splitter};
use crate::{Auth, Options};

/// Frames that wait for the session.
pub const BUFFER_FRAMES: usize = 20_000;
/// Bytes that wait for the session.
pub const BUFFER_MAX_BYTES: usize = 32 << 20;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// How the manager interface greets.
const BANNER: &str = "Asterisk Call Manager";
/// Messages of a failed log-in that are not about the credentials.
const BUSY_MESSAGES: &[&str] = &["session limit", "too many"];

/// What the reader and the session share.
#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    /// Counts what was read, noise included: a connection on which it rises is alive.
    heard: AtomicU64,
}

/// The writing half; taken out by the reader when it ends, so that the PBX sees the end at once.
type Writer = Arc<Mutex<Option<WriteHalf<NetStream>>>>;

/// A connection that is logged in.
pub struct Link {
    writer: Writer,
    frames: mpsc::Receiver<Bytes>,
    reader: JoinHandle<String>,
    shared: Arc<Shared>,
    /// Frames that came while an answer was waited for.
    early: Vec<Bytes>,
    actions: u64,
    /// The greeting, with the version of the interface.
    pub banner: String,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Link {
    /// Connects and logs in.
    pub async fn open(options: &Options) -> Result<Self, IntakeError> {
        let stream = net::tcp(&options.host, options.port).await.map_err(IntakeError::retry)?;
        let stream = if options.tls {
            let config =
                net::client_config(options.ca_file.as_deref()).map_err(|e| IntakeError::Broken(e.to_string()))?;
            net::tls(stream, &options.host, config).await.map_err(IntakeError::retry)?
        } else {
            NetStream::Plain(stream)
        };
        let (reader, writer) = tokio::io::split(stream);
        let (send, mut frames) = mpsc::channel(BUFFER_FRAMES);
        let shared = Arc::new(Shared::default());
        let writer: Writer = Arc::new(Mutex::new(Some(writer)));
        let reader = {
            let (shared, writer) = (Arc::clone(&shared), Arc::clone(&writer));
            tokio::spawn(async move {
                let why = read(reader, send, shared).await;
                drop(writer.lock().await.take());
                why
            })
        };
        let banner = timeout(options.timing.login, frames.recv()).await.ok().flatten().unwrap_or_default();
        let banner = String::from_utf8_lossy(&banner).into_owned();
        let mut link = Self { writer, frames, reader, shared, early: Vec::new(), actions: 0, banner };
        if link.banner.is_empty() {
            return Err(link.fault("the PBX sent no greeting").await);
        }
        if !link.banner.starts_with(BANNER) {
            return Err(IntakeError::Broken(format!(
                "{}:{} does not greet as an Asterisk manager interface; is it the port of manager.conf?",
                options.host, options.port
            )));
        }
        link.log_in(options).await?;
        Ok(link)
    }

    async fn log_in(&mut self, options: &Options) -> Result<(), IntakeError> {
        let limit = options.timing.login;
        let mut fields = vec![("Username", options.username.clone())];
        match options.auth {
            Auth::Plain => fields.push(("Secret", options.secret.expose().to_owned())),
            Auth::Md5 => {
                let answer = self.ask("Challenge", &[("AuthType", "MD5".to_owned())], limit).await?;
                let Some(challenge) = answer.get("Challenge") else {
                    return Err(refused(&answer, "the challenge"));
                };
                fields.push(("AuthType", "MD5".to_owned()));
                fields.push(("Key", md5_key(challenge, options.secret.expose())));
            }
        }
        fields.push(("Events", options.events.clone()));
        let answer = self.ask("Login", &fields, limit).await?;
        if answer.get("Response") == Some("Success") { Ok(()) } else { Err(refused(&answer, "the log-in")) }
    }

    /// Sends an action and waits for its answer; what comes in between is kept for [`Link::next`].
    pub async fn ask(
        &mut self,
        action: &str,
        fields: &[(&str, String)],
        limit: Duration,
    ) -> Result<Frame, IntakeError> {
        let id = self.send(action, fields).await?;
        let wait = async {
            while let Some(bytes) = self.frames.recv().await {
                self.shared.waiting_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
                let frame = Frame::read(&bytes);
                // Failed log-ins of old versions come without the ActionID.
                // An OriginateResponse is an event that has a field Response.
                let response = frame.event().is_none() && frame.get("Response").is_some();
                let answers = response && frame.get("ActionID").is_none_or(|have| have == id);
                if answers {
                    return Some(frame);
                }
                self.early.push(bytes);
            }
            None
        };
        match timeout(limit, wait).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.fault(&format!("the connection ended before {action} was answered")).await),
            Err(_) => Err(IntakeError::retry(format!("the PBX did not answer {action} within {} s", limit.as_secs()))),
        }
    }

    /// Sends an action; returns its ActionID.
    pub async fn send(&mut self, action: &str, fields: &[(&str, String)]) -> Result<String, IntakeError> {
        self.actions += 1;
        let id = format!("inlet-{}", self.actions);
        let mut text = format!("Action: {action}\r\nActionID: {id}\r\n");
        for (key, value) in fields {
            text.push_str(&format!("{key}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let lost = |error: io::Error| IntakeError::retry(format!("the connection to the PBX broke: {error}"));
        let mut writer = self.writer.lock().await;
        let Some(writer) = writer.as_mut() else { return Err(lost(io::ErrorKind::NotConnected.into())) };
        writer.write_all(text.as_bytes()).await.map_err(lost)?;
        writer.flush().await.map_err(lost)?;
        Ok(id)
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Bytes> {
        if !self.early.is_empty() {
            return Some(self.early.remove(0));
        }
        let bytes = self.frames.recv().await?;
        self.shared.waiting_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        Some(bytes)
    }

    /// Stops reading; what has come can still be taken by [`Link::next`].
    pub fn close(&mut self) {
        self.reader.abort();
        self.frames.close();
    }

    /// How much was heard so far; rises with every read.
    pub fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Why the connection has ended.
    pub async fn fault(&mut self, what: &str) -> IntakeError {
        let why = (&mut self.reader).await.unwrap_or_else(|_| "the reader was stopped".to_owned());
        IntakeError::retry(format!("{what}: {why}"))
    }
}

/// Reads until the end; returns why it ended.
async fn read(mut stream: ReadHalf<NetStream>, frames: mpsc::Sender<Bytes>, shared: Arc<Shared>) -> String {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut greeted = false;
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return "the PBX closed the connection".to_owned(),
            Ok(length) => splitter.push(&buffer[..length]),
            Err(error) => return format!("reading failed: {error}"),
        }
        shared.heard.fetch_add(1, Ordering::Relaxed);
        if !greeted {
            let Some(line) = splitter.line() else { continue };
            greeted = true;
            shared.waiting_bytes.fetch_add(line.len(), Ordering::Relaxed);
            if frames.send(line).await.is_err() {
                return "the session ended".to_owned();
            }
        }
        while let Some(frame) = splitter.next() {
            if is_noise(&frame) {
                continue;
            }
            let waiting = shared.waiting_bytes.fetch_add(frame.len(), Ordering::Relaxed);
            if waiting > BUFFER_MAX_BYTES || frames.try_send(frame).is_err() {
                return format!("events come faster than they can be handed on: {waiting} bytes were waiting");
            }
        }
    }
}

/// Whether nobody needs a frame: known events that say nothing about a call, and the channel variables among them.
fn is_noise(bytes: &[u8]) -> bool {
    let frame = Frame::read(bytes);
    let Some(event) = frame.event() else { return false };
    match catalog::treatment(event) {
        // It ends the list of running channels.
        Some(Treatment::Noise(_)) => event != "CoreShowChannelsComplete",
        Some(Treatment::Kept(_)) if event == "VarSet" => {
            !frame.get("Variable").is_some_and(|name| name.starts_with("VM"))
        }
        _ => false,
    }
}

fn refused(answer: &Frame, what: &str) -> IntakeError {
    let message = answer.get("Message").unwrap_or("no reason given");
    let lower = message.to_ascii_lowercase();
    if BUSY_MESSAGES.iter().any(|busy| lower.contains(busy)) {
        return IntakeError::retry(format!("the PBX refused {what}: {message}"));
    }
    IntakeError::Unauthorised(format!(
        "the PBX refused {what}: {message}; check username, secret and permit in manager.conf"
    ))
}

/// Key of an MD5 log-in: lower-case hex over challenge and secret.
fn md5_key(challenge: &str, secret: &str) -> String {
    hex::encode(Md5::new().chain_update(challenge).chain_update(secret).finalize())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_key_is_that_of_the_documented_vector() {
        assert_eq!(super::md5_key("123456", "amp111"), "64aa902e677c8e6e5c27783f33a85972");
    }
}
