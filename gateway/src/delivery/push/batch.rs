//! One call of `publish`: how many of its records are still unconfirmed, and who waits for that.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures::task::AtomicWaker;

use super::PublishError;

/// Shared by the caller, the delivery reports of its records, and whoever follows them when the caller is gone.
pub struct Batch {
    unconfirmed: AtomicUsize,
    failure: OnceLock<PublishError>,
    given_up: AtomicBool,
    waker: AtomicWaker,
}

/// Travels with one record through librdkafka and comes back with its report.
pub(super) struct Report {
    pub batch: Arc<Batch>,
    pub index: usize,
}

impl Batch {
    pub fn of(records: usize) -> Arc<Self> {
        Arc::new(Self {
            unconfirmed: AtomicUsize::new(records),
            failure: OnceLock::new(),
            given_up: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// `count` records have their verdict. The first failure is the one that the caller hears.
    pub fn settle(&self, count: usize, failure: Option<PublishError>) {
        if let Some(failure) = failure {
            let _ = self.failure.set(failure);
        }
        if count > 0 && self.unconfirmed.fetch_sub(count, Ordering::AcqRel) == count {
            self.waker.wake();
        }
    }

    /// The verdict, if every record has one.
    pub fn verdict(&self) -> Option<Result<(), PublishError>> {
        self.is_settled().then(|| self.failure.get().cloned().map_or(Ok(()), Err))
    }

    pub fn is_settled(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire) == 0
    }

    /// Waits until every record has its verdict. One task at a time may wait.
    pub async fn settled(&self) -> Result<(), PublishError> {
        self.wait(|| self.is_settled()).await;
        self.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// The same, until somebody [gives it up](Self::give_up): `None`, and its verdict is still to come.
    pub async fn settled_in_time(&self) -> Option<Result<(), PublishError>> {
        self.wait(|| self.is_settled() || self.given_up.load(Ordering::Acquire)).await;
        self.verdict()
    }

    /// Whoever waits in [`settled_in_time`](Self::settled_in_time) waits no longer.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        self.waker.wake();
    }

    async fn wait(&self, is_over: impl Fn() -> bool) {
        poll_fn(|cx| {
            if is_over() {
                return Poll::Ready(());
            }
            self.waker.register(cx.waker());
            // What came before the waker was there did not wake it.
            if is_over() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_last_report_and_tells_the_first_failure() {
        let batch = Batch::of(3);
        let waiting = tokio::spawn({
            let batch = batch.clone();
            async move { batch.settled().await }
        });
        batch.settle(1, None);
        batch.settle(1, Some(PublishError::Unavailable("first".to_owned())));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        batch.settle(1, Some(PublishError::Unavailable("second".to_owned())));
        assert_eq!(waiting.await.expect("no panic"), Err(PublishError::Unavailable("first".to_owned())));
    }

    #[tokio::test]
    async fn what_is_given_up_is_not_waited_for_and_keeps_its_verdict() {
        let batch = Batch::of(1);
        let waiting = tokio::spawn({
            let batch = batch.clone();
            async move { batch.settled_in_time().await }
        });
        tokio::task::yield_now().await;
        batch.give_up();
        assert_eq!(waiting.await.expect("no panic"), None);
        batch.settle(1, None);
        assert_eq!(batch.settled_in_time().await, Some(Ok(())));
    }

    #[tokio::test]
    async fn an_empty_batch_is_settled() {
        assert_eq!(Batch::of(0).settled().await, Ok(()));
    }
}
