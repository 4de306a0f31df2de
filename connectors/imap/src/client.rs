//! One connection: commands and answers, each with a deadline. async-imap reads the protocol; which commands are sent
//! and when is decided here, so that several can be under way.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_imap::imap_proto::{AttributeValue, Capability, MailboxDatum, Response, ResponseCode, Status};
use connector_sdk::net::NetStream;
use connector_sdk::{Bytes, Timestamp};
use tokio::io::AsyncWriteExt;

use crate::fault::{Fault, server_text};
use crate::meter::{Meter, Metered};
use crate::utf7;

/// No byte of an answer for so long, or a write that takes longer, ends the connection.
pub const QUIET: Duration = Duration::from_secs(60);
/// What a command without mails may answer; the search over a folder of ten million mails fits.
const ALLOWANCE_BYTES: u64 = 96 << 20;

/// An answer of the server, as far as it matters here.
#[derive(Debug)]
pub enum Answer {
    /// The end of the command with this tag.
    Done {
        tag: String,
        status: Status,
        text: String,
    },
    Continue,
    Capabilities(Vec<String>),
    /// How many mails the folder holds.
    Exists(u32),
    UidValidity(u32),
    UidNext(u32),
    Search(Vec<u32>),
    Fetch(Box<Attributes>),
    /// A folder's name.
    List(String),
    /// The server closes the connection.
    Bye(String),
    /// PREAUTH greeting: already logged in.
    PreAuth,
    Other,
}

/// What an answer tells about one mail.
#[derive(Debug, Default)]
pub struct Attributes {
    pub uid: Option<u32>,
    pub size_bytes: Option<u64>,
    pub internal_date: Option<Timestamp>,
    /// The mail, or its headers where those were asked for; a NIL is `None`.
    pub body: Option<Bytes>,
}

/// A connection to a server.
pub struct Client {
    wire: async_imap::Client<Metered>,
    meter: Arc<Meter>,
    last_tag: u64,
    /// Upper case.
    capabilities: HashSet<String>,
}

/// A folder that was opened for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    pub uidvalidity: u32,
    pub uidnext: Option<u32>,
    pub exists: u32,
}

impl Client {
    pub fn new(stream: NetStream) -> Self {
        let meter = Arc::new(Meter::default());
        meter.allow(ALLOWANCE_BYTES);
        let wire = async_imap::Client::new(Metered::new(stream, meter.clone()));
        Self { wire, meter, last_tag: 0, capabilities: HashSet::new() }
    }

    /// The stream below; what was read ahead is dropped (a STARTTLS answer must not bring more with it).
    pub fn into_stream(self) -> NetStream {
        self.wire.into_inner().into_inner()
    }

    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// The next answer. A large one may take long, as long as its bytes keep coming; may be dropped and called again.
    pub async fn next(&mut self) -> Result<Answer, Fault> {
        loop {
            let before = self.meter.read();
            match tokio::time::timeout(QUIET, self.wire.read_response()).await {
                Ok(Ok(Some(data))) => return Ok(answer(data.parsed())),
                Ok(Ok(None)) => return Err(Fault::Lost("the server closed the connection".to_owned())),
                Ok(Err(error)) => return Err(Fault::of_io(error)),
                Err(_) if self.meter.read() == before => return Err(Fault::Silent(QUIET.as_secs())),
                Err(_) => {}
            }
        }
    }

    /// Sends a command and returns its tag; several may be under way. The answers may bring `expected_bytes` of mail.
    pub async fn send(&mut self, command: &str, expected_bytes: u64) -> Result<String, Fault> {
        self.last_tag += 1;
        let tag = format!("I{}", self.last_tag);
        self.meter.allow(ALLOWANCE_BYTES.saturating_add(expected_bytes));
        self.send_line(&format!("{tag} {command}")).await?;
        Ok(tag)
    }

