//! What users ask a queue, and its answers.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use crate::rules::store::DeadSelection;
use crate::types::{DeadLetter, Epoch, JobId, JobPage, JobQuery, JobRef, QueueCounts};

/// What the group asks of a queue now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueCommand {
    /// Take no more jobs from producers; refuse them as closed.
    Close,
    /// Say what it holds.
    Counts,
    /// Name up to this many dead letters, oldest first.
    DeadLetters {
        /// How many at most.
        most: usize,
    },
    /// Show a page of jobs, as they stand where the queue keeps them. A queue that cannot says so.
    Jobs(JobQuery),
    /// Send dead letters back.
    Requeue(DeadSelection),
    /// Forget dead letters.
    Purge(DeadSelection),
    /// Hand out every job that is neither done nor dead.
    TakeUnfinished,
    /// The group has ended, and with it the supervisor of this epoch and its consumers: tell whoever keeps the jobs what is not
    /// told yet, take back every lease, each to its old place, and lease nothing before the next [`Attach`](super::Attach). The
    /// attempts do not count. A queue outside of the process closes what it has open. Answered when that is done. Sent to a queue
    /// that is not volatile, so that it can tell this end from one without a word; ignored if a later epoch is attached.
    Goodbye {
        /// Which supervisor.
        epoch: Epoch,
        /// How long the group waits for the answer, and no longer.
        within: Duration,
    },
}

/// The answer to a [`QueueCommand`].
#[derive(Debug)]
pub enum QueueReply<J> {
    /// Done.
    Done,
    /// What the queue holds.
    Counts(QueueCounts),
    /// Dead letters, oldest first.
    DeadLetters(Vec<DeadLetter<J>>),
    /// A page of jobs, or why they could not be read.
    Jobs(Result<JobPage, Arc<str>>),
    /// The jobs that went back.
    Requeued(Vec<JobId>),
    /// How many dead letters were forgotten.
    Purged(usize),
    /// The jobs that were handed out, oldest first.
    Unfinished(Vec<JobRef<J>>),
    /// The queue cannot do that, for the reason given.
    Unsupported(&'static str),
}

/// Carries a [`QueueCommand`] to a queue of jobs `J`.
#[derive(Debug)]
pub struct Command<J> {
    /// What is asked.
    pub command: QueueCommand,
    job: std::marker::PhantomData<fn() -> J>,
}

impl<J> Command<J> {
    /// Wraps a command.
    pub fn new(command: QueueCommand) -> Self {
        Self {
            command,
            job: std::marker::PhantomData,
        }
    }
}

impl<J: Send + Sync + 'static> Message for Command<J> {
    type Result = QueueReply<J>;
}
