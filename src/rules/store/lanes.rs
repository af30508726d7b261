//! The ready jobs: a lane for each priority.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::blocks::ReadyBlock;
use super::record::Record;
use super::thrift::give_back;
use crate::words::Priority;

/// What comes in order and leaves in order.
pub(super) enum Fresh<J> {
    /// A job.
    Job(Record<J>),
    /// Jobs of a block; at least one.
    Block(ReadyBlock<J>),
}

impl<J> Fresh<J> {
    /// The number of the oldest job.
    fn oldest(&self) -> u64 {
        match self {
            Self::Job(record) => record.seq,
            Self::Block(ready) => ready.oldest(),
        }
    }
}

/// Ready jobs of one priority, in two parts; the next job is the older of the two heads.
struct Lane<J> {
    /// Jobs that came in order and leave in order: almost all of them. Their numbers ascend.
    fresh: VecDeque<Fresh<J>>,
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
            return self.pop_fresh();
        };
        match self.fresh.front() {
            Some(fresh) if fresh.oldest() < returned => self.pop_fresh(),
            _ => self.sorted.pop_first().map(|(_, record)| record),
        }
    }

    /// The oldest of the fresh jobs, out of its block if it stands in one.
    fn pop_fresh(&mut self) -> Option<Record<J>> {
        match self.fresh.pop_front()? {
            Fresh::Job(record) => Some(record),
            Fresh::Block(mut ready) => {
                let place = ready.places.take_first(1).lowest()?;
                let record = ready.record(place);
                if !ready.places.is_empty() {
                    self.fresh.push_front(Fresh::Block(ready));
                }
                Some(record)
            }
        }
    }

    /// Takes up to `wanted` jobs and lowers it by as many.
    fn pop_many(&mut self, wanted: &mut usize, mut take: impl FnMut(Fresh<J>)) {
        while !self.sorted.is_empty()
            && *wanted > 0
            && let Some(record) = self.pop()
        {
            *wanted -= 1;
            take(Fresh::Job(record));
        }
        while *wanted > 0
            && let Some(fresh) = self.fresh.pop_front()
        {
            match fresh {
                Fresh::Job(record) => {
                    *wanted -= 1;
                    take(Fresh::Job(record));
                }
                Fresh::Block(mut rest) => {
                    let places = rest.places.take_first(*wanted);
                    *wanted -= places.len();
                    let (block, seq) = (Arc::clone(&rest.block), rest.seq);
                    if !rest.places.is_empty() {
                        self.fresh.push_front(Fresh::Block(rest));
                    }
                    take(Fresh::Block(ReadyBlock { block, seq, places }));
                }
            }
        }
        give_back(&mut self.fresh);
    }
}

/// All ready jobs.
pub(super) struct Lanes<J> {
    /// The lane of priority 0, the least urgent one and that of most jobs. It stands alone so that it need not be looked up.
    plain: Lane<J>,
    /// The other lanes, the most urgent first. An empty lane stays: there are at most 255.
    urgent: BTreeMap<Reverse<Priority>, Lane<J>>,
    /// Jobs in all lanes together.
    len: usize,
}

impl<J> Lanes<J> {
    pub(super) fn new() -> Self {
        Self {
            plain: Lane::default(),
            urgent: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a job that is younger than every other one of its priority and never leaves from the middle.
    #[inline]
    pub(super) fn push_back(&mut self, record: Record<J>) {
        self.len += 1;
        self.lane(&record).fresh.push_back(Fresh::Job(record));
    }

    /// Adds jobs of a block that are younger than all others. Jobs in blocks have the least urgent priority.
    pub(super) fn push_block(&mut self, ready: ReadyBlock<J>) {
        self.len += ready.places.len();
        self.plain.fresh.push_back(Fresh::Block(ready));
    }

    /// Adds a job at the place that its number gives it.
    pub(super) fn insert(&mut self, record: Record<J>) {
        self.len += 1;
        self.lane(&record).sorted.insert(record.seq, record);
    }

    #[inline]
    fn lane(&mut self, record: &Record<J>) -> &mut Lane<J> {
        match record.job.priority() {
            Priority(0) => &mut self.plain,
            priority => self.urgent.entry(Reverse(priority)).or_default(),
        }
    }

    /// Takes out a job that was added by [`insert`](Self::insert).
    pub(super) fn remove(&mut self, priority: Priority, seq: u64) -> Option<Record<J>> {
        let lane = match priority {
            Priority(0) => &mut self.plain,
            priority => self.urgent.get_mut(&Reverse(priority))?,
        };
        let record = lane.sorted.remove(&seq)?;
        self.len -= 1;
        Some(record)
    }

    /// Takes up to `most` jobs, the most urgent first, then the oldest first.
    pub(super) fn pop(&mut self, most: usize, mut take: impl FnMut(Fresh<J>)) {
        let mut wanted = most.min(self.len);
        self.len -= wanted;
        for lane in self.urgent.values_mut().chain([&mut self.plain]) {
            lane.pop_many(&mut wanted, &mut take);
            if wanted == 0 {
                return;
            }
        }
    }

    /// Takes the oldest job of the least urgent lane that has one, if it is not more urgent than `priority`.
    pub(super) fn pop_least(&mut self, priority: Priority) -> Option<Record<J>> {
        let mut urgent = self.urgent.range_mut(Reverse(priority)..).rev();
        let plain = self.plain.pop();
        let record = plain.or_else(|| urgent.find_map(|(_, lane)| lane.pop()))?;
        self.len -= 1;
        Some(record)
    }

    /// Takes all jobs, in no order: blocks as they are, the others as records.
    pub(super) fn take_all(&mut self, blocks: &mut Vec<ReadyBlock<J>>, records: &mut Vec<Record<J>>) {
        self.len = 0;
        let urgent = std::mem::take(&mut self.urgent);
        let plain = std::mem::take(&mut self.plain);
        for lane in urgent.into_values().chain([plain]) {
            for fresh in lane.fresh {
                match fresh {
                    Fresh::Job(record) => records.push(record),
                    Fresh::Block(ready) => blocks.push(ready),
                }
            }
            records.extend(lane.sorted.into_values());
        }
    }

    /// Places for which there is memory, used or not.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        let lanes = self.urgent.values().chain([&self.plain]);
        lanes.map(|lane| lane.fresh.capacity()).sum()
    }
}