    /// Sends a line that is no command (`DONE`, an answer to a challenge).
    pub async fn send_line(&mut self, line: &str) -> Result<(), Fault> {
        let stream = self.wire.get_mut();
        let write = async {
            stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            stream.flush().await
        };
        match tokio::time::timeout(QUIET, write).await {
            Ok(done) => done.map_err(Fault::of_io),
            Err(_) => Err(Fault::Silent(QUIET.as_secs())),
        }
    }

    /// Reads answers up to the end of a command. NO and BAD are faults.
    pub async fn finish(&mut self, tag: &str, mut on: impl FnMut(Answer)) -> Result<(), Fault> {
        loop {
            match self.next().await? {
                Answer::Done { tag: of, status, text } if of == tag => return done(status, text),
                Answer::Bye(text) => return Err(Fault::Lost(format!("the server closes the connection: {text}"))),
                answer => on(answer),
            }
        }
    }

    /// Sends a command and reads its answers.
    pub async fn run(&mut self, command: &str, on: impl FnMut(Answer)) -> Result<(), Fault> {
        let tag = self.send(command, 0).await?;
        self.finish(&tag, on).await
    }

    pub async fn ask_capabilities(&mut self) -> Result<(), Fault> {
        let mut found = HashSet::new();
        self.run("CAPABILITY", |answer| {
            if let Answer::Capabilities(list) = answer {
                found.extend(list);
            }
        })
        .await?;
        self.capabilities = found;
        Ok(())
    }

    /// Opens a folder read-only.
    pub async fn examine(&mut self, folder: &str) -> Result<Folder, Fault> {
        let (mut uidvalidity, mut uidnext, mut exists) = (0, None, 0);
        self.run(&format!("EXAMINE {}", quoted(&utf7::encode(folder))), |answer| match answer {
            Answer::UidValidity(value) => uidvalidity = value,
            Answer::UidNext(value) => uidnext = Some(value),
            Answer::Exists(count) => exists = count,
            _ => {}
        })
        .await?;
        Ok(Folder { uidvalidity, uidnext, exists })
    }

