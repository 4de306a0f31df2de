//! The one thread that hands records to librdkafka, group by group: so they enter its queue in the callers' order.

use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rdkafka::message::OwnedHeaders;

use super::batch::Batch;
use super::end::End;
use super::gather::Gather;
use crate::delivery::settings::SettingsError;
use crate::pipeline::record::{Record, TopicRole};

/// A record on its way out, apart from its caller.
pub(super) struct Outgoing {
    pub batch: Arc<Batch>,
    /// Within its call.
    pub index: usize,
    pub topic: TopicRole,
    pub key: String,
    pub value: Bytes,
    pub headers: OwnedHeaders,
}

impl Outgoing {
    pub fn new(batch: &Arc<Batch>, index: usize, record: &Record) -> Self {
        let Record { topic, key, value, .. } = record;
        let headers = super::headers(record);
        Self { batch: batch.clone(), index, topic: *topic, key: key.clone(), value: value.clone(), headers }
    }
}

/// Runs until the gathering has ended and all of it is handed over.
pub(super) fn start(end: Arc<End>, gather: Arc<Gather<Outgoing>>) -> Result<JoinHandle<()>, SettingsError> {
    let run = move || {
        while let Some(group) = gather.next() {
            hand_over(&end, &gather, group);
        }
    };
    let thread = std::thread::Builder::new().name("push-sender".to_owned());
    thread.spawn(run).map_err(|error| SettingsError::Client(format!("no thread for the push lane: {error}")))
}

fn hand_over(end: &End, gather: &Gather<Outgoing>, group: Vec<Outgoing>) {
    let producer = end.current();
    let mut failed = None;
    for outgoing in group {
        let batch = outgoing.batch.clone();
        // The rest of a call is not sent: its order would be lost. What went before is waited for.
        let is_rest = failed.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &batch));
        let failure = match (is_rest, &failed) {
            (true, Some((_, failure))) => Some(Clone::clone(failure)),
            _ => end.send(&producer, outgoing).err(),
        };
        if let Some(failure) = failure {
            gather.arrived();
            batch.settle(1, Some(failure.clone()));
            failed = Some((batch, failure));
        }
    }
}
