//! Deliveries as messages: for the stock shell, and for actors that settle them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use actix::Message;

use super::{ConsumerInfo, Delivery, Parcel, PieceParcel, SettleDesk, SettledDelivery, Work};
use crate::words::{Failure, Guarded, Ticket};

/// Deliveries for the stock shell. Without any it only makes the shell look at its board.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DeliverBatch<J: Send + Sync + 'static> {
    /// The deliveries, in order.
    pub parcels: Vec<Parcel<J>>,
    /// Deliveries of jobs in blocks, in order, behind the others.
    pub pieces: Vec<PieceParcel<J>>,
}

/// A delivery that its holder settles: with [`ack`](Self::ack), [`fail`](Self::fail), or by dropping it.
///
/// It dereferences to [`Delivery`]. Dropping it unsettled is a failure of the attempt ("abandoned"), never a loss: the job
/// is tried again.
pub struct Deliver<J: Send + Sync + 'static, O: Send + 'static> {
    delivery: Delivery<'static, J>,
    ticket: Ticket,
    desk: Arc<SettleDesk<O>>,
    settled: bool,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Message for Deliver<J, O> {
    type Result = ();
}

impl<J: Send + Sync + 'static, O: Send + 'static> Deliver<J, O> {
    /// A delivery that is settled at the desk. If nobody can look at the payload without a lock, it is settled here: another
    /// reader, in a thread that blocks, may keep that lock for ever, and the job shall not wait for it without a word.
    pub(crate) fn new(
        parcel: Parcel<J>,
        consumer: &Arc<ConsumerInfo>,
        desk: &Arc<SettleDesk<O>>,
    ) -> Option<Self> {
        let (ticket, number) = (parcel.ticket, parcel.number);
        let job = parcel.job.clone();
        let Some(delivery) = Delivery::owned(parcel, Arc::clone(consumer)) else {
            let work = if job.view().begin(number) {
                Work::Failed(Failure::retry(
                    "another consumer, in a thread that blocks, still reads the job",
                ))
            } else {
                // It has gone because it was taken back and done elsewhere.
                Work::Recalled
            };
            desk.settle(consumer, SettledDelivery { ticket, number, work });
            return None;
        };
        Some(Self {
            delivery,
            ticket,
            desk: Arc::clone(desk),
            settled: false,
        })
    }

    /// The job was done; `output` goes to the producer, if it waits. Never waits and never fails: if the group has given this
    /// consumer up meanwhile, the word is refused as stale and the output dropped.
    pub fn ack(self, output: O) {
        self.settle(Work::Done(Guarded::new(output)));
    }

    /// The job was not done; the failure says whether it is tried again. Never waits, as [`ack`](Self::ack).
    pub fn fail(self, failure: impl Into<Failure>) {
        self.settle(Work::Failed(failure.into()));
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

    fn settle(mut self, work: Work<O>) {
        let work = if super::faults::before_word(self.delivery.seen(), matches!(work, Work::Done(_))) {
            Work::Failed(super::faults::planned_failure())
        } else {
            work
        };
        self.settled = true;
        self.speak(work);
    }

    fn speak(&self, work: Work<O>) {
        let (ticket, number) = (self.ticket, self.delivery.number());
        let consumer = self.delivery.consumer();
        consumer.board.note_progress();
        self.desk
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
