//! The dead letters: bounded in number and in bytes, oldest first. The memory store and the durable queue keep theirs here.

use std::collections::{BTreeSet, VecDeque};

use super::DeadSelection;
use super::shrink::give_back;
use crate::types::{JobId, QueueConfig};

/// The dead letters that are kept.
pub(crate) struct DeadLetters<L> {
    /// The letters, with the bytes that each takes in memory.
    letters: VecDeque<(L, usize)>,
    /// The bytes of all of them.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<L> DeadLetters<L> {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        Self {
            letters: VecDeque::new(),
            bytes: 0,
            most: config.dead_letters,
            most_bytes: config.dead_letter_bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// The letters, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &L> {
        self.letters.iter().map(|(letter, _)| letter)
    }

    /// Keeps a dead letter. Whoever adds one then asks [`pop_surplus`](Self::pop_surplus) until there is none.
    pub(crate) fn add(&mut self, letter: L, bytes: usize) {
        self.bytes += bytes;
        self.letters.push_back((letter, bytes));
    }

    /// The oldest letter, if they are too many or too large.
    pub(crate) fn pop_surplus(&mut self) -> Option<L> {
        let is_over = self.letters.len() > self.most || self.bytes > self.most_bytes;
        self.pop_oldest_if(|_| is_over)
    }

    /// The oldest letter, if `goes` says so of it.
    pub(crate) fn pop_oldest_if(&mut self, goes: impl FnOnce(&L) -> bool) -> Option<L> {
        let (oldest, bytes) = match self.letters.front() {
            Some((oldest, _)) if goes(oldest) => self.letters.pop_front()?,
            _ => return None,
        };
        self.bytes -= bytes;
        Some(oldest)
    }

    /// Takes out those that `goes` names, asked from the oldest one on; the others stay in order.
    pub(crate) fn take(&mut self, mut goes: impl FnMut(&L) -> bool) -> Vec<L> {
        let mut taken = Vec::new();
        self.sift(|letter| {
            if !goes(&letter) {
                return Some(letter);
            }
            taken.push(letter);
            None
        });
        taken
    }

    /// Hands all letters to `keep`, from the oldest one on; what it gives back stays, in order.
    pub(crate) fn sift(&mut self, mut keep: impl FnMut(L) -> Option<L>) {
        self.letters = std::mem::take(&mut self.letters)
            .into_iter()
            .filter_map(|(letter, bytes)| keep(letter).map(|letter| (letter, bytes)))
            .collect();
        self.bytes = self.letters.iter().map(|(_, bytes)| bytes).sum();
        give_back(&mut self.letters);
    }

    /// Takes out all letters, with their bounds.
    #[cfg(feature = "durable")]
    pub(crate) fn take_out(&mut self) -> Self {
        Self {
            letters: std::mem::take(&mut self.letters),
            bytes: std::mem::take(&mut self.bytes),
            ..*self
        }
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
