//! The group's own store of dead letters, for queues that have none.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rules::store::DeadSelection;
use crate::types::{DeadLetter, JobId, QueueConfig};

/// Dead letters, oldest first, at most as many and as large as the configuration says. It outlives every actor of the group.
pub(crate) struct DeadLetterStore<J> {
    shelved: Mutex<KeptLetters<J>>,
    most: usize,
    most_bytes: usize,
}

struct KeptLetters<J> {
    letters: VecDeque<DeadLetter<J>>,
    /// The bytes of all of them.
    bytes: usize,
}

impl<J> DeadLetterStore<J> {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        Self {
            shelved: Mutex::new(KeptLetters {
                letters: VecDeque::new(),
                bytes: 0,
            }),
            most: config.dead_letters,
            most_bytes: config.dead_letter_bytes,
        }
    }

    /// Keeps a dead letter. Returns the jobs of those that had to go for it.
    pub(crate) fn keep(&self, letter: DeadLetter<J>) -> Vec<JobId> {
        let mut shelved = self.lock();
        shelved.bytes += letter.bytes();
        shelved.letters.push_back(letter);
        let mut gone = Vec::new();
        while (shelved.letters.len() > self.most || shelved.bytes > self.most_bytes)
            && let Some(oldest) = shelved.letters.pop_front()
        {
            shelved.bytes -= oldest.bytes();
            gone.push(oldest);
        }
        // Payloads are the user's, and their `Drop` may do anything; so they are dropped after the lock.
        drop(shelved);
        gone.iter().map(DeadLetter::id).collect()
    }

    /// The oldest ones.
    pub(crate) fn list(&self, most: usize) -> Vec<DeadLetter<J>> {
        self.lock().letters.iter().take(most).cloned().collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().letters.len()
    }

    /// Takes out those that are meant, oldest first.
    pub(crate) fn take(&self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let mut shelved = self.lock();
        let (taken, left): (VecDeque<_>, _) = std::mem::take(&mut shelved.letters).into_iter().partition(
            |letter: &DeadLetter<J>| match which {
                DeadSelection::All => true,
                DeadSelection::Jobs(jobs) => jobs.contains(&letter.id()),
            },
        );
        shelved.letters = left;
        shelved.bytes = shelved.letters.iter().map(DeadLetter::bytes).sum();
        taken.into()
    }

    fn lock(&self) -> MutexGuard<'_, KeptLetters<J>> {
        // Nothing under this lock runs code of the user, so it cannot be poisoned half way.
        self.shelved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
