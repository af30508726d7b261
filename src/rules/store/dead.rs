//! The dead letters: bounded in number and in bytes, oldest first.

use std::collections::{BTreeSet, VecDeque};

use super::thrift::give_back;
use super::{DeadSelection, News};
use crate::words::{DeadLetter, EventKind, JobId, QueueConfig};

/// The dead letters that are kept.
pub(super) struct DeadLetters<J> {
    letters: VecDeque<DeadLetter<J>>,
    /// The bytes of all of them.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<J> DeadLetters<J> {
    pub(super) fn new(config: &QueueConfig) -> Self {
        Self {
            letters: VecDeque::new(),
            bytes: 0,
            most: config.dead_letters,
            most_bytes: config.dead_letter_bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Keeps a dead letter and tells of it. If they are too many or too large, the oldest ones go.
    pub(super) fn add(&mut self, letter: DeadLetter<J>, news: &mut News<J>) {
        news.events.push(EventKind::DeadLettered {
            job: letter.id(),
            reason: letter.reason.clone(),
        });
        news.dead.push(letter.clone());
        self.bytes += letter.bytes();
        self.letters.push_back(letter);
        while (self.letters.len() > self.most || self.bytes > self.most_bytes)
            && let Some(oldest) = self.letters.pop_front()
        {
            self.bytes -= oldest.bytes();
            news.events
                .push(EventKind::DeadLetterDropped { job: oldest.id() });
        }
    }

    /// The oldest ones.
    pub(super) fn list(&self, most: usize) -> Vec<DeadLetter<J>> {
        self.letters.iter().take(most).cloned().collect()
    }

    /// Takes out up to `most` of those that are meant, oldest first; the others stay in order.
    pub(super) fn take(&mut self, which: &DeadSelection, most: usize) -> Vec<DeadLetter<J>> {
        let which = Selected::new(which);
        let mut taken = Vec::new();
        let mut left = VecDeque::new();
        for letter in self.letters.drain(..) {
            if taken.len() < most && which.means(letter.id()) {
                self.bytes -= letter.bytes();
                taken.push(letter);
            } else {
                left.push_back(letter);
            }
        }
        self.letters = left;
        give_back(&mut self.letters);
        taken
    }
}

/// A selection that is quick to ask.
pub(crate) enum Selected {
    All,
    Jobs(BTreeSet<JobId>),
}

impl Selected {
    pub(crate) fn new(which: &DeadSelection) -> Self {
        match which {
            DeadSelection::All => Self::All,
            DeadSelection::Jobs(jobs) => Self::Jobs(jobs.iter().copied().collect()),
        }
    }

    pub(crate) fn means(&self, job: JobId) -> bool {
        match self {
            Self::All => true,
            Self::Jobs(jobs) => jobs.contains(&job),
        }
    }
}
