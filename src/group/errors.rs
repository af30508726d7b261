//! What can go wrong for users of a group. Each error that concerns a job hands the job back.

use std::fmt;
use std::sync::Arc;

use crate::actors::{HostRunError, NoArbiter};
use crate::types::{ConfigError, DeadLetter, Job, JobId, JobRef, PayloadRef, WriteFailure};

/// What kind of a [`SendError`] it is: why the job was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The queue is full, and its policy is to reject or the producer does not wait.
    Full,
    /// The queue has to be asked whether it takes the job, which [`Producer::try_send`](super::Producer::try_send) cannot wait
    /// for.
    MustWait,
    /// A job with the same deduplication key was accepted within the window.
    Duplicate {
        /// The job that was accepted.
        of: JobId,
    },
    /// It was sent by a consumer to its own group, to wait for a result or for room, and every other consumer of the group waits
    /// so already: nobody would be left to end the wait. Send without waiting, use a second group, or have more consumers.
    WaitsForItself,
    /// The group is draining or has ended.
    Closed,
    /// The queue could not write the job down. What was accepted before is not touched.
    NotWritten(WriteFailure),
    /// The broker has not confirmed in time that it has the job. It may have it all the same: sent again it may be done twice.
    Unconfirmed,
    /// The broker knows of no queue to which the job could go.
    Unroutable,
    /// The job is larger than the queue, or its broker, takes.
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// Whoever keeps the jobs cannot be reached, or takes nothing for now. The job did not leave this process.
    Unavailable {
        /// What is wrong, for people; `Health::queue_state` says more.
        why: &'static str,
    },
    /// The payload has no form in the bytes in which the queue keeps it.
    NotEncoded,
    /// The payload could not be read back from its bytes as it was: a later process would not have it. The log says why.
    NotReadable,
    /// The group ended before the queue said whether it has the job. A queue on disk may have it.
    Unanswered {
        /// The name of the job, under which such a queue knows it.
        job: JobId,
    },
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the queue is full"),
            Self::WaitsForItself => f.write_str(
                "the group would wait for itself: every other consumer waits for it already; \
                 send without waiting, use a second group, or have more consumers",
            ),
            Self::MustWait => f.write_str("the queue has to be asked, which takes a `send` that waits"),
            Self::Duplicate { of } => write!(
                f,
                "a job with the same deduplication key was accepted before: {of}"
            ),
            Self::Closed => f.write_str("the group takes no more jobs"),
            Self::NotWritten(why) => write!(f, "the queue could not write the job down: {why}"),
            Self::Unconfirmed => f.write_str("the broker has not confirmed that it has the job"),
            Self::Unroutable => f.write_str("the broker has no queue for the job"),
            Self::TooLarge { bytes, most } => {
                write!(f, "the job has {bytes} bytes, and the queue takes {most} at most")
            }
            Self::Unavailable { why } => write!(f, "whoever keeps the jobs cannot be reached: {why}"),
            Self::NotEncoded => f.write_str("the payload cannot be written by the codec of the queue"),
            Self::NotReadable => f.write_str(
                "the payload would be read as another one, or not at all, by the codec of the queue",
            ),
            Self::Unanswered { job } => {
                write!(
                    f,
                    "the group ended before the queue said whether it has the job {job}"
                )
            }
        }
    }
}

/// A job that was not accepted. It comes back in `job`, with all that was wished for it.
#[non_exhaustive]
pub struct SendError<J> {
    /// The job. `None` only while the queue itself still holds it: it refused the job and kept it, or it did not answer
    /// before the group ended and somebody keeps the queue.
    pub job: Option<Job<J>>,
    /// Why.
    pub kind: SendErrorKind,
}

/// A batch of which not every job was accepted.
#[non_exhaustive]
pub struct BatchSendError<J> {
    /// The jobs that were accepted, in the order in which they were sent.
    pub accepted: Vec<JobId>,
    /// The jobs that were not, each with the reason, in the order in which they were sent.
    pub refused: Vec<SendError<J>>,
}

/// Why a call has no output.
#[non_exhaustive]
pub enum CallError<J> {
    /// The job was not accepted.
    Send(SendError<J>),
    /// The job was given up; the dead letter says why and holds the job and its history.
    Failed(Arc<DeadLetter<J>>),
    /// The group ended before the job did. The job, if it was still there.
    Stopped(Option<Undelivered<J>>),
}

