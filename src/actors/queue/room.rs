//! The room of a queue: how many more jobs may be sent to it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::rules::store::Bound;
#[cfg(feature = "durable")]
use crate::rules::store::{Admission, Asking};
use crate::types::Overflow;

/// The room of a queue as permits, one for each job.
///
/// Whoever sends jobs takes one permit for each first and forgets it; the queue adds it again when the job has left the
/// queue, or was not taken at all. So at every moment
///
/// `permits = capacity − unfinished jobs in the queue − jobs on their way to it`
///
/// A sender whose jobs came back without an answer (they never reached the queue) sends them again with the same permits,
/// or adds the permits itself.
#[derive(Debug, Clone)]
pub struct QueueRoom {
    /// One permit for each job that still fits.
    pub semaphore: Arc<Semaphore>,
    /// How many jobs fit in all.
    pub capacity: usize,
    /// What a sender does that finds no permit: wait, or give the job back.
    pub overflow: Overflow,
}

/// The queue's side of the room: what it may hold, and the jobs in it for which permits are out.
#[derive(Debug)]
pub(crate) struct Account {
    bound: Option<Bound>,
    room: Option<QueueRoom>,
    /// Jobs whose permits are out. Grows before the jobs come, shrinks when they have left, and so is right again after
    /// the next operation even if a panic cut one short.
    charged: usize,
    /// Jobs that have come and about which it is not decided yet: none, if that is done at once.
    coming: usize,
    /// The bytes of unfinished jobs, if they are counted.
    #[cfg_attr(
        not(feature = "durable"),
        allow(dead_code, reason = "no other queue counts them")
    )]
    bytes: u64,
}

impl Account {
    /// The account of a queue that says by [`open`](Self::open) what it holds.
    pub(crate) fn new(bound: Option<Bound>) -> Self {
        Self {
            bound,
            room: None,
            charged: 0,
            coming: 0,
            bytes: 0,
        }
    }

    /// The queue holds so many jobs. There is a room if it has a bound and drops nothing.
    pub(crate) fn open(&mut self, held: usize) {
        let waits = |bound: &Bound| matches!(bound.overflow, Overflow::Wait | Overflow::Reject);
        self.room = self.bound.filter(waits).map(|bound| {
            let capacity = bound.capacity.min(Semaphore::MAX_PERMITS);
            self.charged = held.min(capacity);
            QueueRoom {
                semaphore: Arc::new(Semaphore::new(capacity.saturating_sub(held))),
                capacity,
                overflow: bound.overflow,
            }
        });
    }

    pub(crate) fn room(&self) -> Option<QueueRoom> {
        self.room.clone()
    }

    /// Jobs have come whose sender took permits.
    pub(crate) fn charge(&mut self, jobs: usize) {
        if self.room.is_some() {
            self.charged += jobs;
        }
    }

    /// Takes up to `wanted` permits for jobs that the queue itself brings back; without a room as many as it has place for.
    pub(crate) fn acquire(&mut self, wanted: usize, held: usize) -> usize {
        let Some(room) = &self.room else {
            let capacity = self.bound.map_or(usize::MAX, |bound| bound.capacity);
            return wanted.min(capacity.saturating_sub(held + self.coming));
        };
        let taken = room.semaphore.forget_permits(wanted);
        self.charged += taken;
        taken
    }

    /// Gives back the permits of all jobs that are no longer in the queue. `held` is asked only if there is a room.
    pub(crate) fn settle(&mut self, held: impl FnOnce() -> usize) {
        let Some(room) = &self.room else {
            return;
        };
        let held = held() + self.coming;
        if held < self.charged {
            room.semaphore.add_permits(self.charged - held);
            self.charged = held;
        }
    }
}

/// For a queue that counts bytes, and decides about jobs some time after they have come.
#[cfg(feature = "durable")]
impl Account {
    /// What is done with a job, by a queue that has so many unfinished ones and has just taken so many bytes more.
    pub(crate) fn admit(&self, job: Asking, held: usize, taken: u64) -> Admission {
        let bytes = self.bytes.saturating_add(taken);
        self.bound
            .map_or(Admission::Take, |bound| bound.admit(job, held, bytes))
    }

    /// Whether there are bytes left.
    pub(crate) fn has_bytes(&self) -> bool {
        self.bound.is_none_or(|bound| self.bytes < bound.bytes)
    }

    /// Some bytes leave and others come.
    pub(crate) fn change_bytes(&mut self, leave: u64, come: u64) {
        self.bytes = self.bytes.saturating_sub(leave).saturating_add(come);
    }

    /// As [`charge`](Self::charge); it is [`decided`](Self::decided) about the jobs later.
    pub(crate) fn expect(&mut self, jobs: usize) {
        self.coming += jobs;
        self.charge(jobs);
    }

    /// It is decided about jobs that were expected.
    pub(crate) fn decided(&mut self, jobs: usize) {
        self.coming = self.coming.saturating_sub(jobs);
    }

    /// Expected jobs go back to a sender who may send them again with the same permits. Whoever tells the sender that they were
    /// refused gives the permits back to the room that is returned.
    pub(crate) fn hand_back(&mut self, jobs: usize) -> Option<QueueRoom> {
        self.decided(jobs);
        self.charged = self.charged.saturating_sub(jobs);
        self.room()
    }
}
