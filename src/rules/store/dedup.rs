//! The memory for deduplication keys, bounded in time and in number.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::thrift::give_back;
use crate::words::{JobId, Key, Moment};

/// Which keys were accepted lately. A refused duplicate does not prolong the memory of its key.
pub(super) struct Dedup {
    window: Duration,
    most: usize,
    /// The job that was accepted with each key.
    jobs: BTreeMap<Key, JobId>,
    /// The keys by the moment at which they were accepted. It holds exactly the keys of `jobs`.
    order: VecDeque<(Moment, Key)>,
}

impl Dedup {
    pub(super) fn new(window: Duration, most: usize) -> Self {
        Self {
            window,
            most,
            jobs: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The job that was accepted with this key within the window.
    pub(super) fn find(&self, key: &Key) -> Option<JobId> {
        self.jobs.get(key).copied()
    }

    /// Notes a key that is not known.
    pub(super) fn note(&mut self, now: Moment, key: &Key, job: JobId) {
        if self.most == 0 || self.jobs.insert(key.clone(), job).is_some() {
            return;
        }
        self.order.push_back((now, key.clone()));
        if self.order.len() > self.most {
            self.forget_oldest();
        }
    }

    /// Forgets the keys whose window has passed.
    pub(super) fn forget(&mut self, now: Moment) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| at.after(self.window) <= now)
        {
            self.forget_oldest();
        }
        give_back(&mut self.order);
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.jobs.remove(&key);
        }
    }
}
