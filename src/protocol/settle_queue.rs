//! The settle queue: how consumers tell the supervisor what they settled.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Message, Recipient};

use super::ConsumerInfo;
use super::faults;
use crate::types::{DeliveryNumber, Failure, Guarded, Places, Ticket};

/// Why a delivery was not done, in the words of its consumer.
#[derive(Debug, Clone)]
pub enum Work {
    /// It failed.
    Failed(Failure),
    /// It was dropped without a word.
    Abandoned,
    /// It did not begin: its job had expired.
    Expired,
    /// It did not begin: it was taken back.
    Recalled,
}

/// A delivery that was not done.
#[derive(Debug, Clone)]
pub struct SettledDelivery {
    /// Its place in the ledger.
    pub ticket: Ticket,
    /// Its running number.
    pub number: DeliveryNumber,
    /// What became of it.
    pub work: Work,
}

impl SettledDelivery {
    /// A second message about the delivery that was done at this place. An output is handed over only once, so the copy is a
    /// failure; it must not count, whatever it says.
    fn copy(done: &DonePlaces, place: u8) -> Self {
        Self {
            ticket: done.ticket,
            number: done.first.at(place),
            work: Work::Failed(Failure::retry("a settle that arrived twice")),
        }
    }
}

/// Deliveries of one parcel that were done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DonePlaces {
    /// Their place in the ledger.
    pub ticket: Ticket,
    /// The number of the delivery at place 0.
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
    /// Its deliveries that were done.
    pub done: Vec<DonePlaces>,
    /// The outputs of those of them for which somebody waits, in the order of `done` and of the places.
    pub outputs: Vec<Guarded<O>>,
    /// Its other deliveries, in the order in which it settled them.
    pub deliveries: Vec<SettledDelivery>,
    /// The time that it spent on them, for the prefetch window; zero if it was not measured.
    pub busy: Duration,
}

impl<O> Settlement<O> {
    /// Nothing that this consumer has to say.
    fn empty(consumer: &Arc<ConsumerInfo>) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            done: Vec::new(),
            outputs: Vec::new(),
            deliveries: Vec::new(),
            busy: Duration::ZERO,
        }
    }

    /// Adds deliveries that were done, with the outputs of those for which somebody waits.
    fn add(&mut self, done: DonePlaces, outputs: impl IntoIterator<Item = Guarded<O>>) {
        self.outputs.extend(outputs);
        if let (Some(last), Some(place)) = (self.done.last_mut(), done.places.lowest())
            && (last.ticket, last.first, last.has_outputs) == (done.ticket, done.first, done.has_outputs)
            // The outputs stand in the order of the places.
            && last.places.both(Places::first(usize::from(place))) == last.places
        {
            last.places.add(done.places);
        } else {
            self.done.push(done);
        }
    }
}

/// Tells the supervisor that something lies in its settle queue.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SettlesQueued;

/// Where consumers put what they settled.
///
/// One message wakes the supervisor for everything that was put down since it last looked, however many consumers did, so
/// batches form by themselves. Bounded by the credits: there are never more settles than deliveries.
pub struct SettleQueue<O> {
    waiting: Mutex<Vec<Settlement<O>>>,
    /// `None` for deliveries that no group has made.
    supervisor: Option<Recipient<SettlesQueued>>,
}

