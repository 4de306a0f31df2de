//! A small AMI client that collects events, so that a test can see what Asterisk said without the gateway.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A message: its lines as name and value, in order.
#[derive(Debug, Clone, Default)]
pub struct AmiMessage(pub Vec<(String, String)>);

impl AmiMessage {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The event's name, empty for a response.
    pub fn name(&self) -> &str {
        self.get("Event").unwrap_or("")
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Ami {
    stream: BufReader<TcpStream>,
    partial: String,
    /// Everything that came, in order.
    pub seen: Vec<AmiMessage>,
}

impl Ami {
    pub fn login(port: u16, user: &str, secret: &str) -> Result<Self> {
        let address = ([127, 0, 0, 1], port).into();
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT).context("connect to AMI")?;
        let mut ami = Self { stream: BufReader::new(stream), partial: String::new(), seen: Vec::new() };
        ami.stream.get_ref().set_read_timeout(Some(CONNECT_LIMIT))?;
        let mut banner = String::new();
        ami.stream.read_line(&mut banner)?;
        if !banner.starts_with("Asterisk Call Manager/") {
            bail!("no AMI banner: {banner}");
        }
        ami.action(&[("Action", "Login"), ("Username", user), ("Secret", secret)])?;
        let answer = ami.wait_for(CONNECT_LIMIT, "the login's response", |m| m.get("Response").is_some())?;
        if answer.get("Response") != Some("Success") {
            bail!("AMI login: {:?}", answer.get("Message"));
        }
        Ok(ami)
    }

    pub fn action(&mut self, lines: &[(&str, &str)]) -> Result<()> {
        let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(self.stream.get_mut(), "{text}\r\n").context("send an action")
    }

    /// The first message, seen already or yet to come, that `matches`.
    pub fn wait_for(
        &mut self,
        limit: Duration,
        what: &str,
        matches: impl Fn(&AmiMessage) -> bool,
    ) -> Result<AmiMessage> {
        let end = Instant::now() + limit;
        let mut looked_at = 0;
        loop {
            if let Some(found) = self.seen[looked_at..].iter().find(|m| matches(m)) {
                return Ok(found.clone());
            }
            looked_at = self.seen.len();
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                let names: Vec<_> = self.seen.iter().map(AmiMessage::name).collect();
                bail!("waited {limit:?} for {what} on AMI; seen: {}", names.join(" "));
            };
            self.read_message(left)?;
        }
    }

    /// Takes one message in, if it comes in time.
    fn read_message(&mut self, limit: Duration) -> Result<()> {
        self.stream.get_ref().set_read_timeout(Some(limit))?;
        loop {
            match self.stream.read_line(&mut self.partial) {
                Ok(0) => bail!("AMI closed the connection"),
                Ok(_) if self.partial.ends_with("\r\n\r\n") || self.partial == "\r\n" => break,
                Ok(_) => {}
                // What was read so far stays in `partial`.
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let text = std::mem::take(&mut self.partial);
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim_start().to_owned()))
            .collect();
        if !lines.is_empty() {
            self.seen.push(AmiMessage(lines));
        }
        Ok(())
    }
}
