//! Verdicts: how an attempt ended, as the queue is told, and outcomes: how a job ended, as the producer is told.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AttemptRecord, DeadReason, Incarnation, JobId, LeaseId, SlotId};

/// What the supervisor tells the queue about a lease. Every lease ends with `Ack`, `Retry` or `Reject`.
///
/// | verdict | the lease | the job | the attempt |
/// |---|---|---|---|
/// | `Ack` | ends | is done and forgotten | counted |
/// | `Retry` | ends | waits for its delay, then is leased again, at its old place | counted unless `counts` is false |
/// | `Renew` | goes on | stays with the supervisor, which delivers it again at once | counted unless `counts` is false |
/// | `Reject` | ends | becomes a dead letter with its history | counted |
/// | `Extend` | goes on | stays with its consumer, which is alive and slow | not touched |
/// | `Begin` | goes on | is given to a consumer once the queue has answered | counted if the process ends before another verdict comes |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The work was done.
    Ack,
    /// Give the job back.
    Retry(Box<Retry>),
    /// The attempt ended, the lease goes on: the next attempt follows at once.
    Renew(Box<Renewal>),
    /// The job shall not be tried again.
    Reject(Box<Rejection>),
    /// The work goes on.
    Extend,
    /// A suspect (see [`Leased::suspect`](crate::queue::Leased)) is about to begin, alone in its group. The queue
    /// answers when it knows this even if the process ends: then that attempt counts, and no other suspect's. A queue that
    /// marks no suspects never sees it; one that ends with its process takes it as `Extend`.
    Begin(Begin),
}

/// Where a suspect is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// In which slot.
    pub slot: SlotId,
    /// Which life of the consumer there.
    pub incarnation: Incarnation,
}

/// The verdict on one lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleItem {
    /// The lease.
    pub lease: LeaseId,
    /// The attempt that the verdict is about.
    pub attempt: u32,
    /// What became of it.
    pub verdict: Verdict,
}

/// A job given back to the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How long the job waits before it may be leased again.
    pub after: Duration,
    /// False if the attempt never began and shall not count against the job.
    pub counts: bool,
    /// What went wrong, for the job's history.
    pub record: Option<AttemptRecord>,
}

/// An attempt that ended while the supervisor keeps the lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// False if the attempt never began and shall not count against the job.
    pub counts: bool,
    /// What went wrong, for the job's history.
    pub record: Option<AttemptRecord>,
}

/// A job that shall not be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub reason: DeadReason,
    /// How the last attempt ended, for the job's history.
    pub record: Option<AttemptRecord>,
}

/// How a job ended, as its producer learns it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome<J, O> {
    /// The job.
    pub id: JobId,
    /// What the consumer returned, or the dead letter with the job and its whole history.
    pub result: Result<O, Arc<super::DeadLetter<J>>>,
}
