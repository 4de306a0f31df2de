//! A small IMAP server whose faults a test chooses: what a real one cannot be made to do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// What the server does wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub no_idle: bool,
    /// UIDs whose mail comes in an answer that is no IMAP.
    pub garbled: Vec<u32>,
    /// UIDs at which the connection is closed.
    pub fatal: Vec<u32>,
    /// UIDs that are listed but given as NIL.
    pub nil: Vec<u32>,
    /// UIDs that are removed when they are fetched; a session is told at its next NOOP.
    pub vanished: Vec<u32>,
    /// UIDs that are listed and not given, and how often.
    pub withheld: BTreeMap<u32, usize>,
    /// Answers to the FETCH of a withheld mail; OK where nothing is said.
    pub withheld_with: Option<String>,
    /// Every FETCH of mails fails, as with a store that is away.
    pub store_away: bool,
    /// Answers of one FETCH come last first, with other people's flag changes in between.
    pub disordered: bool,
    /// Sizes are announced so.
    pub announced_size: Option<u64>,
    /// No UIDNEXT at EXAMINE.
    pub no_uidnext: bool,
    pub uidvalidity: u32,
    /// Answers to LOGIN.
    pub refuse_login: Option<String>,
    /// Refuses the FETCH of mails so often with this text.
    pub throttle: Option<String>,
    /// Says nothing to EXAMINE.
    pub silent: bool,
}

/// The mailbox of the server.
#[derive(Debug, Default)]
pub struct Mailbox {
    pub mails: BTreeMap<u32, Vec<u8>>,
    pub faults: Faults,
    /// Mails that are gone, which nobody has been told yet.
    removed: Vec<u32>,
    /// Command lines that clients sent, without tag.
    pub commands: Vec<String>,
    pub connections: usize,
}

/// A running server.
pub struct Server {
    pub port: u16,
    pub mailbox: Arc<Mutex<Mailbox>>,
    events: broadcast::Sender<String>,
}

impl Server {
    pub async fn start(faults: Faults, mails: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let faults = Faults { uidvalidity: faults.uidvalidity.max(7), ..faults };
        let mailbox =
            Arc::new(Mutex::new(Mailbox { mails: mails.into_iter().collect(), faults, ..Mailbox::default() }));
        let (events, _) = broadcast::channel(64);
        let server = Self { port, mailbox: mailbox.clone(), events: events.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                mailbox.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, mailbox.clone(), events.subscribe()));
            }
        });
        server
    }

    /// Puts a mail there; clients in IDLE are told.
    pub fn add(&self, uid: u32, mail: Vec<u8>) {
        let mut mailbox = self.mailbox.lock().unwrap();
        mailbox.mails.insert(uid, mail);
        let _ = self.events.send(format!("* {} EXISTS", mailbox.mails.len()));
    }

    /// Says something to clients in IDLE.
    pub fn say(&self, line: &str) {
        let _ = self.events.send(line.to_owned());
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.mailbox.lock().unwrap().faults);
    }

    pub fn count(&self, command: &str) -> usize {
        self.mailbox.lock().unwrap().commands.iter().filter(|line| line.starts_with(command)).count()
    }

    pub fn connections(&self) -> usize {
        self.mailbox.lock().unwrap().connections
    }
}

type Io = std::io::Result<()>;

async fn serve(stream: TcpStream, mailbox: Arc<Mutex<Mailbox>>, mut events: broadcast::Receiver<String>) -> Io {
    let (read, mut out) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    out.write_all(b"* OK ready\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let (tag, command) = (tag.to_owned(), command.to_owned());
        mailbox.lock().unwrap().commands.push(command.clone());
        let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "CAPABILITY" => {
                let idle = if mailbox.lock().unwrap().faults.no_idle { "" } else { " IDLE" };
                out.write_all(format!("* CAPABILITY IMAP4rev1{idle}\r\n{tag} OK done\r\n").as_bytes()).await?;
            }
            "LOGIN" => {
                let refusal = mailbox.lock().unwrap().faults.refuse_login.clone();
                let answer = refusal.unwrap_or_else(|| "OK in".to_owned());
                out.write_all(format!("{tag} {answer}\r\n").as_bytes()).await?;
            }
            "EXAMINE" => {
                if mailbox.lock().unwrap().faults.silent {
                    continue;
                }
                let text = examine(&mailbox.lock().unwrap(), &tag);
                out.write_all(text.as_bytes()).await?;
            }
            "IDLE" => {
                out.write_all(b"+ idling\r\n").await?;
                loop {
                    tokio::select! {
                        line = lines.next_line() => match line?.as_deref() {
                            Some("DONE") => break,
                            _ => return Ok(()),
                        },
                        Ok(event) = events.recv() => out.write_all(format!("{event}\r\n").as_bytes()).await?,
                    }
                }
                out.write_all(format!("{tag} OK done\r\n").as_bytes()).await?;
            }
            "NOOP" => {
                {
                    let mut mailbox = mailbox.lock().unwrap();
                    let gone = std::mem::take(&mut mailbox.removed);
                    mailbox.mails.retain(|uid, _| !gone.contains(uid));
                }
                out.write_all(format!("{tag} OK done\r\n").as_bytes()).await?;
            }
            "UID" => {
                let bytes = uid_command(&mut mailbox.lock().unwrap(), &command, &tag);
                match bytes {
                    Some(bytes) => send(&mut out, &bytes).await?,
                    None => return Ok(()),
                }
            }
            _ => out.write_all(format!("{tag} OK done\r\n").as_bytes()).await?,
        }
    }
    Ok(())
}

