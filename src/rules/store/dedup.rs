//! The memory for deduplication keys, bounded in time and in number. The memory store and the durable queue keep theirs here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::shrink::give_back;
use crate::types::{JobId, Key, Moment, QueueConfig};

/// Which keys were accepted lately. A refused duplicate does not prolong the memory of its key.
pub(crate) struct Dedup {
    window: Duration,
    most: usize,
    /// The number of the next key.
    next: u64,
    /// The job that was accepted with each key.
    jobs: BTreeMap<Key, JobId>,
    /// The keys with their numbers, by the moment at which they were accepted. It holds exactly the keys of `jobs`.
    order: VecDeque<(Moment, Key, u64)>,
}

impl Dedup {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        Self {
            window: config.dedup_window,
            most: config.dedup_keys,
            next: 0,
            jobs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The job that was accepted with this key within the window.
    pub(crate) fn find(&self, key: &Key) -> Option<JobId> {
        self.jobs.get(key).copied()
    }

    /// Notes a key that is not known, and gives its number; `None` if no keys are kept. Afterwards
    /// [`pop_surplus`](Self::pop_surplus) is asked until there is none.
    pub(crate) fn note(&mut self, now: Moment, key: &Key, job: JobId) -> Option<u64> {
        let number = self.next;
        let is_new = self.most > 0 && self.jobs.insert(key.clone(), job).is_none();
        is_new.then(|| {
            self.order.push_back((now, key.clone(), number));
            self.next += 1;
            number
        })
    }

    /// Forgets the keys from this number on: their jobs were not accepted after all.
    #[cfg(feature = "durable")]
    pub(crate) fn forget_from(&mut self, number: u64) {
        while self.order.back().is_some_and(|(.., known)| *known >= number)
            && let Some((_, key, _)) = self.order.pop_back()
        {
            self.jobs.remove(&key);
        }
    }

    /// A key that an earlier process noted under this number, if it could be read.
    #[cfg(feature = "durable")]
    pub(crate) fn recover(&mut self, number: u64, key: Option<(Moment, Key, JobId)>) {
        self.next = number.saturating_add(1);
        if let Some((at, key, job)) = key {
            self.jobs.insert(key.clone(), job);
            self.order.push_back((at, key, number));
        }
    }

    /// Forgets the oldest key if its window has passed or if there are too many; gives its number.
    pub(crate) fn pop_surplus(&mut self, now: Moment) -> Option<u64> {
        let (at, ..) = self.order.front()?;
        if self.order.len() <= self.most && at.after(self.window) > now {
            return None;
        }
        let (_, key, number) = self.order.pop_front()?;
        self.jobs.remove(&key);
        give_back(&mut self.order);
        Some(number)
    }
}
