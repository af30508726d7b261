//! Stores: what a queue keeps, as a pure data structure.
//!
//! A [`Store`] runs inside the stock queue actor. Whoever needs more (a broker, a file) writes an actor of their own
//! against the queue protocol.

mod admission;
mod dead;
mod dedup;
mod delayed;
mod entry;
mod lanes;
mod lease_table;
mod leases;
mod memory;
mod shrink;

#[cfg(test)]
mod tests;

pub use admission::{Admission, Asking, Bound};
pub(crate) use dead::{DeadLetters, Selected};
#[cfg(feature = "durable")]
pub(crate) use dedup::Dedup;
#[cfg(any(feature = "durable", feature = "testing"))]
pub(crate) use delayed::DelayedJobs;
pub use lease_table::LeaseTable;
pub use memory::MemoryStore;

use std::sync::Arc;

use crate::types::{
    Capabilities, DeadLetter, DeadReason, EventKind, JobId, JobRef, LeaseId, Moment, Places, QueueCounts,
    Run, UnreadableJob, Verdict, WriteFailure,
};

/// Jobs of one block that the queue has promised to keep, each until it is settled.
#[derive(Debug)]
pub struct Leased<J> {
    /// The promise. Of several jobs, that of one is [`LeaseId::of_place`] of it.
    pub lease: LeaseId,
    /// The attempt that starts with it, counted from one.
    pub attempt: u32,
    /// The jobs.
    pub run: Run<J>,
    /// Whether it was leased when a process ended without a word, so that it may be the one that ended it. A suspect is
    /// delivered alone in its group, and the queue is told before it begins
    /// ([`Verdict::Begin`]). Queues that cannot know leave it false.
    pub suspect: bool,
    /// A job whose queue need not hold it itself.
    held: Option<JobRef<J>>,
}

impl<J> Leased<J> {
    /// A lease of jobs that the queue holds until it is settled.
    pub fn new(lease: LeaseId, attempt: u32, run: Run<J>) -> Self {
        Self {
            lease,
            attempt,
            run,
            suspect: false,
            held: None,
        }
    }

    /// A lease of one job. The queue may hold the job as well, and need not.
    pub fn one(lease: LeaseId, attempt: u32, job: JobRef<J>) -> Self {
        Self {
            run: job.as_run(),
            held: Some(job),
            lease,
            attempt,
            suspect: false,
        }
    }

    /// The first of the jobs, or the only one.
    pub fn job(&self) -> JobRef<J> {
        let first = self.run.places.lowest().unwrap_or(0);
        JobRef::in_block(Arc::clone(&self.run.block), first)
    }

    /// The jobs as if each had been leased alone.
    pub fn one_by_one(&self) -> impl Iterator<Item = Self> {
        let is_one = self.run.len() == 1;
        self.run.places.iter().map(move |place| {
            let lease = if is_one {
                self.lease
            } else {
                self.lease.of_place(place)
            };
            let run = self.run.part(Places::only(place));
            Self {
                suspect: self.suspect,
                held: self.held.clone(),
                ..Self::new(lease, self.attempt, run)
            }
        })
    }
}

/// Why a store did not take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no room.
    #[error("the queue is full")]
    Full,
    /// A job with the same deduplication key was accepted within the window.
    #[error("a job with the same deduplication key was accepted before: {of}")]
    Duplicate {
        /// The job that was accepted.
        of: JobId,
    },
    /// The queue takes no more jobs.
    #[error("the queue is closed")]
    Closed,
    /// The queue could not write the job down. What was accepted before is not touched.
    #[error("the queue could not write the job down: {0}")]
    NotWritten(WriteFailure),
    /// The broker has not confirmed in time that it has the job. It may have it all the same, and then it is done.
    #[error("the broker has not confirmed that it has the job, which it may have all the same")]
    Unconfirmed,
    /// The broker knows of no queue to which the job could go.
    #[error("the broker has no queue for the job")]
    Unroutable,
    /// The job is larger than the queue, or its broker, takes.
    #[error("the job has {bytes} bytes, and {most} are taken at most")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// Whoever keeps the jobs cannot be reached, or takes nothing for now. The job did not leave this process.
    #[error("whoever keeps the jobs cannot be reached: {why}")]
    Unavailable {
        /// What is wrong, for people; [`QueueState`](crate::events::QueueState) says more.
        why: &'static str,
    },
    /// The payload has no form in the bytes in which the queue keeps it.
    #[error("the payload cannot be written by the codec of the queue")]
    NotEncoded,
    /// The payload could not be read back from its bytes as it was.
    #[error("the payload would be read as another one, or not at all, by the codec of the queue")]
    NotReadable,
}

/// A job that the store did not take, with the reason.
#[derive(Debug)]
pub struct Refused<J> {
    /// The job, handed back.
    pub job: JobRef<J>,
    /// Why.
    pub refusal: Refusal,
}

/// Whether a settle counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It did.
    Applied,
    /// It did not, and nothing changed.
    Refused(SettleRefusal),
}

impl Settled {
    /// Applied if the lease was `known`.
    pub fn applied(known: bool) -> Self {
        if known {
            Self::Applied
        } else {
            Self::Refused(SettleRefusal::Unknown)
        }
    }
}

