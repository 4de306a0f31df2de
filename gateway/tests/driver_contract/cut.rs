//! Drops a future after its n-th poll: a crash, a revocation or a shutdown at that very await.

use std::pin::Pin;
use std::task::{Context, Poll};

pub struct CutAfter<F> {
    inner: Option<Pin<Box<F>>>,
    polls_left: usize,
}

impl<F: Future> CutAfter<F> {
    pub fn new(inner: F, polls: usize) -> Self {
        Self { inner: Some(Box::pin(inner)), polls_left: polls }
    }
}

impl<F: Future> Future for CutAfter<F> {
    /// `None`: it was cut off.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if let Poll::Ready(done) = inner.as_mut().poll(cx) {
            self.inner = None;
            return Poll::Ready(Some(done));
        }
        self.polls_left -= 1;
        if self.polls_left == 0 {
            self.inner = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}
