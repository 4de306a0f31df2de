//! Threads that each serve their own connections, with a runtime of their own.
//!
//! On a runtime that all processors share, an input is often begun by one and ended by another: its memory moves from
//! cache to cache twice, and is given back to an allocator that it did not come from. Here a connection stays where it
//! was accepted. What the threads share is what the inputs share.

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where connections are served. Dropping it ends its threads, once their connections have been ended.
pub struct Threads {
    runtimes: Vec<Handle>,
    next: usize,
    _ending: Option<DropGuard>,
}

impl Threads {
    /// The current runtime, for listeners with little to do.
    pub fn here() -> Self {
        Self { runtimes: vec![Handle::current()], next: 0, _ending: None }
    }

    /// One thread for each processor.
    pub fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let ended = CancellationToken::new();
        let runtimes = (0..count).map(|_| started(ended.clone())).collect::<io::Result<_>>()?;
        Ok(Self { runtimes, next: 0, _ending: Some(ended.drop_guard()) })
    }

    /// The next one: a sender's connections carry about the same.
    pub fn in_turn(&mut self) -> &Handle {
        self.next = (self.next + 1) % self.runtimes.len();
        &self.runtimes[self.next]
    }
}

fn started(ended: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().thread_name("ingress-blocking").build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("ingress".to_owned()).spawn(move || {
        runtime.block_on(ended.cancelled());
        // What still blocks (a blob on its way to a slow disk) ends with the process.
        runtime.shutdown_background();
    })?;
    Ok(handle)
}