/// The group has ended and cannot answer; or it is about to end, and takes no dead letter back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the group has ended or takes no more jobs")]
pub struct StoppedError;

/// Why a group did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A value of the configuration cannot be.
    #[error("the configuration cannot be used: {0}")]
    Config(#[from] ConfigError),
    /// No actor can be started here.
    #[error(transparent)]
    NoArbiter(#[from] NoArbiter),
    /// The host on which it was to start cannot start it.
    #[error(transparent)]
    Host(#[from] HostRunError),
    /// The builder was not told what the consumers are.
    #[error(
        "the group has no consumers; tell the builder with consumers(…), consume_with(…) or actor_consumers(…)"
    )]
    NoConsumers,
    /// The group was to keep order by key, which cannot be kept over its queue.
    #[error("the queue cannot keep order by key: {why}; leave `order_by_key` out, or take another queue")]
    OrderNotKept {
        /// Why.
        why: &'static str,
    },
}

/// A job of an ended group that was neither done nor given up.
///
/// The supervisor may have lost the news of a job that was in fact done; such a job is in here too.
#[derive(Clone)]
pub struct Undelivered<J> {
    job: JobRef<J>,
}

impl<J> Undelivered<J> {
    pub(crate) fn new(job: JobRef<J>) -> Self {
        Self { job }
    }

    pub(super) fn into_sealed(self) -> JobRef<J> {
        self.job
    }

    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.job.id()
    }

    /// What the producer sent, to look at.
    pub fn payload(&self) -> PayloadRef<'_, J> {
        self.job.payload()
    }

    /// Takes the job out, with all that was wished for it: see [`JobRef::into_job`].
    ///
    /// # Errors
    /// This itself, while somebody else (a consumer that blocks its thread, a dead letter) still holds the job.
    pub fn into_job(self) -> Result<Job<J>, Self> {
        self.job.into_job().map_err(Self::new)
    }
}

/// The job a failed call hands back.
impl<J> CallError<J> {
    /// The payload, where the error holds it, to look at.
    pub fn payload(&self) -> Option<PayloadRef<'_, J>> {
        match self {
            Self::Send(error) => error.job.as_ref().map(|job| PayloadRef::plain(job.payload())),
            Self::Failed(letter) => Some(letter.job.payload()),
            Self::Stopped(job) => job.as_ref().map(Undelivered::payload),
        }
    }

    /// The job with all that was wished for it, to send it again: see [`JobRef::into_job`]. `None` while somebody else holds it.
    pub fn into_job(self) -> Option<Job<J>> {
        match self {
            Self::Send(error) => error.job,
            Self::Failed(letter) => Arc::into_inner(letter)?.job.into_job().ok(),
            Self::Stopped(job) => job?.into_job().ok(),
        }
    }
}

// Payloads never appear in logs, so the errors implement `Debug` by hand, without the job, and for every payload.

impl<J> fmt::Debug for SendError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<J> fmt::Display for SendError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job was not accepted: {}", self.kind)
    }
}

impl<J> std::error::Error for SendError<J> {}

impl<J> fmt::Debug for BatchSendError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSendError")
            .field("accepted", &self.accepted.len())
            .field("refused", &self.refused)
            .finish()
    }
}

impl<J> fmt::Display for BatchSendError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (accepted, refused) = (self.accepted.len(), self.refused.len());
        write!(f, "{refused} of {} jobs were not accepted", accepted + refused)?;
        match self.refused.first() {
            Some(first) => write!(f, ": {}", first.kind),
            None => Ok(()),
        }
    }
}

impl<J> std::error::Error for BatchSendError<J> {}

impl<J> fmt::Debug for CallError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(error) => f.debug_tuple("Send").field(error).finish(),
            Self::Failed(letter) => f.debug_tuple("Failed").field(letter).finish(),
            Self::Stopped(job) => f.debug_tuple("Stopped").field(job).finish(),
        }
    }
}

impl<J> fmt::Display for CallError<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(error) => error.fmt(f),
            Self::Failed(letter) => write!(f, "the job was given up: {letter}"),
            Self::Stopped(_) => f.write_str("the group ended before the job was done"),
        }
    }
}

impl<J: 'static> std::error::Error for CallError<J> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Send(error) => Some(error),
            Self::Failed(_) | Self::Stopped(_) => None,
        }
    }
}

impl<J> fmt::Debug for Undelivered<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Undelivered").field(&self.job).finish()
    }
}