    /// The names of the folders that can be opened, at most `limit`.
    pub async fn folders(&mut self, limit: usize) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        self.run("LIST \"\" \"*\"", |answer| {
            if let Answer::List(name) = answer
                && names.len() < limit
            {
                names.push(utf7::decode(&name));
            }
        })
        .await?;
        Ok(names)
    }

    /// The UIDs that a search finds, ascending; and how many mails the folder holds, where the server said so meanwhile.
    pub async fn search(&mut self, criteria: &str) -> Result<(Vec<u32>, Option<u32>), Fault> {
        let (mut uids, mut exists) = (Vec::new(), None);
        self.run(&format!("UID SEARCH {criteria}"), |answer| match answer {
            Answer::Search(found) => uids.extend(found),
            Answer::Exists(count) => exists = Some(count),
            _ => {}
        })
        .await?;
        uids.sort_unstable();
        uids.dedup();
        Ok((uids, exists))
    }

    /// When the store received these mails; those that are gone are left out.
    pub async fn received_at(&mut self, uids: &[u32]) -> Result<BTreeMap<u32, Timestamp>, Fault> {
        let mut received = BTreeMap::new();
        let command = format!("UID FETCH {} (UID INTERNALDATE)", crate::batch::set(uids));
        self.run(&command, |answer| {
            if let Answer::Fetch(found) = answer
                && let (Some(uid), Some(date)) = (found.uid, found.internal_date)
            {
                received.insert(uid, date);
            }
        })
        .await?;
        Ok(received)
    }

    /// Whether it gives something of this mail.
    pub async fn gives(&mut self, uid: u32) -> Result<bool, Fault> {
        let mut gives = false;
        // One byte, and none that a cache of headers holds.
        let command = format!("UID FETCH {uid} (UID BODY.PEEK[]<0.1>)");
        let asked = self.run(&command, |answer| {
            if let Answer::Fetch(found) = answer {
                gives |= found.body.is_some();
            }
        });
        match asked.await {
            Ok(()) | Err(Fault::No(_) | Fault::Bad(_)) => Ok(gives),
            Err(fault) => Err(fault),
        }
    }

    /// Says good-bye; nothing depends on it.
    pub async fn logout(mut self) {
        let goodbye = async {
            self.send("LOGOUT", 0).await?;
            self.wire.get_mut().shutdown().await.map_err(Fault::of_io)
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

/// The end of a command as a result.
pub fn done(status: Status, text: String) -> Result<(), Fault> {
    match status {
        Status::Ok | Status::PreAuth => Ok(()),
        Status::No => Err(Fault::No(text)),
        Status::Bad => Err(Fault::Bad(text)),
        Status::Bye => Err(Fault::Lost(text)),
    }
}

/// A quoted string; whoever calls has made sure that there are no line breaks in it.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn answer(response: &Response<'_>) -> Answer {
    match response {
        Response::Done { tag, status, outcome } => Answer::Done {
            tag: tag.0.clone(),
            status: clone_status(status),
            text: server_text(outcome.information.as_deref().unwrap_or_default()),
        },
        Response::Continue(_) => Answer::Continue,
        Response::Capabilities(list) => Answer::Capabilities(list.iter().map(capability).collect()),
        Response::Data { status, outcome } => match (status, &outcome.code) {
            (Status::Bye, _) => Answer::Bye(server_text(outcome.information.as_deref().unwrap_or_default())),
            (Status::PreAuth, _) => Answer::PreAuth,
            (_, Some(ResponseCode::UidValidity(value))) => Answer::UidValidity(*value),
            (_, Some(ResponseCode::UidNext(value))) => Answer::UidNext(*value),
            _ => Answer::Other,
        },
        Response::MailboxData(MailboxDatum::Exists(count)) => Answer::Exists(*count),
        Response::MailboxData(MailboxDatum::Search(uids)) => Answer::Search(uids.clone()),
        Response::MailboxData(MailboxDatum::List(entry)) => Answer::List(entry.name.to_string()),
        Response::Fetch(_, attributes) => Answer::Fetch(Box::new(fetched(attributes))),
        _ => Answer::Other,
    }
}

fn clone_status(status: &Status) -> Status {
    match status {
        Status::Ok => Status::Ok,
        Status::No => Status::No,
        Status::Bad => Status::Bad,
        Status::PreAuth => Status::PreAuth,
        Status::Bye => Status::Bye,
    }
}

fn capability(capability: &Capability<'_>) -> String {
    match capability {
        Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
        Capability::Auth(name) => format!("AUTH={name}").to_ascii_uppercase(),
        Capability::Atom(name) => name.to_ascii_uppercase(),
    }
}

fn fetched(list: &[AttributeValue<'_>]) -> Attributes {
    let mut found = Attributes::default();
    for attribute in list {
        match attribute {
            AttributeValue::Uid(uid) => found.uid = Some(*uid),
            AttributeValue::Rfc822Size(size) => found.size_bytes = Some(u64::from(*size)),
            AttributeValue::InternalDate(text) => found.internal_date = internal_date(text),
            AttributeValue::BodySection { data: Some(data), .. } => found.body = Some(Bytes::copy_from_slice(data)),
            _ => {}
        }
    }
    found
}

/// ` 7-Feb-2024 10:00:00 +0100`.
fn internal_date(text: &str) -> Option<Timestamp> {
    jiff::Timestamp::strptime("%d-%b-%Y %H:%M:%S %z", text.trim()).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_dates() {
        for (text, expected) in [
            (" 7-Feb-2024 10:00:00 +0100", "2024-02-07T09:00:00Z"),
            ("17-Feb-2024 10:00:00 -0230", "2024-02-17T12:30:00Z"),
        ] {
            assert_eq!(internal_date(text).map(|at| at.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(internal_date("yesterday"), None);
    }

    #[test]
    fn quoting() {
        assert_eq!(quoted(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
