//! The ready jobs: one lane for each priority.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::entry::Entry;
use super::shrink::give_back;
use crate::types::Priority;

/// The ready jobs of one priority.
struct Lane<J> {
    /// Jobs that came in order and leave in order: almost all of them. Their numbers ascend.
    fresh: VecDeque<Entry<J>>,
    /// Jobs that come to their place from elsewhere (a retry, a delay), or may have to leave from the middle (expiry), by their
    /// oldest number.
    sorted: BTreeMap<u64, Entry<J>>,
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
    fn pop(&mut self) -> Option<Entry<J>> {
        let Some((&returned, _)) = self.sorted.first_key_value() else {
            return self.fresh.pop_front();
        };
        match self.fresh.front() {
            Some(fresh) if fresh.oldest() < returned => self.fresh.pop_front(),
            _ => self.sorted.pop_first().map(|(_, entry)| entry),
        }
    }
}

/// All lanes.
pub(super) struct Lanes<J> {
    /// The lane of priority 0, the least urgent one and that of most jobs. It stands alone so that it need not be looked up.
    plain: Lane<J>,
    /// The other lanes, the most urgent first. An empty lane stays: there are at most 255.
    urgent: BTreeMap<Reverse<Priority>, Lane<J>>,
    /// Jobs in all lanes together.
    len: usize,
    /// Jobs in `plain`.
    plain_len: usize,
}

impl<J> Lanes<J> {
    pub(super) fn new() -> Self {
        Self {
            plain: Lane::default(),
            urgent: BTreeMap::new(),
            len: 0,
            plain_len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Urgent jobs in all lanes together.
    pub(super) fn urgent(&self) -> usize {
        self.len - self.plain_len
    }

    /// Adds jobs that are younger than every other one of their priority and never leave from the middle.
    #[inline]
    pub(super) fn push_back(&mut self, entry: Entry<J>) {
        self.count_in(&entry);
        self.lane(entry.priority()).fresh.push_back(entry);
    }

    /// Adds jobs at the place that their numbers give them.
    pub(super) fn insert(&mut self, entry: Entry<J>) {
        self.count_in(&entry);
        self.lane(entry.priority()).sorted.insert(entry.oldest(), entry);
    }

    #[inline]
    fn count_in(&mut self, entry: &Entry<J>) {
        self.len += entry.len();
        if entry.priority() == Priority(0) {
            self.plain_len += entry.len();
        }
    }

    fn count_out(&mut self, entry: &Entry<J>) {
        self.len -= entry.len();
        if entry.priority() == Priority(0) {
            self.plain_len -= entry.len();
        }
    }

    #[inline]
    fn lane(&mut self, priority: Priority) -> &mut Lane<J> {
        match priority {
            Priority(0) => &mut self.plain,
            priority => self.urgent.entry(Reverse(priority)).or_default(),
        }
    }

    /// Takes out jobs that were added by [`insert`](Self::insert).
    pub(super) fn remove(&mut self, priority: Priority, oldest: u64) -> Option<Entry<J>> {
        let entry = self.lane(priority).sorted.remove(&oldest)?;
        self.count_out(&entry);
        Some(entry)
    }

    /// Takes up to `most` jobs, the most urgent first, then the oldest first. `take` also sees what stays of an entry of which
    /// there are too many.
    pub(super) fn pop(&mut self, most: usize, mut take: impl FnMut(Entry<J>, Option<&Entry<J>>)) {
        let mut wanted = most.min(self.len);
        self.plain_len -= wanted.saturating_sub(self.urgent());
        self.len -= wanted;
        for lane in self.urgent.values_mut().chain([&mut self.plain]) {
            while wanted > 0
                && let Some(mut entry) = lane.pop()
            {
                if entry.len() <= wanted {
                    wanted -= entry.len();
                    take(entry, None);
                    continue;
                }
                let taken = entry.take_first(wanted);
                wanted = 0;
                take(taken, Some(&entry));
                // It stood in front of all others.
                if entry.expires_at().is_some() {
                    lane.sorted.insert(entry.oldest(), entry);
                } else {
                    lane.fresh.push_front(entry);
                }
            }
            give_back(&mut lane.fresh);
            if wanted == 0 {
                return;
            }
        }
    }

    /// Takes the oldest job of the least urgent lane that has one, if it is not more urgent than `priority`; the other jobs of
    /// its entry come with it.
    pub(super) fn pop_least(&mut self, priority: Priority) -> Option<Entry<J>> {
        let mut urgent = self.urgent.range_mut(Reverse(priority)..).rev();
        let plain = self.plain.pop();
        let entry = plain.or_else(|| urgent.find_map(|(_, lane)| lane.pop()))?;
        self.count_out(&entry);
        Some(entry)
    }

    /// Takes all jobs, in no order.
    pub(super) fn take_all(&mut self, into: &mut Vec<Entry<J>>) {
        (self.len, self.plain_len) = (0, 0);
        let urgent = std::mem::take(&mut self.urgent);
        let plain = std::mem::take(&mut self.plain);
        for lane in urgent.into_values().chain([plain]) {
            into.extend(lane.fresh);
            into.extend(lane.sorted.into_values());
        }
    }

    /// Places for which there is memory, used or not.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        let lanes = self.urgent.values().chain([&self.plain]);
        lanes.map(|lane| lane.fresh.capacity()).sum()
    }
}
