//! The command line.

mod audit;
mod backfill;
mod check;
mod cursors;
mod erase;
mod import;
mod init;
mod list;
mod output;
mod quickstart;
mod replay;
mod run;
mod schema;
mod simulate;
mod spool;
mod tail;
mod topics;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use connector_sdk::{Demo, Entry};
use tokio_util::sync::CancellationToken;

use crate::jobs::JobError;

/// Exit codes: 0 done, 1 failed, 2 wrong use or configuration.
pub const FAILED: u8 = 1;
pub const WRONG_USE: u8 = 2;

/// Omnichannel message ingestion gateway: every channel, one schema, into Kafka.
#[derive(Parser)]
#[command(name = "inlet", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway
    Run {
        /// Configuration file
        #[arg(short, long, value_name = "FILE", env = "INLET_CONFIG")]
        config: PathBuf,
    },
    /// Try it: everything in one process, with an embedded broker whose data ends with it
    Quickstart(quickstart::Options),
    /// Write a commented configuration for the channels that you pick
    Init(init::Options),
    /// Check a configuration; every error names file, line and field
    Check(check::Options),
    /// List the connectors, or explain one
    Connectors(list::Options),
    /// Send a fixture, freshly signed, to a running gateway
    Simulate(simulate::Options),
    /// Print the JSON Schema of the event or of the configuration
    Schema(schema::Options),
    /// Show events as they arrive on Kafka
    Tail(tail::Options),
    /// Positions of sources that are read exactly once: list, show, set, reset, move
    Cursors {
        #[command(subcommand)]
        command: cursors::Command,
    },
    /// Bring old messages along from files: the same ids as live intake gives, exactly once, resumable
    Import(import::Options),
    /// Fetch what a source has kept from before
    Backfill(backfill::Options),
    /// Compare what sources have with what was published, and name what is missing
    Audit(audit::Options),
    /// The spool: what waits for Kafka on a disk
    Spool {
        #[command(subcommand)]
        command: spool::Command,
    },
    /// Parse dead letters or kept raw inputs again, to the same ids
    Replay(replay::Options),
    /// Take away what is kept of an event or a sender, and tell consumers to do the same
    Erase(erase::Options),
    /// Inlet's topics
    Topics {
        #[command(subcommand)]
        command: topics::Command,
    },
}

/// Runs the command line over a list of connectors; `demo` is what `quickstart` shows.
pub fn main(entries: &'static [Entry], demo: &Demo) -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run { config } => run::run(&config, entries),
        Command::Quickstart(options) => quickstart::run(&options, entries, demo),
        Command::Init(options) => init::run(&options, entries),
        Command::Check(options) => check::run(&options, entries),
        Command::Connectors(options) => list::run(&options, entries),
        Command::Simulate(options) => simulate::run(&options, entries),
        Command::Schema(options) => schema::run(&options, entries),
        Command::Tail(options) => tail::run(&options, entries),
        Command::Cursors { command } => cursors::run(&command, entries),
        Command::Import(options) => import::run(&options, entries),
        Command::Backfill(options) => backfill::run(&options, entries),
        Command::Audit(options) => audit::run(&options, entries),
        Command::Spool { command } => spool::run(&command, entries),
        Command::Replay(options) => replay::run(&options, entries),
        Command::Erase(options) => erase::run(&options, entries),
        Command::Topics { command } => topics::run(&command, entries),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.message.trim_end());
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command did not do what was asked.
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// Something outside did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// The user has to change the call or the configuration.
    pub fn wrong_use(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: WRONG_USE }
    }
}

impl From<crate::config::ConfigErrors> for Failure {
    fn from(errors: crate::config::ConfigErrors) -> Self {
        Self::wrong_use(errors.to_string())
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        match error {
            JobError::WrongUse(text) => Self::wrong_use(text),
            error => Self::failed(error.to_string()),
        }
    }
}

/// A runtime for a command that waits.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("no runtime: {error}")))?;
    runtime.block_on(future)
}

/// Finds a connector by name, or says which one was meant.
fn find(entries: &'static [Entry], name: &str) -> Result<&'static Entry, Failure> {
    entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known = entries.iter().map(|entry| entry.name);
        Failure::wrong_use(match crate::config::suggest::nearest(name, known) {
            Some(near) => format!("no connector '{name}'; did you mean '{near}'?"),
            None => format!("no connector '{name}'; `inlet connectors` lists them"),
        })
    })
}

/// Cancelled by Ctrl-C or SIGTERM; on the current runtime.
fn stop_token() -> CancellationToken {
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        stop_signal().await;
        stop.cancel();
    });
    token
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
