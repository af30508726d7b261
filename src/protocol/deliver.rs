//! Deliveries as messages: for the stock shell, and for actors that settle them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use actix::Message;

use super::{ConsumerInfo, Delivery, DonePlaces, Parcel, SettleQueue, SettledDelivery, Work};
use crate::types::{Failure, Guarded, JobRef, Places, Ticket};

/// Deliveries for the stock shell. Without any it only makes the shell look at its heartbeat.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DeliverBatch<J: Send + Sync + 'static> {
    /// The deliveries, in order.
    pub parcels: Vec<Parcel<J>>,
    /// Whether an urgent job is among them.
    pub has_urgent: bool,
}

impl<J: Send + Sync + 'static> DeliverBatch<J> {
    /// Only wakes the shell.
    pub(crate) fn nothing() -> Self {
        Self {
            parcels: Vec::new(),
            has_urgent: false,
        }
    }
}

/// A delivery that its holder settles: with [`ack`](Self::ack), [`fail`](Self::fail), or by dropping it.
///
/// It dereferences to [`Delivery`]. Dropping it unsettled is a failure of the attempt ("abandoned"), never a loss: the job
/// is tried again.
pub struct Deliver<J: Send + Sync + 'static, O: Send + 'static> {
    delivery: Delivery<'static, J>,
    ticket: Ticket,
    settles: Arc<SettleQueue<O>>,
    settled: bool,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Message for Deliver<J, O> {
    type Result = ();
}

impl<J: Send + Sync + 'static, O: Send + 'static> Deliver<J, O> {
    /// The deliveries of a parcel, each to be settled at the settle queue. If nobody can look at a payload without a lock, its delivery is
    /// settled here: another reader, in a thread that blocks, may keep that lock for ever, and the job shall not wait for it
    /// without a word.
    pub(crate) fn all_of(
        parcel: &Parcel<J>,
        consumer: &Arc<ConsumerInfo>,
        settles: &Arc<SettleQueue<O>>,
    ) -> impl Iterator<Item = Self> {
        let deliver = |job| Self::new(parcel, job, consumer, settles);
        parcel.run.handles().filter_map(deliver)
    }

    fn new(
        parcel: &Parcel<J>,
        job: JobRef<J>,
        consumer: &Arc<ConsumerInfo>,
        settles: &Arc<SettleQueue<O>>,
    ) -> Option<Self> {
        let (ticket, number) = (parcel.ticket, parcel.first.at(job.place()));
        let attempt = (number, parcel.attempt);
        let Some(delivery) = Delivery::owned(job.clone(), attempt, Arc::clone(consumer)) else {
            let work = if job.view().begin(number) {
                Work::Failed(Failure::retry(
                    "another consumer, in a thread that blocks, still reads the job",
                ))
            } else {
                // It has gone because it was taken back and done elsewhere.
                Work::Recalled
            };
            settles.settle(consumer, SettledDelivery { ticket, number, work });
            return None;
        };
        Some(Self {
            delivery,
            ticket,
            settles: Arc::clone(settles),
            settled: false,
        })
    }

    /// The job was done; `output` goes to the producer, if it waits. Never waits and never fails: if the group has given this
    /// consumer up meanwhile, the word is refused as stale and the output dropped.
    pub fn ack(mut self, output: O) {
        let output = Guarded::new(output);
        if super::faults::before_word(self.delivery.seen(), true) {
            return self.fail_as(super::faults::planned_failure());
        }
        self.settled = true;
        let (job, number) = (self.delivery.view(), self.delivery.number());
        let has_outputs = job.wants_output();
        let done = DonePlaces {
            ticket: self.ticket,
            first: number.before(job.place()),
            places: Places::only(job.place()),
            has_outputs,
        };
        let consumer = self.delivery.consumer();
        consumer.heartbeat.note_progress();
        self.settles
            .done(consumer, done, Some(output).filter(|_| has_outputs));
    }

    /// The job was not done; the failure says whether it is tried again. Never waits, as [`ack`](Self::ack).
    pub fn fail(self, failure: impl Into<Failure>) {
        let failure = failure.into();
        if super::faults::before_word(self.delivery.seen(), false) {
            return self.fail_as(super::faults::planned_failure());
        }
        self.fail_as(failure);
    }

    fn fail_as(mut self, failure: Failure) {
        self.settled = true;
        self.speak(Work::Failed(failure));
    }

    /// Settles with what a handler returned.
    pub fn finish(self, result: Result<O, Failure>) {
        match result {
            Ok(output) => self.ack(output),
            Err(failure) => self.fail(failure),
        }
    }

    /// The delivery, if its job has not expired before it began; else the job becomes a dead letter and there is none.
    ///
    /// For an actor whose mailbox may be long, at the top of its handler: what waits in there has been handed over. The stock
    /// shells ask this themselves.
    #[must_use = "an expired delivery is settled, and the others are in here"]
    pub fn unless_expired(mut self) -> Option<Self> {
        if !self.has_expired() {
            return Some(self);
        }
        self.settled = true;
        self.speak(Work::Expired);
        None
    }

    /// The delivery, which begins now; if it was taken back before, there is none, and nothing of it is lost.
    pub(crate) fn unless_recalled(mut self) -> Option<Self> {
        if self.begin() {
            return Some(self);
        }
        self.settled = true;
        self.speak(Work::Recalled);
        None
    }

    fn speak(&self, work: Work) {
        let (ticket, number) = (self.ticket, self.delivery.number());
        let consumer = self.delivery.consumer();
        consumer.heartbeat.note_progress();
        self.settles
            .settle(consumer, SettledDelivery { ticket, number, work });
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Deref for Deliver<J, O> {
    type Target = Delivery<'static, J>;

    fn deref(&self) -> &Delivery<'static, J> {
        &self.delivery
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Drop for Deliver<J, O> {
    fn drop(&mut self) {
        // While the consumer's life ends, its cell drops everything that the consumer held; the death notice, which
        // follows at once, tells the supervisor about all of it with the true cause. A panic inside the cell unwinds
        // through here before the cell can mark the end, hence the second condition. A panic outside the cell (a free
        // task, as `ResponseFuture` makes them) ends no life and is told here.
        let panics_inside_cell = std::thread::panicking() && super::inside_cell();
        if self.settled {
            return;
        }
        if panics_inside_cell {
            self.delivery.blame();
        } else if !self.delivery.is_fenced() {
            self.speak(Work::Abandoned);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for Deliver<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivery.fmt(f)
    }
}
