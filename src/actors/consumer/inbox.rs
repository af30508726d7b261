//! Deliveries that arrived at a shell and wait for its loop. Bounded by the prefetch window.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::protocol::{DeliverBatch, Parcel, PieceParcel};

/// What has arrived, in order: first the jobs that came one by one, then those in blocks.
pub(super) struct Arrived<J> {
    pub(super) parcels: VecDeque<Parcel<J>>,
    pub(super) pieces: VecDeque<PieceParcel<J>>,
}

impl<J> Default for Arrived<J> {
    fn default() -> Self {
        Self {
            parcels: VecDeque::new(),
            pieces: VecDeque::new(),
        }
    }
}

/// A queue between the shell's handler and its loop; both live on one thread.
pub(super) struct Inbox<J> {
    arrived: RefCell<Arrived<J>>,
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
        join(&mut arrived.parcels, batch.parcels);
        join(&mut arrived.pieces, batch.pieces);
        drop(arrived);
        if let Some(waker) = self.loop_waker.take() {
            waker.wake();
        }
    }

    /// Everything that has arrived; waits until there is something.
    pub(super) async fn take(&self) -> Arrived<J> {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// As [`take`](Self::take); `None` if nothing is there and `is_complete` says that nothing comes.
    pub(super) async fn take_unless(&self, is_complete: impl Fn() -> bool) -> Option<Arrived<J>> {
        poll_fn(|context| match self.poll_take(context) {
            Poll::Pending if is_complete() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await
    }

    fn poll_take(&self, context: &mut Context<'_>) -> Poll<Arrived<J>> {
        let mut arrived = self.arrived.borrow_mut();
        if arrived.parcels.is_empty() && arrived.pieces.is_empty() {
            self.loop_waker.set(Some(context.waker().clone()));
            Poll::Pending
        } else {
            Poll::Ready(std::mem::take(&mut *arrived))
        }
    }
}

/// Adds to a queue; an empty one takes the memory over instead of copying.
fn join<T>(waiting: &mut VecDeque<T>, more: Vec<T>) {
    if waiting.is_empty() {
        *waiting = more.into();
    } else {
        waiting.extend(more);
    }
}
