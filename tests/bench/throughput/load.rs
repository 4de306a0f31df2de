//! The load: a closed loop over so many keep-alive connections, one thread, each request a fresh signed event.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Size of a request's body, as the first figures were taken.
const BODY_BYTES: usize = 1061;
/// Clock ticks a second in /proc (USER_HZ is 100 on every Linux that runs this).
const TICKS_PER_SECOND: f64 = 100.0;

/// Unique over all runs of the process: a repeated event would be recognised as such.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub struct Load {
    pub address: String,
    pub secret: &'static str,
    pub connections: usize,
}

/// What one run gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub requests: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of the server's process.
    pub cpu_seconds: f64,
    /// Of Kafka's.
    pub broker_cpu_seconds: f64,
}

impl Figures {
    pub fn rps(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    pub fn cpu_ms_per_1000(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests as f64
    }

    pub fn broker_cpu_ms_per_1000(&self) -> f64 {
        self.broker_cpu_seconds * 1e6 / self.requests as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} req/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} ms CPU per 1,000 and {:.1} in the broker",
            self.rps(),
            self.p50_ms,
            self.p99_ms,
            self.cpu_ms_per_1000(),
            self.broker_cpu_ms_per_1000()
        )
    }
}

impl Load {
    /// Runs for a while; an answer other than 200 ends it with an error.
    pub fn run(&self, length: Duration) -> Result<Figures> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.drive(length))
    }

    async fn drive(&self, length: Duration) -> Result<Figures> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut streams = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let stream = TcpStream::connect(&self.address).await.with_context(|| self.address.clone())?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        // Only when all are there: what the first send while the others connect would be counted, its time would not.
        let begun = Instant::now();
        let tasks: Vec<_> =
            streams.into_iter().map(|stream| tokio::spawn(one(stream, self.secret, stop.clone()))).collect();
        tokio::time::sleep(length).await;
        stop.store(true, Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs_f64();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await??);
        }
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        if latencies.is_empty() {
            bail!("no request was answered");
        }
        let requests = latencies.len() as u64;
        Ok(Figures { requests, seconds, p50_ms: at(0.5), p99_ms: at(0.99), ..Figures::default() })
    }
}

/// One connection; latencies in microseconds.
async fn one(mut stream: TcpStream, secret: &'static str, stop: Arc<AtomicBool>) -> Result<Vec<u32>> {
    let (mut latencies, mut answer) = (Vec::new(), vec![0u8; 4096]);
    while !stop.load(Ordering::Relaxed) {
        let request = request(secret)?;
        let begun = Instant::now();
        stream.write_all(&request).await?;
        let mut have = 0;
        loop {
            let read = stream.read(&mut answer[have..]).await?;
            if read == 0 {
                bail!("the connection was closed");
            }
            have += read;
            if complete(&answer[..have])? {
                break;
            }
        }
        latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(latencies)
}

/// Whether the answer is there as a whole; both servers answer with Content-Length.
fn complete(bytes: &[u8]) -> Result<bool> {
    let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(false) };
    let text = std::str::from_utf8(&bytes[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        bail!("answer: {}", text.lines().next().unwrap_or(""));
    }
    let length = text
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().to_owned()))
        .map_or(Ok(0), |value| value.parse::<usize>())?;
    Ok(bytes.len() >= head + 4 + length)
}

fn request(secret: &str) -> Result<Vec<u8>> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (seconds, micros) = (now.as_secs(), now.subsec_micros());
    let mut body = format!(
        r#"{{"token":"x","team_id":"T0BENCH","context_team_id":"T0BENCH","context_enterprise_id":null,"api_app_id":"A0BENCH","type":"event_callback","event_id":"Ev{number:012}","event_time":{seconds},"is_ext_shared_channel":false,"event_context":"4-bench","authorizations":[{{"enterprise_id":null,"team_id":"T0BENCH","user_id":"U0BOT","is_bot":true,"is_enterprise_install":false}}],"event":{{"type":"message","channel":"C{channel:04}","channel_type":"channel","user":"U{channel:04}","team":"T0BENCH","ts":"{seconds}.{micros:06}","client_msg_id":"5c2a0202-0000-4000-8000-{number:012}","event_ts":"{seconds}.{micros:06}","blocks":[{{"type":"rich_text","block_id":"b","elements":[{{"type":"rich_text_section","elements":[{{"type":"text","text":"My order has not come"}}]}}]}}],"text":"My order has not come yet, and nobody answers the telephone. "#,
        channel = number % 500,
    );
    const TAIL: &str = "\"}}";
    while body.len() + TAIL.len() < BODY_BYTES {
        body.push_str("Please help. ");
    }
    body.truncate(BODY_BYTES - TAIL.len());
    body.push_str(TAIL);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(format!("v0:{seconds}:").as_bytes());
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    Ok(format!(
        "POST /in/slack HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\nx-slack-request-timestamp: {seconds}\r\nx-slack-signature: v0={signature}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes())
}

/// CPU time that a process has used, user and system.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the measured process is gone")?;
    // The command's name may hold spaces: fields are counted behind its closing parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).context("/proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}
