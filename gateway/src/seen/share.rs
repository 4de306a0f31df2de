//! Tells the other replicas what became safe here, and starts and ends what hears them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::batch::{BATCH_IDS_MAX, Batch, End};
use super::follow::Follower;
use super::id::SeenId;
use super::{OUTBOX_IDS_MAX, Outbox, Seen};
use crate::delivery::settings::KafkaSettings;
use crate::delivery::{PublishError, Publisher};

/// How soon the others are told; redeliveries that come later than five seconds must find it.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// With nothing to tell, a replica says at every second turn that it is alive.
const SILENT_TURNS: u32 = 2;

/// The running exchange with the other replicas.
pub struct Sharing {
    stop: CancellationToken,
    teller: JoinHandle<()>,
    follower: std::thread::JoinHandle<()>,
}

impl Sharing {
    /// On the current runtime, and a thread that reads. `publisher` is Kafka itself: ids in a spool tell nobody.
    pub fn start(
        seen: &Arc<Seen>,
        settings: &KafkaSettings,
        publisher: Arc<dyn Publisher>,
        window: Duration,
    ) -> Result<Self, String> {
        let replica = uuid::Uuid::new_v4().to_string();
        let stop = CancellationToken::new();
        let follower = Follower::new(settings.clone(), seen.clone(), replica.clone(), window, stop.clone());
        let follower = std::thread::Builder::new()
            .name("seen-follower".to_owned())
            .spawn(move || follower.run())
            .map_err(|error| format!("no thread for the seen index: {error}"))?;
        let teller = Teller { seen: seen.clone(), publisher, replica, told_millis: 0, silent_turns: SILENT_TURNS };
        let teller = tokio::spawn(teller.run(stop.clone()));
        Ok(Self { stop, teller, follower })
    }

    /// Tells what is left and says goodbye; at most `limit`. To be called when no input is on its way any more.
    pub async fn end(self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.teller).await.is_err() {
            tracing::warn!("other replicas were not told the last ids; they find them among the events");
        }
        // It looks at its token many times a second.
        let _ = tokio::task::spawn_blocking(move || self.follower.join()).await;
    }
}

struct Teller {
    seen: Arc<Seen>,
    publisher: Arc<dyn Publisher>,
    replica: String,
    /// Watermark of the last batch that Kafka has.
    told_millis: i64,
    silent_turns: u32,
}

impl Teller {
    async fn run(mut self, stop: CancellationToken) {
        let mut turns = tokio::time::interval(TELL_EVERY);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => drop(self.tell().await),
                () = stop.cancelled() => break,
            }
            self.seen.status();
        }
        self.silent_turns = SILENT_TURNS;
        // What stays in the spool may yet turn out to be on Kafka: then it is looked for from the watermark on.
        if self.tell().await && self.seen.oldest_spooled().is_none() {
            let goodbye = self.batch(self.told_millis, Some(End::Goodbye), &[]);
            let _ = self.publisher.publish(vec![goodbye.to_record()]).await;
        }
    }

    /// True = Kafka has everything.
    async fn tell(&mut self) -> bool {
        // Before the ids are taken: what is safe by then is among them.
        let watermark = self.seen.watermark_millis();
        let Some(outbox) = self.seen.outbox().map(|mut outbox| std::mem::take(&mut *outbox)) else { return true };
        self.silent_turns += 1;
        if outbox.ids.is_empty() && outbox.repaired.is_empty() && self.silent_turns < SILENT_TURNS {
            return true;
        }
        let mut batches: Vec<_> =
            outbox.ids.chunks(BATCH_IDS_MAX).map(|ids| self.batch(self.told_millis, None, ids)).collect();
        match batches.last_mut() {
            Some(last) => last.watermark_millis = watermark,
            None => batches.push(self.batch(watermark, None, &[])),
        }
        let repaired = outbox.repaired.iter().map(|(replica, watermark)| Batch {
            replica: replica.clone(),
            watermark_millis: *watermark,
            end: Some(End::Repaired),
            ids: Vec::new(),
        });
        let mut records: Vec<_> = batches.iter().map(Batch::to_record).collect();
        let ids_told = self.publisher.publish(std::mem::take(&mut records)).await;
        let told = match ids_told {
            // Only then: whoever reads this looks for those ids no more.
            Ok(()) if !outbox.repaired.is_empty() => {
                self.publisher.publish(repaired.map(|batch| batch.to_record()).collect()).await
            }
            other => other,
        };
        match told {
            Ok(()) => {
                (self.told_millis, self.silent_turns) = (watermark, 0);
                true
            }
            Err(error) => {
                self.keep(outbox, &error);
                false
            }
        }
    }

    /// What was not told is told later.
    fn keep(&self, untold: Outbox, error: &PublishError) {
        tracing::debug!(%error, ids = untold.ids.len(), "other replicas are told later");
        let Some(mut outbox) = self.seen.outbox() else { return };
        let newer = std::mem::replace(&mut *outbox, untold);
        outbox.ids.extend(newer.ids);
        outbox.repaired.extend(newer.repaired);
        let over = outbox.ids.len().saturating_sub(OUTBOX_IDS_MAX);
        outbox.ids.drain(..over);
        self.seen.metrics.untold.inc_by(over as u64);
    }

    fn batch(&self, watermark_millis: i64, end: Option<End>, ids: &[SeenId]) -> Batch {
        Batch { replica: self.replica.clone(), watermark_millis, end, ids: ids.to_vec() }
    }
}
