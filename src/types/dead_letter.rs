//! Dead letters: jobs that will not be tried again, with their history.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Block, Cause, Incarnation, JobId, JobRef, Key, SlotId};

/// One line of a job's history: an attempt that did not end with an ack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// The attempt, counted from one.
    pub attempt: u32,
    /// Where it was made.
    pub slot: SlotId,
    /// By which life of the consumer there.
    pub incarnation: Incarnation,
    /// How it ended.
    pub cause: Cause,
    /// When it ended, by the group's clock.
    pub at: super::Moment,
}

impl AttemptRecord {
    /// The bytes that it takes. A text that others share counts for each who holds it.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.cause.bytes()
    }
}

impl fmt::Display for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attempt {} on {} ({}): {}",
            self.attempt, self.slot, self.incarnation, self.cause
        )
    }
}

/// Why a job became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DeadReason {
    /// A consumer rejected it, with these words, whatever attempt it was.
    Rejected(Arc<str>),
    /// Its last attempt failed or was abandoned, and no attempt is left.
    AttemptsUsedUp {
        /// How often it was tried.
        attempts: u32,
    },
    /// Its last attempt ended its consumer (a panic, a stop, a hang), and no attempt is left.
    Poison {
        /// How often it was tried.
        attempts: u32,
    },
    /// It waited longer than its producer allowed.
    Expired,
    /// The queue was full and its policy drops.
    DroppedByOverflow,
    /// Its bytes, from a disk or a broker, could not be read as a job, for this reason.
    Unreadable(Arc<str>),
}

impl DeadReason {
    /// The bytes of its text.
    fn bytes(&self) -> usize {
        match self {
            Self::Rejected(text) | Self::Unreadable(text) => text.len(),
            Self::AttemptsUsedUp { .. } | Self::Poison { .. } | Self::Expired | Self::DroppedByOverflow => 0,
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(text) => write!(f, "rejected: {text}"),
            Self::AttemptsUsedUp { attempts } => write!(f, "failed {attempts} times"),
            Self::Poison { attempts } => write!(f, "poison: ended its consumer, {attempts} attempts made"),
            Self::Expired => f.write_str("expired before it began"),
            Self::DroppedByOverflow => f.write_str("dropped because the queue was full"),
            Self::Unreadable(why) => write!(f, "its record could not be read: {why}"),
        }
    }
}

/// A job that will not be tried again, with everything that is known about it.
pub struct DeadLetter<J> {
    /// The job.
    pub job: JobRef<J>,
    /// Why it was given up.
    pub reason: DeadReason,
    /// Its attempts, oldest first. Bounded: the first attempt and the latest ones are kept.
    pub history: Vec<AttemptRecord>,
    /// When it was given up, by the group's clock.
    pub at: super::Moment,
}

impl<J> DeadLetter<J> {
    /// The name of the job.
    pub fn id(&self) -> JobId {
        self.job.id()
    }

    /// The bytes that this letter takes, as far as they can be told: what a payload owns on the heap is the user's.
    pub(crate) fn bytes(&self) -> usize {
        let history: usize = self.history.iter().map(AttemptRecord::bytes).sum();
        let key = match self.job.key() {
            Some(Key::Text(text)) => text.len(),
            Some(Key::Number(_)) | None => 0,
        };
        let arrival = self.job.arrival_bytes();
        size_of::<Self>() + size_of::<Block<J>>() + self.reason.bytes() + key + history + arrival
    }
}

impl<J> Clone for DeadLetter<J> {
    fn clone(&self) -> Self {
        Self {
            job: JobRef::clone(&self.job),
            reason: self.reason.clone(),
            history: self.history.clone(),
            at: self.at,
        }
    }
}

impl<J> fmt::Debug for DeadLetter<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("job", &self.job)
            .field("reason", &self.reason)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

impl<J> fmt::Display for DeadLetter<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        for record in &self.history {
            write!(f, "; {record}")?;
        }
        Ok(())
    }
}
