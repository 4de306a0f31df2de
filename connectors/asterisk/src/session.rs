//! The session: log in, list what runs, hand on facts as they come and a summary as a call ends.

use std::sync::Arc;

use connector_sdk::{
    Bytes, IntakeError, Io, Probe, ProbeReport, RawEvent, Session, SessionCx, StreamId, Wire, async_trait,
};
use tokio::time::{Instant, sleep_until};

use crate::Options;
use crate::catalog::{self, Treatment};
use crate::login::Link;
use crate::tracker::{Finished, Noted, Tracker};
use crate::wire::{self, Frame};

/// The one stream: everything that the PBX tells.
const STREAM: &str = "events";

/// The instance's session. What it knows of running calls outlives a connection.
pub struct AmiSession {
    options: Arc<Options>,
    tracker: Tracker,
    stream: StreamId,
}

impl AmiSession {
    pub fn new(options: Arc<Options>) -> Self {
        let tracker = Tracker::new(options.numbers.clone(), options.timing.settle, options.timing.max_call);
        Self { options, tracker, stream: StreamId::new(STREAM) }
    }

    /// Logged in: hand on what comes until the connection or the session ends.
    async fn follow(&mut self, cx: &SessionCx, link: &mut Link) -> Result<(), IntakeError> {
        self.tracker.connected();
        cx.connected().await;
        let listing = self.ask_for_state(cx, link).await?;
        let timing = self.options.timing;
        let (mut heard, mut quiet_until, mut pinged) = (link.heard(), Instant::now() + timing.ping, false);
        loop {
            let due = self.tracker.next_due().map(|at| Instant::now() + at.since(cx.now()));
            tokio::select! {
                biased;
                () = cx.stopping().cancelled() => return self.leave(cx, link).await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.summaries(cx).await,
                frame = link.next() => match frame {
                    Some(bytes) => self.frame(cx, bytes, &listing).await,
                    None => return Err(link.fault("the connection to the PBX ended").await),
                },
                () = sleep_until(quiet_until) => {
                    let alive = link.heard() != heard;
                    if pinged && !alive {
                        let seconds = timing.pong.as_secs();
                        return Err(IntakeError::retry(format!("the PBX did not answer a ping within {seconds} s")));
                    }
                    pinged = !alive;
                    heard = link.heard();
                    if pinged {
                        link.send("Ping", &[]).await?;
                    }
                    quiet_until = Instant::now() + if pinged { timing.pong } else { timing.ping };
                }
            }
        }
    }

    /// Filters of the session, and the list of running channels; returns the list's ActionID.
    async fn ask_for_state(&mut self, cx: &SessionCx, link: &mut Link) -> Result<String, IntakeError> {
        for filter in &self.options.filters {
            let fields = [("Operation", "Add".to_owned()), ("Filter", filter.clone())];
            let answer = link.ask("Filter", &fields, self.options.timing.login).await?;
            if answer.get("Response") != Some("Success") {
                let message = answer.get("Message").unwrap_or("no reason given");
                let reason = format!("filter '{filter}' was refused ({message}); use eventfilter in manager.conf");
                cx.health(None, &reason).await;
            }
        }
        link.send("CoreShowChannels", &[]).await
    }

    async fn frame(&mut self, cx: &SessionCx, bytes: Bytes, listing: &str) {
        let frame = Frame::read(&bytes);
        let Some(event) = frame.event() else {
            if frame.get("ActionID") == Some(listing) && frame.get("Response") == Some("Error") {
                cx.health(
                    None,
                    "running calls cannot be listed: a call that ends while the connection is away is only given up \
                     after max_call_hours; give the user `write = reporting` in manager.conf",
                )
                .await;
            }
            return;
        };
        let now = cx.now();
        if event == "CoreShowChannelsComplete" {
            self.tracker.listed(now);
            return;
        }
        let noted = self.tracker.take(&frame, &bytes, now);
        if matches!(catalog::treatment(event), Some(Treatment::Fact) | None) {
            let raw = fact(bytes, &noted, now);
            drop(cx.submit(&self.stream, raw, None).await);
        }
    }

