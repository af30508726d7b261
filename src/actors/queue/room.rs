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

impl QueueRoom {
    /// The room of a store that has a bound and drops nothing; `held` jobs are in it.
    pub(super) fn new(bound: Option<Bound>, held: usize) -> Option<Self> {
        let bound = bound.filter(|bound| matches!(bound.overflow, Overflow::Wait | Overflow::Reject))?;
        let capacity = bound.capacity.min(Semaphore::MAX_PERMITS);
        Some(Self {
            semaphore: Arc::new(Semaphore::new(capacity.saturating_sub(held))),
            capacity,
            overflow: bound.overflow,
        })
    }
}

/// The queue's side of the room: the jobs in the store for which permits are out.
#[derive(Debug)]
pub(super) struct Account {
    room: Option<QueueRoom>,
    /// Jobs whose permits are out. Grows before the jobs come, shrinks when they have left, and so is right again after
    /// the next operation even if a panic cut one short.
    charged: usize,
}

impl Account {
    /// The account of a store that holds `held` jobs.
    pub(super) fn new(bound: Option<Bound>, held: usize) -> Self {
        let room = QueueRoom::new(bound, held);
        let capacity = room.as_ref().map_or(0, |room| room.capacity);
        Self {
            room,
            charged: held.min(capacity),
        }
    }

    pub(super) fn room(&self) -> Option<QueueRoom> {
        self.room.clone()
    }

    /// Jobs have come whose sender took permits.
    pub(super) fn charge(&mut self, jobs: usize) {
        if self.room.is_some() {
            self.charged += jobs;
        }
    }

    /// Takes up to `wanted` permits for jobs that the queue itself brings back. Without a room there are enough.
    pub(super) fn acquire(&mut self, wanted: usize) -> usize {
        let Some(room) = &self.room else {
            return wanted;
        };
        let taken = room.semaphore.forget_permits(wanted);
        self.charged += taken;
        taken
    }

    /// Gives back the permits of all jobs that are no longer in the store. `held` is asked only if there is a room.
    pub(super) fn settle(&mut self, held: impl FnOnce() -> usize) {
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
