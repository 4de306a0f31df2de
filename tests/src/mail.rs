//! The little of IMAP and LMTP that a test needs to put mail somewhere and to look at it.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No server answer within this is a failure.
const READ_LIMIT: Duration = Duration::from_secs(60);
const MAX_LITERAL_BYTES: usize = 256 << 20;

/// A connection in the clear; one command at a time.
#[derive(Debug)]
pub struct Imap {
    stream: BufReader<TcpStream>,
    tag: u32,
}

/// An untagged line with the literals that it carried.
#[derive(Debug, Clone)]
pub struct Untagged {
    pub line: String,
    pub literals: Vec<Vec<u8>>,
}

impl Imap {
    /// Greeted, not logged in.
    pub fn connect(port: u16) -> Result<Self> {
        let mut imap = Self { stream: connect(port)?, tag: 0 };
        imap.read_untagged()?;
        Ok(imap)
    }

    pub fn login(port: u16, user: &str, password: &str) -> Result<Self> {
        let mut imap = Self::connect(port)?;
        imap.command(&format!("LOGIN \"{user}\" \"{password}\""))?;
        Ok(imap)
    }

    /// Sends a command and gives its untagged answers; anything but OK is an error.
    pub fn command(&mut self, command: &str) -> Result<Vec<Untagged>> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        write!(self.stream.get_mut(), "{tag}{command}\r\n")?;
        self.finish(&tag, command)
    }

    pub fn append(&mut self, folder: &str, mail: &[u8]) -> Result<()> {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        write!(self.stream.get_mut(), "{tag}APPEND \"{folder}\" {{{}}}\r\n", mail.len())?;
        let line = self.read_untagged()?.line;
        if !line.starts_with('+') {
            bail!("APPEND: {line}");
        }
        let stream = self.stream.get_mut();
        stream.write_all(mail)?;
        stream.write_all(b"\r\n")?;
        self.finish(&tag, "APPEND").map(drop)
    }

    /// The raw bytes of a mail of the selected folder, without marking it as read.
    pub fn fetch(&mut self, uid: u32) -> Result<Vec<u8>> {
        let answers = self.command(&format!("UID FETCH {uid} (BODY.PEEK[])"))?;
        let literal = answers.into_iter().flat_map(|answer| answer.literals).next();
        literal.with_context(|| format!("no mail with UID {uid}"))
    }

    /// The UIDs of the selected folder that a search finds.
    pub fn search(&mut self, criteria: &str) -> Result<Vec<u32>> {
        let answers = self.command(&format!("UID SEARCH {criteria}"))?;
        let line = answers.iter().find_map(|answer| answer.line.strip_prefix("* SEARCH")).unwrap_or("");
        line.split_whitespace().map(|uid| Ok(uid.parse()?)).collect()
    }

    fn finish(&mut self, tag: &str, command: &str) -> Result<Vec<Untagged>> {
        let mut answers = Vec::new();
        loop {
            let answer = self.read_untagged()?;
            match answer.line.strip_prefix(tag) {
                Some(status) if status.starts_with("OK") => return Ok(answers),
                Some(status) => bail!("{}: {status}", command.split(' ').next().unwrap_or(command)),
                // A server that wants more than was sent (XOAUTH2 tells why it refuses) gets an empty line.
                None if answer.line.starts_with('+') => self.stream.get_mut().write_all(b"\r\n")?,
                None => answers.push(answer),
            }
        }
    }

    fn read_untagged(&mut self) -> Result<Untagged> {
        let mut answer = Untagged { line: String::new(), literals: Vec::new() };
        loop {
            let mut part = String::new();
            if self.stream.read_line(&mut part)? == 0 {
                bail!("the server closed the connection after '{}'", answer.line);
            }
            let part = part.trim_end_matches(['\r', '\n']);
            answer.line.push_str(part);
            let Some(length) = literal_length(part) else { return Ok(answer) };
            if length > MAX_LITERAL_BYTES {
                bail!("a literal of {length} bytes");
            }
            let mut literal = vec![0; length];
            self.stream.read_exact(&mut literal)?;
            answer.literals.push(literal);
        }
    }
}

fn literal_length(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

/// Delivers one mail by LMTP; line ends become CRLF, leading dots are doubled.
pub fn lmtp_deliver(port: u16, sender: &str, recipient: &str, mail: &[u8]) -> Result<()> {
    let mut stream = connect(port)?;
    expect(&mut stream, "220")?;
    for (command, code) in [
        ("LHLO localhost".to_owned(), "250"),
        (format!("MAIL FROM:<{sender}>"), "250"),
        (format!("RCPT TO:<{recipient}>"), "250"),
        ("DATA".to_owned(), "354"),
    ] {
        write!(stream.get_mut(), "{command}\r\n")?;
        expect(&mut stream, code).with_context(|| command)?;
    }
    let mut data = Vec::with_capacity(mail.len() + 1024);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            data.push(b'.');
        }
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        data.extend_from_slice(bare.strip_suffix(b"\r").unwrap_or(bare));
        data.extend_from_slice(b"\r\n");
    }
    data.extend_from_slice(b".\r\n");
    stream.get_mut().write_all(&data)?;
    expect(&mut stream, "250").context("end of data")?;
    write!(stream.get_mut(), "QUIT\r\n")?;
    Ok(())
}

/// How many line ends lack their carriage return.
pub fn bare_newlines(mail: &[u8]) -> usize {
    let mut previous = 0;
    let mut count = 0;
    for byte in mail {
        count += usize::from(*byte == b'\n' && previous != b'\r');
        previous = *byte;
    }
    count
}

/// Maildir names begin with a second and are sorted by it: each call gives a later one, so that a folder that is filled
/// twice keeps the order of filling.
pub fn next_maildir_second() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_600_000_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn connect(port: u16) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("connect to port {port}"))?;
    stream.set_read_timeout(Some(READ_LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn expect(stream: &mut BufReader<TcpStream>, code: &str) -> Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if !line.starts_with(code) {
            bail!("expected {code}, got '{}'", line.trim_end());
        }
        // '250-' goes on, '250 ' is the last line.
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
