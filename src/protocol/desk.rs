//! The desk: how consumers tell the supervisor what they settled.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Message, Recipient};

use super::ConsumerInfo;
use super::faults;
use crate::words::{DeliveryNumber, Failure, Guarded, Places, Ticket};

/// What became of a delivery, in the words of its consumer.
#[derive(Debug)]
pub enum Work<O> {
    /// It was done.
    Done(Guarded<O>),
    /// It was not done.
    Failed(Failure),
    /// It was dropped without a word.
    Abandoned,
    /// It did not begin: its job had expired.
    Expired,
    /// It did not begin: it was taken back.
    Recalled,
}

/// A delivery with what became of it.
#[derive(Debug)]
pub struct SettledDelivery<O> {
    /// Its place in the ledger.
    pub ticket: Ticket,
    /// Its running number.
    pub number: DeliveryNumber,
    /// What became of it.
    pub work: Work<O>,
}

impl<O> SettledDelivery<O> {
    /// A second message about the same delivery. An output is handed over only once, so the copy of a success is a failure;
    /// it must not count, whatever it says.
    fn copy(&self) -> Self {
        let failure = match &self.work {
            Work::Failed(failure) => failure.clone(),
            Work::Done(_) | Work::Abandoned | Work::Expired | Work::Recalled => {
                Failure::retry("a settle that arrived twice")
            }
        };
        Self {
            ticket: self.ticket,
            number: self.number,
            work: Work::Failed(failure),
        }
    }
}

/// Deliveries of jobs in a block that were done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DonePlaces {
    /// The place of the block in the ledger.
    pub ticket: Ticket,
    /// The number of the piece.
    pub first: DeliveryNumber,
    /// Which of its jobs.
    pub places: Places,
    /// Whether somebody waits for their outputs.
    pub has_outputs: bool,
}

/// What one consumer has to say at once.
#[derive(Debug)]
pub struct Settlement<O> {
    /// Which consumer.
    pub consumer: Arc<ConsumerInfo>,
    /// Its settled deliveries, in the order in which it settled them.
    pub deliveries: Vec<SettledDelivery<O>>,
    /// Its done deliveries of jobs in blocks.
    pub done: Vec<DonePlaces>,
    /// The outputs of those of them for which somebody waits, in the order of `done` and of the places.
    pub outputs: Vec<Guarded<O>>,
    /// The time that it spent on them, for the prefetch window; zero if it was not measured.
    pub busy: Duration,
}

impl<O> Settlement<O> {
    /// Deliveries that were settled one by one.
    pub fn of(consumer: Arc<ConsumerInfo>, deliveries: Vec<SettledDelivery<O>>) -> Self {
        Self {
            consumer,
            deliveries,
            done: Vec::new(),
            outputs: Vec::new(),
            busy: Duration::ZERO,
        }
    }
}

/// Tells the supervisor that something lies on its desk.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SettlesWaiting;

/// Where consumers put what they settled.
///
/// One message wakes the supervisor for everything that was put down since it last looked, however many consumers did, so
/// batches form by themselves. Bounded by the credits: there are never more settles than deliveries.
pub struct SettleDesk<O> {
    waiting: Mutex<Vec<Settlement<O>>>,
    supervisor: Recipient<SettlesWaiting>,
}

impl<O: Send + 'static> SettleDesk<O> {
    pub(crate) fn new(supervisor: Recipient<SettlesWaiting>) -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            supervisor,
        }
    }

    /// Puts one settled delivery down.
    pub(crate) fn settle(self: &Arc<Self>, consumer: &Arc<ConsumerInfo>, delivery: SettledDelivery<O>) {
        // A simulation decides of each word alone whether it arrives.
        if faults::is_simulated() {
            return self.settle_all(Settlement::of(Arc::clone(consumer), vec![delivery]));
        }
        let mut waiting = self.lock();
        if let Some(last) = waiting.last_mut()
            && Arc::ptr_eq(&last.consumer, consumer)
        {
            last.deliveries.push(delivery);
            return;
        }
        let settlement = Settlement::of(Arc::clone(consumer), vec![delivery]);
        self.put(waiting, settlement);
    }

    /// Puts everything that a consumer settled down at once.
    pub(crate) fn settle_all(self: &Arc<Self>, settlement: Settlement<O>) {
        let settlement = self.on_the_way(settlement);
        self.put(self.lock(), settlement);
    }

    /// Takes everything from the desk. The next settle sends a message again.
    pub(crate) fn take(&self) -> Vec<Settlement<O>> {
        std::mem::take(&mut *self.lock())
    }

    /// What a simulation lets through of a settlement; the rest is lost, or follows later.
    fn on_the_way(self: &Arc<Self>, mut settlement: Settlement<O>) -> Settlement<O> {
        let Some(world) = faults::world() else {
            return settlement;
        };
        let mut arrived = Vec::with_capacity(settlement.deliveries.len());
        for delivery in settlement.deliveries.drain(..) {
            match world.settles(settlement.consumer.epoch, delivery.number) {
                faults::Fate::Arrive => arrived.push(delivery),
                faults::Fate::Lose => {}
                faults::Fate::Repeat => {
                    let copy = delivery.copy();
                    arrived.extend([delivery, copy]);
                }
                faults::Fate::Delay(wait) => self.later(&settlement.consumer, delivery, wait),
                faults::Fate::Echo(wait) => {
                    self.later(&settlement.consumer, delivery.copy(), wait);
                    arrived.push(delivery);
                }
            }
        }
        settlement.deliveries = arrived;
        settlement
    }

    fn later(self: &Arc<Self>, consumer: &Arc<ConsumerInfo>, delivery: SettledDelivery<O>, wait: Duration) {
        let (desk, consumer) = (Arc::clone(self), Arc::clone(consumer));
        actix_rt::spawn(async move {
            tokio::time::sleep(wait).await;
            let late = Settlement::of(consumer, vec![delivery]);
            desk.put(desk.lock(), late);
        });
    }

    fn put(&self, mut waiting: MutexGuard<'_, Vec<Settlement<O>>>, settlement: Settlement<O>) {
        let was_empty = waiting.is_empty();
        waiting.push(settlement);
        drop(waiting);
        if was_empty {
            // To a supervisor that has died this goes nowhere, rightly: its successor takes the leases back.
            self.supervisor.do_send(SettlesWaiting);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Settlement<O>>> {
        // Nothing under this lock can panic half way, so a poisoned desk is still a whole desk.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> fmt::Debug for SettleDesk<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleDesk").finish_non_exhaustive()
    }
}
