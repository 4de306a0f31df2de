//! Reads whole topics on a thread of their own, with progress.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::mpsc;

use super::Kept;
use crate::delivery::consumer::{ConsumeError, Isolation, Scan};
use crate::delivery::settings::KafkaSettings;
use crate::pipeline::record::TopicRole;

const POLL: Duration = Duration::from_millis(100);
/// Kafka that gives nothing for so long is away.
const STALLED: Duration = Duration::from_secs(60);
/// Inputs that wait to be worked on; each may be half a megabyte.
const WAITING_MAX: usize = 32;

/// Every committed record from `since` on to the end that the topic has now.
pub fn each(
    settings: &KafkaSettings,
    role: TopicRole,
    since_millis: Option<i64>,
    bar: &ProgressBar,
    mut take: impl FnMut(&BorrowedMessage<'_>) -> bool,
) -> Result<(), ConsumeError> {
    let mut scan = Scan::open(settings, role, since_millis, Isolation::Committed)?;
    bar.inc_length(scan.offsets());
    let mut heard = Instant::now();
    while !scan.at_end() {
        match scan.poll(POLL)? {
            Some(message) => {
                heard = Instant::now();
                bar.inc(1);
                if !take(&message) {
                    return Ok(());
                }
            }
            None if heard.elapsed() > STALLED => {
                return Err(ConsumeError::Kafka(format!("nothing came for {STALLED:?}")));
            }
            None => {}
        }
    }
    Ok(())
}

/// The newest input of each key, as compaction will leave the topic; those that were taken away are not among them.
pub fn newest(
    settings: KafkaSettings,
    role: TopicRole,
    since_millis: Option<i64>,
    bar: ProgressBar,
) -> mpsc::Receiver<Result<Kept, ConsumeError>> {
    let (give, taken) = mpsc::channel(WAITING_MAX);
    // Ends when its receiver is dropped, or at the topic's end.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read_newest(&settings, role, since_millis, &bar, &give) {
            let _ = give.blocking_send(Err(error));
        }
    });
    taken
}

fn read_newest(
    settings: &KafkaSettings,
    role: TopicRole,
    since_millis: Option<i64>,
    bar: &ProgressBar,
    give: &mpsc::Sender<Result<Kept, ConsumeError>>,
) -> Result<(), ConsumeError> {
    let mut newest: HashMap<Vec<u8>, (i32, i64)> = HashMap::new();
    each(settings, role, since_millis, bar, |message| {
        if let Some(key) = message.key() {
            newest.insert(key.to_vec(), (message.partition(), message.offset()));
        }
        true
    })?;
    each(settings, role, since_millis, bar, |message| {
        let (Some(key), Some(value)) = (message.key(), message.payload()) else { return true };
        if newest.get(key) != Some(&(message.partition(), message.offset())) {
            return true;
        }
        match Kept::read(role, &String::from_utf8_lossy(key), value) {
            Some(kept) => give.blocking_send(Ok(kept)).is_ok(),
            None => {
                tracing::warn!(offset = message.offset(), "a record on {} is not Inlet's; passed over", role.as_str());
                true
            }
        }
    })
}
