//! The ready jobs: a lane for each priority.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::record::Record;
use super::thrift::give_back;
use crate::words::Priority;

/// Ready jobs of one priority, in two parts; the next job is the older of the two heads.
struct Lane<J> {
    /// Jobs that came in order and leave in order: almost all of them. Their numbers ascend.
    fresh: VecDeque<Record<J>>,
    /// Jobs that come to their place from elsewhere (a retry, a delay), or may have to leave from the middle (expiry).
    sorted: BTreeMap<u64, Record<J>>,
}

impl<J> Default for Lane<J> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            sorted: BTreeMap::new(),
        }
    }
}

impl<J> Lane<J> {
    fn pop(&mut self) -> Option<Record<J>> {
        let Some((&returned, _)) = self.sorted.first_key_value() else {
            return self.fresh.pop_front();
        };
        match self.fresh.front() {
            Some(fresh) if fresh.seq < returned => self.fresh.pop_front(),
            _ => self.sorted.pop_first().map(|(_, record)| record),
        }
    }
}

/// All ready jobs.
pub(super) struct Lanes<J> {
    /// The lanes, the most urgent first. An empty lane stays: there are at most 256.
    lanes: BTreeMap<Reverse<Priority>, Lane<J>>,
    /// Jobs in all lanes together.
    len: usize,
}

impl<J> Lanes<J> {
    pub(super) fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a job that is younger than every other one of its priority and never leaves from the middle.
    pub(super) fn push_back(&mut self, record: Record<J>) {
        self.len += 1;
        self.lane(&record).fresh.push_back(record);
    }

    /// Adds a job at the place that its number gives it.
    pub(super) fn insert(&mut self, record: Record<J>) {
        self.len += 1;
        self.lane(&record).sorted.insert(record.seq, record);
    }

    fn lane(&mut self, record: &Record<J>) -> &mut Lane<J> {
        self.lanes.entry(Reverse(record.job.priority())).or_default()
    }

    /// Takes out a job that was added by [`insert`](Self::insert).
    pub(super) fn remove(&mut self, priority: Priority, seq: u64) -> Option<Record<J>> {
        let record = self.lanes.get_mut(&Reverse(priority))?.sorted.remove(&seq)?;
        self.len -= 1;
        Some(record)
    }

    /// Takes up to `most` jobs, the most urgent first, then the oldest first.
    pub(super) fn pop(&mut self, most: usize, mut take: impl FnMut(Record<J>)) {
        let mut wanted = most.min(self.len);
        for lane in self.lanes.values_mut() {
            while wanted > 0
                && let Some(record) = lane.pop()
            {
                wanted -= 1;
                self.len -= 1;
                take(record);
            }
            give_back(&mut lane.fresh);
            if wanted == 0 {
                return;
            }
        }
    }

    /// Takes the oldest job of the least urgent lane that has one, if it is not more urgent than `priority`.
    pub(super) fn pop_least(&mut self, priority: Priority) -> Option<Record<J>> {
        let record = self
            .lanes
            .range_mut(Reverse(priority)..)
            .rev()
            .find_map(|(_, lane)| lane.pop())?;
        self.len -= 1;
        Some(record)
    }

    /// Takes all jobs, in no order.
    pub(super) fn take_all(&mut self, into: &mut Vec<Record<J>>) {
        self.len = 0;
        for lane in std::mem::take(&mut self.lanes).into_values() {
            into.extend(lane.fresh);
            into.extend(lane.sorted.into_values());
        }
    }

    /// Places for which there is memory, used or not.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.lanes.values().map(|lane| lane.fresh.capacity()).sum()
    }
}
