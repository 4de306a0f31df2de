//! An AMI server that says what the test wants: frames of a transcript, silence, a refused login, a cut line.

use crate::runtime::{block_on, spawn};
use crate::servers::ami::AmiMessage;
use crate::wait;
use anyhow::{Context, Result};
use md5::{Digest, Md5};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Frames waiting for slow readers.
const BACKLOG: usize = 65_536;
/// The same for every login: what matters is that it is used.
const CHALLENGE: &str = "840415273";

#[derive(Debug, Default)]
struct State {
    secret: String,
    actions: Vec<AmiMessage>,
    logged_in: usize,
    /// Further answers to an action's name, after its 'Success' line.
    answers: Vec<(String, String)>,
    lines: Vec<Line>,
    said: usize,
}

/// One connection, from its acceptance on.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub closed: Option<Instant>,
    /// What was written to it after its login: the number that [`ScriptedAmi::say`] gave, and when.
    pub heard: Vec<(usize, Instant)>,
}

#[derive(Debug, Clone)]
enum Order {
    Say(usize, Arc<[u8]>),
    Cut,
}

/// Listens until it is dropped. Every login with [`ScriptedAmi::start`]'s secret is let in.
#[derive(Debug)]
pub struct ScriptedAmi {
    port: u16,
    state: Arc<Mutex<State>>,
    orders: broadcast::Sender<Order>,
    task: JoinHandle<()>,
}

impl ScriptedAmi {
    pub fn start(secret: &str) -> Result<Self> {
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).context("listen")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State { secret: secret.to_owned(), ..State::default() }));
        let (orders, _) = broadcast::channel(BACKLOG);
        let (shared, sender) = (state.clone(), orders.clone());
        let task = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let line = {
                    let mut state = shared.lock().expect("no panic while held");
                    state.lines.push(Line::default());
                    state.lines.len() - 1
                };
                let (shared, orders) = (shared.clone(), sender.subscribe());
                spawn(async move {
                    connection(stream, line, shared.clone(), orders).await;
                    shared.lock().expect("no panic while held").lines[line].closed = Some(Instant::now());
                });
            }
        });
        Ok(Self { port, state, orders, task })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends raw bytes to every connection: one or many frames, each ended by an empty line. Gives the number by which
    /// [`Line::heard`] tells who heard it.
    pub fn say(&self, frames: &[u8]) -> usize {
        let mut state = self.lock();
        state.said += 1;
        // Without a connection there is nobody to hear it.
        let _ = self.orders.send(Order::Say(state.said, frames.into()));
        state.said
    }

    /// All connections so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// Closes every connection; new ones are taken.
    pub fn cut(&self) {
        let _ = self.orders.send(Order::Cut);
    }

    /// Lets in only this secret from now on.
    pub fn set_secret(&self, secret: &str) {
        secret.clone_into(&mut self.lock().secret);
    }

    /// What follows the response to an action, such as the events of `CoreShowChannels`.
    /// `@ActionID@` is filled in.
    pub fn answer(&self, action: &str, frames: &str) {
        let mut state = self.lock();
        state.answers.retain(|(name, _)| name != action);
        state.answers.push((action.to_owned(), frames.to_owned()));
    }

    /// What clients asked, secrets included.
    pub fn actions(&self) -> Vec<AmiMessage> {
        self.lock().actions.clone()
    }

    /// Waits until `count` logins in all have succeeded.
    pub fn wait_logins(&self, count: usize, limit: Duration) -> Result<()> {
        wait::until_true(limit, &format!("{count} AMI logins"), || self.lock().logged_in >= count)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

impl Drop for ScriptedAmi {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn connection(stream: TcpStream, line: usize, state: Arc<Mutex<State>>, mut orders: broadcast::Receiver<Order>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut logged_in = false;
    if writer.write_all(b"Asterisk Call Manager/11.0.0\r\n").await.is_err() {
        return;
    }
    let mut text = String::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Ok(Order::Say(number, frames)) if logged_in => {
                    if writer.write_all(&frames).await.is_err() {
                        return;
                    }
                    state.lock().expect("no panic while held").lines[line].heard.push((number, Instant::now()));
                }
                Ok(Order::Say(..)) => {}
                Ok(Order::Cut) | Err(_) => return,
            },
            read = read_line(&mut reader, &mut text) => {
                if !read {
                    return;
                }
                if text.ends_with("\r\n\r\n") {
                    let action = parse(&std::mem::take(&mut text));
                    if !reply(&action, &state, &mut logged_in, &mut writer).await {
                        return;
                    }
                }
            }
        }
    }
}

/// One line more in `text`; cancel-safe, since what was read stays there.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>, text: &mut String) -> bool {
    let mut bytes = Vec::new();
    match (&mut *reader).take(65_536).read_until(b'\n', &mut bytes).await {
        Ok(0) | Err(_) => false,
        Ok(_) => {
            text.push_str(&String::from_utf8_lossy(&bytes));
            true
        }
    }
}

fn parse(text: &str) -> AmiMessage {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    AmiMessage(pairs.map(|(name, value)| (name.to_owned(), value.trim_start().to_owned())).collect())
}

/// By the secret itself, or by the MD5 of challenge and secret.
fn knows_secret(action: &AmiMessage, secret: &str) -> bool {
    let key = hex::encode(Md5::digest(format!("{CHALLENGE}{secret}")));
    action.get("Secret") == Some(secret) || action.get("Key").is_some_and(|given| given.eq_ignore_ascii_case(&key))
}

async fn reply(action: &AmiMessage, state: &Mutex<State>, logged_in: &mut bool, writer: &mut OwnedWriteHalf) -> bool {
    let name = action.get("Action").unwrap_or("").to_owned();
    let id = action.get("ActionID").map(|id| format!("ActionID: {id}\r\n")).unwrap_or_default();
    let text = {
        let mut state = state.lock().expect("no panic while held");
        state.actions.push(action.clone());
        let login = name.eq_ignore_ascii_case("Login");
        if name.eq_ignore_ascii_case("Challenge") {
            format!("Response: Success\r\n{id}Challenge: {CHALLENGE}\r\n\r\n")
        } else if login && !knows_secret(action, &state.secret) {
            format!("Response: Error\r\n{id}Message: Authentication failed\r\n\r\n")
        } else if !login && !*logged_in {
            format!("Response: Error\r\n{id}Message: Permission denied\r\n\r\n")
        } else {
            if login {
                *logged_in = true;
                state.logged_in += 1;
            }
            let message = if login { "Authentication accepted" } else { "OK" };
            let more = state.answers.iter().find(|(action, _)| action.eq_ignore_ascii_case(&name));
            let more = more.map(|(_, frames)| frames.replace("@ActionID@", action.get("ActionID").unwrap_or("")));
            let booted = if login { "Event: FullyBooted\r\nStatus: Fully Booted\r\n\r\n" } else { "" };
            format!("Response: Success\r\n{id}Message: {message}\r\n\r\n{booted}{}", more.unwrap_or_default())
        }
    };
    writer.write_all(text.as_bytes()).await.is_ok()
}
