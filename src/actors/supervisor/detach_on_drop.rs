//! A question that is still answered when the one who asked has died.
//!
//! actix drops a message unread if nobody waits for its answer any more. For a settle that would be wrong: an ack that the
//! supervisor sent just before it died must count, or the job is done again, and, with its key free meanwhile, after a later
//! job of its key. Found by the simulation.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits for an answer. If it is dropped before the answer is there, a task of its own waits on.
pub(super) struct DetachOnDrop<F: Future<Output: 'static> + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: 'static> + 'static> DetachOnDrop<F> {
    pub(super) fn new(answer: F) -> Self {
        Self(Some(Box::pin(answer)))
    }
}

impl<F: Future<Output: 'static> + 'static> Future for DetachOnDrop<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.0 else {
            return Poll::Pending;
        };
        let polled = answer.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: 'static> + 'static> Drop for DetachOnDrop<F> {
    fn drop(&mut self) {
        // An arbiter that ends drops its actors outside of its runtime, where nothing can be spawned any more; the queue is
        // dropped with it.
        if let Some(answer) = self.0.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            actix_rt::spawn(async move {
                let _ = answer.await;
            });
        }
    }
}
