//! The group's own store of dead letters, for queues that have none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rules::store::{DeadLetters, DeadSelection, Selected};
use crate::types::{DeadLetter, JobId, QueueConfig, UnreadableJob};

/// Dead letters, oldest first, at most as many and as large as the configuration says. It outlives every actor of the group.
pub(crate) struct DeadLetterStore<J>(Mutex<DeadLetters<Kept<J>>>);

enum Kept<J> {
    Letter(DeadLetter<J>),
    Unreadable(UnreadableJob),
}

impl<J> Kept<J> {
    fn id(&self) -> JobId {
        match self {
            Self::Letter(letter) => letter.id(),
            Self::Unreadable(job) => job.id,
        }
    }

    fn letter(&self) -> Option<&DeadLetter<J>> {
        match self {
            Self::Letter(letter) => Some(letter),
            Self::Unreadable(_) => None,
        }
    }

    fn unreadable(&self) -> Option<&UnreadableJob> {
        match self {
            Self::Letter(_) => None,
            Self::Unreadable(job) => Some(job),
        }
    }
}

impl<J> DeadLetterStore<J> {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        Self(Mutex::new(DeadLetters::new(config)))
    }

    /// Keeps a dead letter. Returns the jobs of those that had to go for it.
    pub(crate) fn keep(&self, letter: DeadLetter<J>) -> Vec<JobId> {
        let bytes = letter.bytes();
        self.add(Kept::Letter(letter), bytes)
    }

    /// Keeps a job that cannot be read. Returns the jobs of those that had to go for it.
    pub(crate) fn keep_unreadable(&self, job: UnreadableJob) -> Vec<JobId> {
        let bytes = job.size();
        self.add(Kept::Unreadable(job), bytes)
    }

    fn add(&self, kept: Kept<J>, bytes: usize) -> Vec<JobId> {
        let mut letters = self.lock();
        letters.add(kept, bytes);
        let gone: Vec<_> = std::iter::from_fn(|| letters.pop_surplus()).collect();
        // Payloads are the user's, and their `Drop` may do anything; so they are dropped after the lock.
        drop(letters);
        gone.iter().map(Kept::id).collect()
    }

    /// The oldest ones that can be read.
    pub(crate) fn list(&self, most: usize) -> Vec<DeadLetter<J>> {
        let letters = self.lock();
        letters
            .iter()
            .filter_map(Kept::letter)
            .take(most)
            .cloned()
            .collect()
    }

    /// The oldest ones that cannot be read.
    pub(crate) fn unreadable(&self, most: usize) -> Vec<UnreadableJob> {
        let letters = self.lock();
        letters
            .iter()
            .filter_map(Kept::unreadable)
            .take(most)
            .cloned()
            .collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes out those that are meant and can be read, oldest first.
    pub(crate) fn take(&self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let which = Selected::new(which);
        let taken = self
            .lock()
            .take(|kept| kept.letter().is_some() && which.means(kept.id()));
        let letter = |kept| match kept {
            Kept::Letter(letter) => Some(letter),
            Kept::Unreadable(_) => None,
        };
        taken.into_iter().filter_map(letter).collect()
    }

    /// Forgets those that are meant. Returns how many.
    pub(crate) fn forget(&self, which: &DeadSelection) -> usize {
        let which = Selected::new(which);
        let gone = self.lock().take(|kept| which.means(kept.id()));
        gone.len()
    }

    fn lock(&self) -> MutexGuard<'_, DeadLetters<Kept<J>>> {
        // Nothing under this lock runs code of the user, so it cannot be poisoned half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
