//! Whether Kafka can be reached, as one client sees it: for metrics and `/api/status`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_sdk::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use super::settings::KafkaSettings;
use crate::clock::now;

/// For events that librdkafka has ready.
const EVENTS_WAIT: Duration = Duration::from_millis(50);

/// Why nobody answers: how the last connection to a broker ended, in librdkafka's words ("authentication failed",
/// "connection refused"). Calls that fail say only that they did. Blocks for at most `limit` and a moment.
pub fn why_away(settings: &KafkaSettings, limit: Duration) -> Option<String> {
    let client: BaseConsumer<Remembering> = settings.admin().ok()?.create_with_context(Remembering::default()).ok()?;
    client.fetch_metadata(None, limit).err()?;
    // What it has to tell waits to be fetched.
    while client.poll(EVENTS_WAIT).is_some() {}
    lock(&client.context().0).take()
}

/// Keeps the last error of a connection.
#[derive(Default)]
struct Remembering(Mutex<Option<String>>);

impl ClientContext for Remembering {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Quiet.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)) {
            *lock(&self.0) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Remembering {}

/// What is known about the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    Up { since: Timestamp },
    Down { since: Timestamp, reason: String },
}

impl LinkState {
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }
}

/// A connection's state, cheap to confirm on the hot path.
pub(super) struct Link {
    up: AtomicBool,
    /// It was said that Kafka is away; before anything was said it may be there.
    known_down: AtomicBool,
    /// Somebody waited in vain, and nothing was confirmed since.
    stalled: AtomicBool,
    went_down: Notify,
    state: Mutex<LinkState>,
    last_error: Mutex<Option<String>>,
}

impl Link {
    pub fn new() -> Self {
        let state = LinkState::Down { since: now(), reason: "not connected yet".to_owned() };
        Self {
            up: AtomicBool::new(false),
            known_down: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            went_down: Notify::new(),
            state: Mutex::new(state),
            last_error: Mutex::new(None),
        }
    }

    pub fn state(&self) -> LinkState {
        lock(&self.state).clone()
    }

    /// Something was confirmed.
    pub fn confirm(&self) {
        if self.stalled.load(Ordering::Relaxed) {
            self.stalled.store(false, Ordering::Relaxed);
        }
        self.see_up();
    }

    fn see_up(&self) {
        if !self.up.load(Ordering::Relaxed) {
            self.set_up();
        }
    }

    /// Whether a record that is sent now has a fair chance to be confirmed soon.
    pub fn is_usable(&self) -> bool {
        !self.known_down.load(Ordering::Relaxed) && !self.stalled.load(Ordering::Relaxed)
    }

    /// Somebody waited in vain.
    pub fn stalled(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    /// Tells all who wait when it is said that Kafka is away.
    pub fn went_down(&self) -> &Notify {
        &self.went_down
    }

    fn set_up(&self) {
        let mut state = lock(&self.state);
        self.up.store(true, Ordering::Relaxed);
        self.known_down.store(false, Ordering::Relaxed);
        *lock(&self.last_error) = None;
        if !state.is_up() {
            tracing::info!("Kafka is reachable");
            *state = LinkState::Up { since: now() };
        }
    }

    pub fn set_down(&self, reason: String) {
        let mut state = lock(&self.state);
        self.up.store(false, Ordering::Relaxed);
        if !self.known_down.swap(true, Ordering::Relaxed) {
            self.went_down.notify_waiters();
        }
        match &mut *state {
            LinkState::Down { reason: known, .. } => *known = reason,
            LinkState::Up { .. } => {
                tracing::warn!(%reason, "Kafka is not reachable");
                *state = LinkState::Down { since: now(), reason };
            }
        }
    }

    /// An error of one connection: a reason, should all of them be down.
    pub fn note(&self, error: &KafkaError, text: &str) {
        if matches!(error, KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)) {
            let reason = lock(&self.last_error).clone().unwrap_or_else(|| text.to_owned());
            self.set_down(reason);
        } else {
            *lock(&self.last_error) = Some(text.to_owned());
        }
    }

    /// From librdkafka's statistics: no broker is connected, and an error says why.
    pub fn observe(&self, any_up: bool) {
        if any_up {
            self.see_up();
        } else if let Some(reason) = lock(&self.last_error).clone() {
            self.set_down(reason);
        }
    }
}

/// The context of clients that have nothing to report beyond their own calls. Their log lines are for debugging: an
/// outage would repeat them by the thousand.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl ConsumerContext for Quiet {}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert => {
            tracing::error!(target: "librdkafka", facility, text);
        }
        _ => tracing::debug!(target: "librdkafka", facility, text),
    }
}

/// A panic while one of these was held left nothing half done: they hold plain values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_needs_a_reason_and_up_forgets_it() {
        let link = Link::new();
        assert!(!link.state().is_up());
        link.observe(true);
        assert!(link.state().is_up());
        link.observe(false);
        assert!(link.state().is_up(), "an idle connection that was closed is no outage");
        link.note(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "connection refused");
        assert!(link.state().is_up(), "one broker is not all of them");
        link.note(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let LinkState::Down { reason, .. } = link.state() else { panic!("is down") };
        assert_eq!(reason, "connection refused");
        link.confirm();
        assert!(link.state().is_up());
        link.observe(false);
        assert!(link.state().is_up(), "the old reason is forgotten");
    }
}
