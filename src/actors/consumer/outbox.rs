//! What a consumer has settled, on its way to the settle queue.

use std::cell::{Cell, RefCell};

use std::sync::Arc;

use tokio::time::Instant;

use super::shell::ShellParams;
use crate::protocol::{DonePlaces, Parcel, SettledDelivery, Settlement, Work};
use crate::types::{DeliveryNumber, Guarded, Places};

/// What was settled and is not in the settle queue yet.
pub(super) struct Outbox<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) params: ShellParams<J, O>,
    settled: RefCell<Settled<O>>,
    /// Jobs of the parcel in hand that were done: of the last one in `Settled::done`.
    in_hand: Cell<Places>,
}

struct Settled<O> {
    /// Deliveries that were not done.
    deliveries: Vec<SettledDelivery>,
    /// Those that were done, by parcel; the last one is the parcel in hand, whose jobs are noted apart.
    done: Vec<DonePlaces>,
    /// The outputs of those for which somebody waits, in the same order.
    outputs: Vec<Guarded<O>>,
    /// When the work on all this began.
    since: Instant,
}

impl<O> Settled<O> {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.done.iter().all(|done| done.places.is_empty())
    }

    fn close(&mut self, in_hand: Places) {
        if let Some(piece) = self.done.last_mut() {
            piece.places.add(in_hand);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Outbox<J, O> {
    pub(super) fn new(params: ShellParams<J, O>) -> Self {
        Self {
            params,
            settled: RefCell::new(Settled {
                deliveries: Vec::new(),
                done: Vec::new(),
                outputs: Vec::new(),
                since: Instant::now(),
            }),
            in_hand: Cell::default(),
        }
    }

    /// The time from here to the next flush is the time that the deliveries took.
    pub(super) fn restart_clock(&self) {
        self.settled.borrow_mut().since = Instant::now();
    }

    pub(super) fn put(&self, parcel: &Parcel<J>, number: DeliveryNumber, work: Work) {
        let ticket = parcel.ticket;
        let delivery = SettledDelivery { ticket, number, work };
        self.settled.borrow_mut().deliveries.push(delivery);
    }

    /// A delivery does not begin. Seldom, so it stays out of the loop.
    #[cold]
    #[inline(never)]
    pub(super) fn pass_over(&self, parcel: &Parcel<J>, number: DeliveryNumber, work: Work) {
        self.params.info.heartbeat.note_progress();
        self.put(parcel, number, work);
    }

    /// A parcel is taken up.
    pub(super) fn open(&self, parcel: &Parcel<J>) {
        let mut settled = self.settled.borrow_mut();
        settled.close(self.in_hand.take());
        settled.done.push(DonePlaces {
            ticket: parcel.ticket,
            first: parcel.first,
            places: Places::NONE,
            has_outputs: parcel.run.block.wants_outputs(),
        });
    }

    /// The job at this place of the parcel in hand was done.
    #[inline]
    pub(super) fn done(&self, place: u8) {
        let mut places = self.in_hand.get();
        places.add(Places::only(place));
        self.in_hand.set(places);
    }

    /// The output of the job that was done just now.
    pub(super) fn keep(&self, output: Guarded<O>) {
        self.settled.borrow_mut().outputs.push(output);
    }

    pub(super) fn flush(&self) {
        if !self.in_hand.get().is_empty() || !self.settled.borrow().is_empty() {
            self.flush_at(Instant::now());
        }
    }

    pub(super) fn flush_at(&self, now: Instant) {
        let mut settled = self.settled.borrow_mut();
        let busy = now.saturating_duration_since(settled.since);
        settled.since = now;
        settled.close(self.in_hand.take());
        if settled.is_empty() {
            return;
        }
        let room = settled.deliveries.len();
        let deliveries = std::mem::replace(&mut settled.deliveries, Vec::with_capacity(room));
        // The parcel in hand stays open.
        let in_hand = settled.done.last().map(|piece| DonePlaces {
            places: Places::NONE,
            ..*piece
        });
        let room = settled.done.len();
        let mut done = std::mem::replace(&mut settled.done, Vec::with_capacity(room));
        settled.done.extend(in_hand);
        let room = settled.outputs.len();
        let outputs = std::mem::replace(&mut settled.outputs, Vec::with_capacity(room));
        drop(settled);
        done.retain(|piece| !piece.places.is_empty());
        let consumer = Arc::clone(&self.params.info);
        self.params.settles.settle_all(Settlement {
            consumer,
            deliveries,
            done,
            outputs,
            busy,
        });
    }
}

/// A consumer that panics takes nothing with it that it did before: what was settled goes to the settle queue while the panic
/// unwinds, ahead of the death notice, so the supervisor counts it as done and not as held.
impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Outbox<J, O> {
    fn drop(&mut self) {
        self.flush();
    }
}