/// Why a verdict on a lease did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettleRefusal {
    /// The lease lasts, in another attempt or with a later supervisor.
    Stale,
    /// There is no such lease: it has ended, or never was.
    Unknown,
}

/// A verdict that did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RefusedSettle {
    /// The lease that it was about.
    pub lease: LeaseId,
    /// The attempt that it was about.
    pub attempt: u32,
    /// Why.
    pub why: SettleRefusal,
}

/// Which dead letters a command means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadSelection {
    /// All of them.
    All,
    /// Those of these jobs.
    Jobs(Vec<JobId>),
}

/// What a store has to tell after an operation: the actor around it passes it on.
#[derive(Debug)]
pub struct News<J> {
    /// Jobs that became dead letters: whoever waits for their outcome is told.
    pub dead: Vec<DeadLetter<J>>,
    /// What happened, for the events.
    pub events: Vec<EventKind>,
    /// Jobs that cannot be read, for the group to keep: see [`give_up_unreadable`](Self::give_up_unreadable).
    pub unreadable: Vec<UnreadableJob>,
}

impl<J> Default for News<J> {
    fn default() -> Self {
        Self {
            dead: Vec::new(),
            events: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}

impl<J> News<J> {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.events.is_empty() && self.unreadable.is_empty()
    }

    /// Says that a job is a dead letter because it cannot be read. The group keeps it with its bytes, if it keeps the dead
    /// letters of this queue; else the queue has done so.
    pub fn give_up_unreadable(&mut self, job: UnreadableJob) {
        self.events.push(EventKind::DeadLettered {
            job: job.id,
            reason: DeadReason::Unreadable(Arc::clone(&job.reason)),
        });
        self.unreadable.push(job);
    }
}

/// What a queue keeps: ready, leased, delayed and dead jobs.
///
/// Ordering: jobs of one priority are leased in the order in which they were pushed; a job that is given back without a
/// delay takes its old place, in front of the jobs that were pushed after it. Every method is finished when it returns; a
/// store never sleeps and never blocks.
///
/// A store must be whole even if one of its methods panics, because the actor around it is restarted over the same store: as
/// if the call had not been made, or had been made. So it takes the jobs of a push before it does anything that may panic, and
/// leases none in a call that panics.
pub trait Store<J: Send + Sync + 'static>: Send + 'static {
    /// What this store does natively.
    fn capabilities(&self) -> Capabilities;

    /// How much it takes; `None` for a store without a bound of its own. The actor around it lets senders wait for places; of
    /// bytes the store itself says, when a job is pushed, that there are too many.
    fn bound(&self) -> Option<Bound>;

    /// Takes jobs in, in order. Those that are not taken come back with the reason. A store that knows no blocks takes the jobs
    /// out of them, by [`Run::into_jobs`].
    fn push(&mut self, now: Moment, runs: Vec<Run<J>>, news: &mut News<J>) -> Vec<Refused<J>>;

    /// Leases up to `most` ready jobs and appends them to `leased`. The attempt is counted here, so a job that ends the
    /// whole process uses attempts up as well.
    fn lease(&mut self, now: Moment, most: usize, leased: &mut Vec<Leased<J>>, news: &mut News<J>);

    /// How many of the ready jobs are urgent: those are leased first. A store that cannot tell says 0; then urgent jobs wait for
    /// credit as all others.
    fn urgent(&self) -> usize {
        0
    }

    /// Jobs that were leased together were done in their first attempt. Returns those for which that does not count any more. A
    /// store that leases one by one need not write this.
    fn ack_places(&mut self, now: Moment, lease: LeaseId, places: Places, news: &mut News<J>) -> Places {
        let mut refused = places;
        for place in places.iter() {
            if self.settle(now, lease.of_place(place), 1, &Verdict::Ack, news) == Settled::Applied {
                refused.remove(Places::only(place));
            }
        }
        refused
    }

    /// Settles a lease. Counts only if the lease is alive and `attempt` is its current attempt.
    fn settle(
        &mut self,
        now: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        news: &mut News<J>,
    ) -> Settled;

    /// Takes back every lease, each to its old place, because the supervisor that held them is gone. The attempts do not
    /// count. Returns how many there were.
    fn take_back(&mut self, now: Moment) -> usize;

    /// When something becomes due by itself: a delay, a retry, an expiry.
    fn next_due(&self) -> Option<Moment>;

    /// Moves what is due.
    fn wake(&mut self, now: Moment, news: &mut News<J>);

    /// What the store holds.
    fn counts(&self) -> QueueCounts;

    /// The dead letters, oldest first, at most `most`.
    fn dead_letters(&self, most: usize) -> Vec<DeadLetter<J>>;

    /// Sends dead letters back to the ready jobs, at the end, with a fresh count of attempts; the history goes with them.
    /// Stops at the first that does not fit. Returns the jobs that went back.
    fn requeue(&mut self, now: Moment, which: &DeadSelection, news: &mut News<J>) -> Vec<JobId>;

    /// Forgets dead letters. Returns how many.
    fn purge(&mut self, which: &DeadSelection) -> usize;

    /// Hands out every job that is neither done nor dead, oldest first, and holds none of them any more.
    fn take_unfinished(&mut self) -> Vec<JobRef<J>>;
}
