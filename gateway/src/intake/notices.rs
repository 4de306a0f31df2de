//! Inlet's own events (`connector.health`, `connector.gap`): published in the order in which they came to be, by one
//! task that waits for Kafka.

use std::sync::Arc;
use std::time::Duration;

use connector_sdk::schemas::{Channel, Conversation, Direction, Event, KeyBasis, Kind, Notice, Timestamp};
use connector_sdk::stamp::{StampContext, stamp};
use connector_sdk::{Draft, EventKey};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::push::PushLine;
use crate::delivery::PublishError;
use crate::pipeline::encode;
use crate::pipeline::instance::Instance;

/// Events that wait for Kafka. One that finds no room is in the log only.
const WAITING_MAX: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Notices(mpsc::Sender<Waiting>);

struct Waiting {
    instance: Arc<Instance>,
    kind: Kind,
    notice: Notice,
    at: Timestamp,
}

impl Notices {
    /// On the current runtime.
    pub fn start(push: PushLine) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(next) = waiting.recv().await {
                publish(&push, next).await;
            }
        });
        Self(queue)
    }

    /// Never waits.
    pub fn put(&self, instance: Arc<Instance>, kind: Kind, notice: Notice, at: Timestamp) {
        if let Err(full) = self.0.try_send(Waiting { instance, kind, notice, at }) {
            let Waiting { instance, notice, .. } = full.into_inner();
            tracing::error!(instance = %instance.name, state = notice.state, "too many events wait for Kafka; this one is not published");
        }
    }
}

async fn publish(push: &PushLine, Waiting { instance, kind, notice, at }: Waiting) {
    let event = event(&instance, kind, notice, at);
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, &instance.name);
    loop {
        let told = match encode::event(event.clone(), &push.line).await {
            Ok(record) => push.publisher.publish(vec![record]).await,
            Err(fault) => Err(PublishError::Unavailable(fault.to_string())),
        };
        match told {
            Ok(()) => return,
            Err(PublishError::Unavailable(_)) => tokio::time::sleep(backoff.next(None)).await,
            Err(error) => {
                tracing::error!(instance = %instance.name, %error, "an event about the instance is not published");
                return;
            }
        }
    }
}

fn event(instance: &Instance, kind: Kind, notice: Notice, at: Timestamp) -> Box<Event> {
    let mut event = Event::new(kind, Channel::System, instance.connector, instance.name.clone(), at);
    event.direction = Direction::Internal;
    event.conversation = Conversation::new(KeyBasis::Account, "health");
    event.text = Some(notice.reason.clone());
    let key = EventKey::revised(notice.state.clone(), at.to_string());
    event.notice = Some(notice);
    let cx =
        StampContext { tenant: &instance.config.tenant, connector: &instance.name, received_at: at, raw_sha256: "" };
    let mut event = stamp(Draft::new(key, event), &cx);
    event.provenance.raw_sha256 = None;
    event
}
