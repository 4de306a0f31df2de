//! A TCP proxy that can be told to misbehave: to cut, to stall, to be slow. A partition between two parties is that of
//! the proxies between them.

use crate::runtime::{block_on, spawn};
use anyhow::{Context, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 64 << 10;

/// What the proxy does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Hands them on.
    Fair,
    /// Each chunk waits so long: latency, and less throughput.
    Slow(Duration),
    /// Connections stay open, nothing passes.
    Stalled,
    /// Connections are closed, new ones at once.
    Cut,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// To a port of this machine, where nobody needs to listen yet.
    pub fn start(target: u16) -> Result<Self> {
        let listener = block_on(TcpListener::bind("127.0.0.1:0")).context("listen")?;
        let port = listener.local_addr()?.port();
        let (weather, forecast) = watch::channel(Weather::Fair);
        let task = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(connection(stream, target, forecast.clone()));
            }
        });
        Ok(Self { port, weather, task })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, also for connections that are open.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.set(Weather::Cut);
    }
}

async fn connection(client: TcpStream, target: u16, weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    // Small requests and answers go to and fro: none waits for another.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut until = weather.clone();
    tokio::select! {
        () = pump(client_reads, server_writes, weather.clone()) => {}
        () = pump(server_reads, client_writes, weather) => {}
        // A sender that is gone has cut everything before.
        _ = until.wait_for(|weather| *weather == Weather::Cut) => {}
    }
}

/// Hands bytes on in one direction until either side ends.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let Ok(now) = weather.wait_for(|weather| *weather != Weather::Stalled).await.map(|now| *now) else { return };
        if let Weather::Slow(delay) = now {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_secs(10);
    const NOTHING_COMES: Duration = Duration::from_millis(200);

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let (mut reader, mut writer) = (stream.try_clone().expect("clones"), stream);
                    let _ = std::io::copy(&mut reader, &mut writer);
                });
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> std::net::TcpStream {
        let stream = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).expect("connects");
        stream.set_read_timeout(Some(LIMIT)).expect("can be set");
        stream
    }

    fn ask(stream: &mut std::net::TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"ping")?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn it_hands_on_slows_stalls_and_cuts() {
        let proxy = Proxy::start(echo()).expect("starts");
        let mut stream = connect(&proxy);
        assert_eq!(&ask(&mut stream).expect("fair"), b"ping");

        let delay = Duration::from_millis(50);
        proxy.set(Weather::Slow(delay));
        let begun = Instant::now();
        assert_eq!(&ask(&mut stream).expect("slow"), b"ping");
        assert!(begun.elapsed() >= delay * 2, "there and back");

        proxy.set(Weather::Stalled);
        stream.set_read_timeout(Some(NOTHING_COMES)).expect("can be set");
        assert!(ask(&mut stream).is_err(), "nothing passes");
        proxy.set(Weather::Fair);
        stream.set_read_timeout(Some(LIMIT)).expect("can be set");
        let mut held = [0; 4];
        stream.read_exact(&mut held).expect("what was held comes");

        proxy.set(Weather::Cut);
        assert_eq!(stream.read(&mut held).unwrap_or(0), 0, "closed");
        assert!(ask(&mut connect(&proxy)).is_err(), "new ones are closed too");
        proxy.set(Weather::Fair);
        assert_eq!(&ask(&mut connect(&proxy)).expect("fair again"), b"ping");
    }
}
