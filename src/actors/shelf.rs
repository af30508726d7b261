//! The group's own shelf of dead letters, for queues that have none.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rules::store::DeadSelection;
use crate::words::{DeadLetter, JobId};

/// Dead letters, oldest first, at most as many as the configuration says. It outlives every actor of the group.
pub(crate) struct Shelf<J> {
    letters: Mutex<VecDeque<DeadLetter<J>>>,
    most: usize,
}

impl<J> Shelf<J> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            letters: Mutex::new(VecDeque::new()),
            most,
        }
    }

    /// Keeps a dead letter. Returns the jobs of those that had to go for it.
    pub(crate) fn keep(&self, letter: DeadLetter<J>) -> Vec<JobId> {
        let mut letters = self.lock();
        letters.push_back(letter);
        let surplus = letters.len().saturating_sub(self.most);
        let gone: Vec<_> = letters.drain(..surplus).collect();
        // Payloads are the user's, and their `Drop` may do anything; so they are dropped after the lock.
        drop(letters);
        gone.iter().map(DeadLetter::id).collect()
    }

    /// The oldest ones.
    pub(crate) fn list(&self, most: usize) -> Vec<DeadLetter<J>> {
        self.lock().iter().take(most).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes out those that are meant, oldest first.
    pub(crate) fn take(&self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let mut letters = self.lock();
        let (taken, left): (VecDeque<_>, _) =
            std::mem::take(&mut *letters)
                .into_iter()
                .partition(|letter: &DeadLetter<J>| match which {
                    DeadSelection::All => true,
                    DeadSelection::Jobs(jobs) => jobs.contains(&letter.id()),
                });
        *letters = left;
        taken.into()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<DeadLetter<J>>> {
        // Nothing under this lock runs code of the user, so it cannot be poisoned half way.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
