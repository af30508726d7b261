//! Deliveries that arrived at a shell and wait for its loop. Bounded by the prefetch window.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use crate::protocol::{DeliverBatch, Parcel};

/// Puts the most urgent ones in front. Those that are as urgent as others keep their order.
pub(super) fn urgent_first<J>(parcels: &mut VecDeque<Parcel<J>>) {
    parcels
        .make_contiguous()
        .sort_by_key(|parcel| Reverse(parcel.run.block.priority()));
}

/// A queue between the shell's handler and its loop; both live on one thread.
pub(super) struct Inbox<J> {
    /// In order, the most urgent ones in front.
    arrived: RefCell<VecDeque<Parcel<J>>>,
    /// Whether an urgent job has come since something was taken.
    has_urgent: Cell<bool>,
    /// The loop, if it waits.
    loop_waker: Cell<Option<Waker>>,
}

impl<J> Inbox<J> {
    pub(super) fn new() -> Self {
        Self {
            arrived: RefCell::default(),
            has_urgent: Cell::default(),
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
        if batch.has_urgent {
            self.has_urgent.set(true);
            urgent_first(&mut arrived);
        }
        drop(arrived);
        if let Some(waker) = self.loop_waker.take() {
            waker.wake();
        }
    }

    /// Whether an urgent job waits that came while the loop was at work.
    pub(super) fn has_urgent(&self) -> bool {
        self.has_urgent.get()
    }

    /// Puts back what the loop has taken and not begun: it goes behind what is more urgent, and in front of the rest.
    pub(super) fn put_back(&self, parcels: impl Iterator<Item = Parcel<J>>) {
        let mut arrived = self.arrived.borrow_mut();
        let later = std::mem::take(&mut *arrived);
        arrived.extend(parcels.chain(later));
        urgent_first(&mut arrived);
    }

    /// Everything that has arrived; waits until there is something. `None` if nothing is there and `is_complete` says that
    /// nothing comes. Whoever makes that true has to wake the loop, by an empty batch.
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
            self.has_urgent.set(false);
            Poll::Ready(std::mem::take(&mut *arrived))
        }
    }
}