    async fn summaries(&mut self, cx: &SessionCx) {
        for finished in self.tracker.due(cx.now()) {
            self.summary(cx, finished).await;
        }
    }

    async fn summary(&self, cx: &SessionCx, finished: Finished) {
        let mut raw = RawEvent::new(Wire::Frames, finished.body, cx.now());
        raw.headers.push(wire::ITEM, wire::CALL);
        raw.headers.push(wire::CALL_ID, finished.call);
        if finished.lost {
            raw.headers.push(wire::END, wire::LOST);
        }
        if finished.dropped > 0 {
            raw.headers.push(wire::DROPPED, finished.dropped.to_string());
        }
        drop(cx.submit(&self.stream, raw, None).await);
    }

    /// Stopping: what was read is handed on, and calls that have ended are told without waiting for more.
    async fn leave(&mut self, cx: &SessionCx, link: &mut Link) -> Result<(), IntakeError> {
        // Politeness only: the connection is closed either way.
        let _ = link.send("Logoff", &[]).await;
        link.close();
        while let Some(bytes) = link.next().await {
            self.frame(cx, bytes, "").await;
        }
        for finished in self.tracker.ended() {
            self.summary(cx, finished).await;
        }
        Ok(())
    }
}

#[async_trait]
impl Session for AmiSession {
    async fn run(&mut self, cx: SessionCx) -> Result<(), IntakeError> {
        // Calls that ended shortly before the last connection did.
        self.summaries(&cx).await;
        let mut link = tokio::select! {
            biased;
            () = cx.stopping().cancelled() => return Ok(()),
            link = Link::open(&self.options) => link?,
        };
        self.follow(&cx, &mut link).await
    }
}

fn fact(bytes: Bytes, noted: &Noted, now: connector_sdk::Timestamp) -> RawEvent {
    let mut raw = RawEvent::new(Wire::Frames, bytes, now);
    if let Some(sequence) = noted.sequence {
        raw.headers.push(wire::SEQUENCE, sequence.to_string());
    }
    if let Some(call) = &noted.call {
        raw.headers.push(wire::CALL_ID, call.clone());
    }
    if let Some(direction) = &noted.direction {
        raw.headers.push(wire::DIRECTION, direction.as_str().to_owned());
    }
    raw
}

/// `inlet check --connect`: logs in and counts what runs.
pub struct LoginProbe {
    options: Arc<Options>,
}

impl LoginProbe {
    pub fn new(options: Arc<Options>) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Probe for LoginProbe {
    async fn probe(&self, _: &Io) -> Result<ProbeReport, IntakeError> {
        let mut link = Link::open(&self.options).await?;
        let mut lines = vec![format!("{}: logged in as {}", link.banner, self.options.username)];
        let limit = self.options.timing.login;
        let answer = link.ask("CoreShowChannels", &[], limit).await?;
        if answer.get("Response") == Some("Success") {
            let mut channels = 0;
            let count = async {
                while let Some(bytes) = link.next().await {
                    match Frame::read(&bytes).event() {
                        Some("CoreShowChannel") => channels += 1,
                        Some("CoreShowChannelsComplete") => break,
                        _ => {}
                    }
                }
            };
            tokio::time::timeout(limit, count)
                .await
                .map_err(|_| IntakeError::retry("the PBX did not finish the list of channels in time"))?;
            lines.push(format!("{channels} channels are running"));
        } else {
            lines.push("running calls cannot be listed: give the user `write = reporting` in manager.conf".to_owned());
        }
        // Politeness only.
        let _ = link.send("Logoff", &[]).await;
        Ok(ProbeReport { lines })
    }
}

#[cfg(test)]
mod tests;