async fn send(out: &mut OwnedWriteHalf, bytes: &[u8]) -> Io {
    tokio::time::timeout(Duration::from_secs(30), out.write_all(bytes)).await.map_err(std::io::Error::other)?
}

fn examine(mailbox: &Mailbox, tag: &str) -> String {
    let last = mailbox.mails.keys().next_back().copied().unwrap_or(0);
    let uidnext =
        if mailbox.faults.no_uidnext { String::new() } else { format!("* OK [UIDNEXT {}] next\r\n", last + 1) };
    format!(
        "* {} EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY {}] ids\r\n{uidnext}{tag} OK [READ-ONLY] done\r\n",
        mailbox.mails.len(),
        mailbox.faults.uidvalidity,
    )
}

/// The answer, or `None` where the connection is to be closed.
fn uid_command(mailbox: &mut Mailbox, command: &str, tag: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = command.splitn(4, ' ').collect();
    let last = mailbox.mails.keys().next_back().copied().unwrap_or(0);
    if words[1] == "SEARCH" {
        let is_found = |uid: &&u32| match words[3].split_once(':') {
            Some((from, _)) => from.parse::<u32>().map_or(true, |from| **uid >= from || **uid == last),
            None => in_set(words[3], **uid),
        };
        let found: Vec<String> = mailbox.mails.keys().filter(is_found).map(u32::to_string).collect();
        let list = if found.is_empty() { String::new() } else { format!(" {}", found.join(" ")) };
        return Some(format!("* SEARCH{list}\r\n{tag} OK done\r\n").into_bytes());
    }
    let wants_body = words[3].contains("BODY");
    let Mailbox { mails, faults, removed, .. } = mailbox;
    if wants_body && let Some(text) = &faults.throttle {
        return Some(format!("{tag} NO {text}\r\n").into_bytes());
    }
    if wants_body && faults.store_away {
        return Some(format!("{tag} NO [SERVERBUG] Internal error occurred\r\n").into_bytes());
    }
    let mut answers = Vec::new();
    let mut done = "OK done".to_owned();
    for (sequence, (uid, mail)) in mails.iter().enumerate().filter(|(_, (uid, _))| in_set(words[2], **uid)) {
        if wants_body && faults.fatal.contains(uid) {
            return None;
        }
        if wants_body && faults.vanished.contains(uid) {
            removed.push(*uid);
            continue;
        }
        if wants_body && let Some(left) = faults.withheld.get_mut(uid).filter(|left| **left > 0) {
            *left -= 1;
            done = faults.withheld_with.clone().unwrap_or(done);
            continue;
        }
        let size = faults.announced_size.unwrap_or(mail.len() as u64);
        let head = format!("* {} FETCH (UID {uid} RFC822.SIZE {size}", sequence + 1);
        let mut answer = match (wants_body, faults.garbled.contains(uid), faults.nil.contains(uid)) {
            (false, ..) => format!("{head})\r\n").into_bytes(),
            (true, true, _) => format!("* {} FETCH (UID {uid} BODY[] what?)\r\n", sequence + 1).into_bytes(),
            (true, _, true) => format!("{head} BODY[] NIL)\r\n").into_bytes(),
            _ => {
                let mut bytes =
                    format!("{head} INTERNALDATE \"14-Nov-2023 22:13:20 +0000\" BODY[] {{{}}}\r\n", mail.len())
                        .into_bytes();
                bytes.extend_from_slice(mail);
                bytes.extend_from_slice(b")\r\n");
                bytes
            }
        };
        if faults.disordered {
            answer.extend(format!("* {} FETCH (FLAGS (\\Seen))\r\n", sequence + 1).bytes());
        }
        answers.push(answer);
    }
    if faults.disordered {
        answers.reverse();
    }
    let mut bytes = answers.concat();
    bytes.extend(format!("{tag} {done}\r\n").bytes());
    Some(bytes)
}

fn in_set(set: &str, uid: u32) -> bool {
    set.split(',').any(|part| {
        let (from, to) = part.split_once(':').unwrap_or((part, part));
        let bound = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
        (bound(from)..=bound(to)).contains(&uid)
    })
}
