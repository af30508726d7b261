//! Deliveries that arrived at a shell and wait for its loop. Bounded by the prefetch window.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::protocol::{DeliverBatch, Parcel};

/// A queue between the shell's handler and its loop; both live on one thread.
pub(super) struct Inbox<J> {
    arrived: RefCell<VecDeque<Parcel<J>>>,
    /// The loop, if it waits.
    loop_waker: Cell<Option<Waker>>,
}

impl<J> Inbox<J> {
    pub(super) fn new() -> Self {
        Self {
            arrived: RefCell::default(),
            loop_waker: Cell::new(None),
        }
    }

    pub(super) fn put(&self, batch: DeliverBatch<J>)
    where
        J: Send + Sync + 'static,
    {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.is_empty() {
            // The memory is taken over instead of copied.
            *arrived = batch.parcels.into();
        } else {
            arrived.extend(batch.parcels);
        }
        drop(arrived);
        if let Some(waker) = self.loop_waker.take() {
            waker.wake();
        }
    }

    /// Everything that has arrived; waits until there is something.
    pub(super) async fn take(&self) -> VecDeque<Parcel<J>> {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// As [`take`](Self::take); `None` if nothing is there and `is_complete` says that nothing comes.
    pub(super) async fn take_unless(&self, is_complete: impl Fn() -> bool) -> Option<VecDeque<Parcel<J>>> {
        poll_fn(|context| match self.poll_take(context) {
            Poll::Pending if is_complete() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await
    }

    fn poll_take(&self, context: &mut Context<'_>) -> Poll<VecDeque<Parcel<J>>> {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.is_empty() {
            self.loop_waker.set(Some(context.waker().clone()));
            Poll::Pending
        } else {
            Poll::Ready(std::mem::take(&mut *arrived))
        }
    }
}
