//! Deliveries that arrived at a shell and wait for its loop. Bounded by the prefetch window.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::protocol::Parcel;

/// A queue between the shell's handler and its loop; both live on one thread.
pub(super) struct Inbox<J> {
    parcels: RefCell<VecDeque<Parcel<J>>>,
    /// The loop, if it waits.
    loop_waker: Cell<Option<Waker>>,
}

impl<J> Inbox<J> {
    pub(super) fn new() -> Self {
        Self {
            parcels: RefCell::new(VecDeque::new()),
            loop_waker: Cell::new(None),
        }
    }

    pub(super) fn put(&self, parcels: Vec<Parcel<J>>) {
        let mut waiting = self.parcels.borrow_mut();
        if waiting.is_empty() {
            // Takes the memory over instead of copying.
            *waiting = parcels.into();
        } else {
            waiting.extend(parcels);
        }
        drop(waiting);
        if let Some(waker) = self.loop_waker.take() {
            waker.wake();
        }
    }

    /// Everything that has arrived; waits until there is something.
    pub(super) async fn take(&self) -> VecDeque<Parcel<J>> {
        poll_fn(|context| {
            let mut parcels = self.parcels.borrow_mut();
            if parcels.is_empty() {
                self.loop_waker.set(Some(context.waker().clone()));
                Poll::Pending
            } else {
                Poll::Ready(std::mem::take(&mut *parcels))
            }
        })
        .await
    }
}
