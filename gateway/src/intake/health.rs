//! What state each instance is in, for operators: `/api/status`, a metric, and a `connector.health` event on change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connector_sdk::schemas::{Channel, Conversation, Direction, Event, KeyBasis, Kind, Notice, Timestamp};
use connector_sdk::{Draft, EventKey};
use serde::Serialize;

use super::push::PushLine;
use crate::pipeline::encode;
use crate::pipeline::instance::Instance;

/// Attempts to publish a health or gap event before it is only logged.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(30);

/// State of an instance's intake on this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Takes input.
    Running,
    /// Runs, but something is wrong that may pass.
    Degraded,
    /// Cannot run until somebody acts; tried again slowly.
    Stopped,
    /// Owned by another replica, or this one waits for ownership.
    Standby,
}

/// One line of `/api/status`.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceStatus {
    pub connector: String,
    pub state: State,
    pub reason: String,
    pub action: String,
    pub since: Timestamp,
}

/// All instances' states.
#[derive(Clone)]
pub struct Health {
    states: Arc<Mutex<BTreeMap<String, InstanceStatus>>>,
    push: PushLine,
}

impl Health {
    pub fn new(push: PushLine) -> Self {
        Self { states: Arc::default(), push }
    }

    pub fn all(&self) -> BTreeMap<String, InstanceStatus> {
        self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Notes a state; publishes a health event when it got worse or well again.
    pub fn set(&self, instance: &Arc<Instance>, state: State, reason: &str, action: &str) {
        let now = crate::clock::now();
        let previous = {
            let mut states = self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let status = InstanceStatus {
                connector: instance.connector.to_owned(),
                state,
                reason: reason.to_owned(),
                action: action.to_owned(),
                since: now,
            };
            match states.get_mut(&instance.name) {
                Some(have) if have.state == state && have.reason == reason => return,
                _ => states.insert(instance.name.clone(), status).map(|status| status.state),
            }
        };
        instance.counters.running(state == State::Running);
        let was_bad = matches!(previous, Some(State::Degraded | State::Stopped));
        match state {
            State::Stopped => tracing::error!(instance = %instance.name, reason, action, "stopped"),
            State::Degraded => tracing::warn!(instance = %instance.name, reason, action, "degraded"),
            State::Running if was_bad => tracing::info!(instance = %instance.name, "running again"),
            _ => {}
        }
        if state == State::Stopped || (state == State::Running && was_bad) {
            let name = if state == State::Stopped { "stopped" } else { "running" };
            let notice = Notice {
                state: name.into(),
                reason: reason.into(),
                action: (!action.is_empty()).then(|| action.to_owned()),
                from: None,
                to: None,
            };
            self.publish(instance, Kind::ConnectorHealth, notice, now);
        }
    }

    /// Reports that an ephemeral source was not watched for a while.
    pub fn gap(&self, instance: &Arc<Instance>, from: Timestamp, to: Timestamp, reason: &str) {
        tracing::warn!(instance = %instance.name, %from, %to, reason, "gap: input of this time may be missing");
        let notice = Notice {
            state: "gap".into(),
            reason: reason.into(),
            action: Some("look the time up at the provider; it does not send again".into()),
            from: Some(from),
            to: Some(to),
        };
        self.publish(instance, Kind::ConnectorGap, notice, to);
    }

    fn publish(&self, instance: &Arc<Instance>, kind: Kind, notice: Notice, now: Timestamp) {
        let (push, instance) = (self.push.clone(), instance.clone());
        tokio::spawn(async move {
            let mut event = Event::new(kind, Channel::System, instance.connector, instance.name.clone(), now);
            event.direction = Direction::Internal;
            event.conversation = Conversation::new(KeyBasis::Account, "health");
            event.text = Some(notice.reason.clone());
            let key = EventKey::revised(notice.state.clone(), now.to_string());
            event.notice = Some(notice);
            let cx = connector_sdk::stamp::StampContext {
                tenant: &instance.config.tenant,
                connector: &instance.name,
                received_at: now,
                raw_sha256: "",
            };
            let mut event = connector_sdk::stamp::stamp(Draft::new(key, event), &cx);
            event.provenance.raw_sha256 = None;
            let publish = async {
                let record = encode::event(event, &push.line).await.map_err(|fault| fault.to_string())?;
                push.publisher.publish(vec![record]).await.map_err(|error| error.to_string())
            };
            let told =
                tokio::time::timeout(PUBLISH_DEADLINE, publish).await.unwrap_or_else(|_| Err("Kafka is away".into()));
            if let Err(reason) = told {
                tracing::error!(instance = %instance.name, %reason, "health event not published");
            }
        });
    }
}
