//! The room of a queue: how many more jobs may be sent to it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::rules::store::Bound;
use crate::words::Overflow;

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

/// The queue's side of the room: the jobs in the queue for which permits are out.
#[derive(Debug)]
pub(crate) struct Account {
    room: Option<QueueRoom>,
    /// Jobs whose permits are out. Grows before the jobs come, shrinks when they have left, and so is right again after
    /// the next operation even if a panic cut one short.
    charged: usize,
}

impl Account {
    /// The account of a queue that holds `held` jobs. There is a room if it has a bound and drops nothing.
    pub(crate) fn new(bound: Option<Bound>, held: usize) -> Self {
        let bound = bound.filter(|bound| matches!(bound.overflow, Overflow::Wait | Overflow::Reject));
        let room = bound.map(|bound| {
            let capacity = bound.capacity.min(Semaphore::MAX_PERMITS);
            QueueRoom {
                semaphore: Arc::new(Semaphore::new(capacity.saturating_sub(held))),
                capacity,
                overflow: bound.overflow,
            }
        });
        let capacity = room.as_ref().map_or(0, |room| room.capacity);
        Self {
            room,
            charged: held.min(capacity),
        }
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

    /// Jobs go back to a sender who may send them again with the same permits. Whoever tells the sender that they were refused
    /// gives the permits back to the room that is returned.
    #[cfg(feature = "durable")]
    pub(crate) fn hand_back(&mut self, jobs: usize) -> Option<QueueRoom> {
        self.charged = self.charged.saturating_sub(jobs);
        self.room()
    }

    /// Takes up to `wanted` permits for jobs that the queue itself brings back; without a room as many as it has `free`.
    pub(crate) fn acquire(&mut self, wanted: usize, free: usize) -> usize {
        let Some(room) = &self.room else {
            return wanted.min(free);
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
        let held = held();
        if held < self.charged {
            room.semaphore.add_permits(self.charged - held);
            self.charged = held;
        }
    }
}
