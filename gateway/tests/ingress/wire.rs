//! HTTP/1.1 by hand, to say what no client library would.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{SECRET, SOON};

pub struct Wire(TcpStream);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

impl Wire {
    pub async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("connects"))
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.expect("is read");
    }

    /// Writes on though the other side may have hung up.
    pub async fn say_in_vain(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// A head with the secret and these lines.
    pub async fn head(&mut self, start: &str, lines: &[&str]) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.say(format!("{start} HTTP/1.1\r\nhost: h.example\r\nx-signature: {SECRET}\r\n{lines}\r\n")).await;
    }

    /// The next answer, with a body of its content-length.
    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(SOON, self.read_answer(true)).await.expect("answers").expect("an answer")
    }

    /// The answer to HEAD: its content-length is of a body that does not come.
    pub async fn answer_without_body(&mut self) -> Answer {
        tokio::time::timeout(SOON, self.read_answer(false)).await.expect("answers").expect("an answer")
    }

    async fn read_answer(&mut self, with_body: bool) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).expect("text");
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        if with_body {
            let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).await.ok()?;
        }
        Some(answer)
    }

    /// Whether the other side hangs up before long.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(SOON, self.0.read_to_end(&mut rest)).await.is_ok()
    }

    /// Whether anything comes within this time.
    pub async fn is_silent(&mut self, time: std::time::Duration) -> bool {
        let mut one = [0];
        tokio::time::timeout(time, self.0.peek(&mut one)).await.is_err()
    }
}

/// One POST over a connection of its own.
pub async fn post(address: SocketAddr, body: &str, lines: &[&str]) -> Answer {
    post_to(address, "door", body, lines).await
}

/// The same to one of the instances.
pub async fn post_to(address: SocketAddr, instance: &str, body: &str, lines: &[&str]) -> Answer {
    let mut wire = Wire::to(address).await;
    let length = format!("content-length: {}", body.len());
    let lines: Vec<&str> = lines.iter().copied().chain([length.as_str()]).collect();
    wire.head(&format!("POST /in/{instance}"), &lines).await;
    wire.say(body).await;
    wire.answer().await
}