impl<O: Send + 'static> SettleQueue<O> {
    pub(crate) fn new(supervisor: Recipient<SettlesQueued>) -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            supervisor: Some(supervisor),
        }
    }

    /// One that wakes nobody.
    #[cfg(feature = "testing")]
    pub(crate) fn unheard() -> Self {
        Self {
            waiting: Mutex::new(Vec::new()),
            supervisor: None,
        }
    }

    /// Puts one delivery down that was done.
    pub(crate) fn done(
        self: &Arc<Self>,
        consumer: &Arc<ConsumerInfo>,
        done: DonePlaces,
        output: Option<Guarded<O>>,
    ) {
        self.put_one(consumer, |settlement| settlement.add(done, output));
    }

    /// Puts one delivery down that was not done.
    pub(crate) fn settle(self: &Arc<Self>, consumer: &Arc<ConsumerInfo>, delivery: SettledDelivery) {
        self.put_one(consumer, |settlement| settlement.deliveries.push(delivery));
    }

    fn put_one(self: &Arc<Self>, consumer: &Arc<ConsumerInfo>, add: impl FnOnce(&mut Settlement<O>)) {
        let mut settlement = Settlement::empty(consumer);
        // A simulation decides of each word alone whether it arrives.
        if faults::is_simulated() {
            add(&mut settlement);
            return self.settle_all(settlement);
        }
        let mut waiting = self.lock();
        if let Some(last) = waiting.last_mut()
            && Arc::ptr_eq(&last.consumer, consumer)
        {
            return add(last);
        }
        add(&mut settlement);
        self.put(waiting, settlement);
    }

    /// Puts everything that a consumer settled down at once.
    pub(crate) fn settle_all(self: &Arc<Self>, mut settlement: Settlement<O>) {
        if faults::is_simulated() {
            settlement = self.on_the_way(settlement);
        }
        self.put(self.lock(), settlement);
    }

    /// Takes everything from the settle queue. The next settle sends a message again.
    pub(crate) fn take(&self) -> Vec<Settlement<O>> {
        std::mem::take(&mut *self.lock())
    }

    /// What a simulation lets through of a settlement; the rest is lost, or follows later.
    fn on_the_way(self: &Arc<Self>, settlement: Settlement<O>) -> Settlement<O> {
        let Some(world) = faults::world() else {
            return settlement;
        };
        let consumer = settlement.consumer;
        let mut arrived = Settlement {
            busy: settlement.busy,
            ..Settlement::empty(&consumer)
        };
        let mut outputs = settlement.outputs.into_iter();
        for done in settlement.done {
            for place in done.places.iter() {
                let output = if done.has_outputs { outputs.next() } else { None };
                let places = Places::only(place);
                let copy = SettledDelivery::copy(&done, place);
                let fate = world.settles(consumer.epoch, copy.number);
                self.meet(fate, &mut arrived, copy, |settlement| {
                    settlement.add(DonePlaces { places, ..done }, output);
                });
            }
        }
        for delivery in settlement.deliveries {
            let fate = world.settles(consumer.epoch, delivery.number);
            self.meet(fate, &mut arrived, delivery.clone(), |settlement| {
                settlement.deliveries.push(delivery);
            });
        }
        arrived
    }

    /// What `add` says meets its fate; `copy` is a second message about the same delivery.
    fn meet(
        self: &Arc<Self>,
        fate: faults::Fate,
        arrived: &mut Settlement<O>,
        copy: SettledDelivery,
        add: impl FnOnce(&mut Settlement<O>),
    ) {
        match fate {
            faults::Fate::Arrive => add(arrived),
            faults::Fate::Lose => {}
            faults::Fate::Repeat => {
                add(arrived);
                arrived.deliveries.push(copy);
            }
            faults::Fate::Delay(wait) => self.later(&arrived.consumer, wait, add),
            faults::Fate::Echo(wait) => {
                add(arrived);
                self.later(&arrived.consumer, wait, |late| late.deliveries.push(copy));
            }
        }
    }

    fn later(
        self: &Arc<Self>,
        consumer: &Arc<ConsumerInfo>,
        wait: Duration,
        add: impl FnOnce(&mut Settlement<O>),
    ) {
        let settles = Arc::clone(self);
        let mut late = Settlement::empty(consumer);
        add(&mut late);
        actix_rt::spawn(async move {
            tokio::time::sleep(wait).await;
            settles.put(settles.lock(), late);
        });
    }

    fn put(&self, mut waiting: MutexGuard<'_, Vec<Settlement<O>>>, settlement: Settlement<O>) {
        let was_empty = waiting.is_empty();
        waiting.push(settlement);
        drop(waiting);
        if was_empty && let Some(supervisor) = &self.supervisor {
            // To a supervisor that has died this goes nowhere, rightly: its successor takes the leases back.
            supervisor.do_send(SettlesQueued);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Settlement<O>>> {
        // Nothing under this lock can panic half way, so a poisoned settle queue is still a whole settle queue.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> fmt::Debug for SettleQueue<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SettleQueue").finish_non_exhaustive()
    }
}
