//! Leasing and settling.

use super::{Entry, Needed, State};
use crate::durable::engine::Change;
use crate::durable::format::Held;
use crate::protocol::SettleReply;
use crate::rules::store::Leased;
use crate::words::{Epoch, LeaseId, Moment, Priority, SettleItem, Verdict};

/// Jobs that are read from the disk ahead of their lease.
const READ_AHEAD: usize = 8_192;

/// Chunks that are looked at for it, in each lane.
const CHUNKS_AHEAD: usize = 128;

/// What stands at the head of a lane.
pub(super) enum Head {
    Empty,
    Alone(u64),
    Chunk(u64),
    /// The chunk is on disk only.
    Absent,
}

impl<J: Send + Sync + 'static> State<J> {
    /// Leases up to `most` ready jobs. If the next job is not in memory, stops there; either way `needed` names the chunks
    /// that will be wanted next.
    pub(in crate::durable) fn lease(
        &mut self,
        now: Moment,
        epoch: Epoch,
        most: usize,
        out: &mut Vec<Change>,
        needed: &mut Needed,
    ) -> Vec<Leased<J>> {
        self.wake(now, out);
        let mut leased = Vec::new();
        if self.epoch != epoch || !self.is_attached {
            return leased;
        }
        if self.has_suspects() {
            self.lease_suspects(most, &mut leased, out);
            return leased;
        }
        let priorities: Vec<Priority> = self.lanes.keys().map(|priority| priority.0).collect();
        'lanes: for priority in priorities {
            while leased.len() < most {
                let entry = match self.head(priority) {
                    Head::Empty => continue 'lanes,
                    Head::Absent => break 'lanes,
                    Head::Alone(number) => self.take_alone(priority, number),
                    Head::Chunk(first) => self.take_fresh(priority, first),
                };
                let Some(entry) = entry else { break 'lanes };
                leased.push(self.begin(entry, out));
            }
        }
        self.read_ahead(needed);
        leased
    }

    pub(super) fn head(&self, priority: Priority) -> Head {
        let Some(lane) = self.lanes.get(&std::cmp::Reverse(priority)) else {
            return Head::Empty;
        };
        let alone = lane.singles.first_key_value().map(|(&number, _)| number);
        let Some(&first) = lane.chunks.front() else {
            return alone.map_or(Head::Empty, Head::Alone);
        };
        let chunk = self.chunks.get(&first);
        let fresh = first + chunk.map_or(0, |chunk| u64::from(chunk.mark.leased));
        match alone {
            Some(number) if number < fresh => Head::Alone(number),
            _ if chunk.is_some_and(|chunk| chunk.jobs.is_none()) => Head::Absent,
            _ => Head::Chunk(first),
        }
    }

    /// Takes the next job of a chunk that is in memory.
    pub(super) fn take_fresh(&mut self, priority: Priority, first: u64) -> Option<Entry<J>> {
        let chunk = self.chunks.get_mut(&first)?;
        let (place, job) = chunk.jobs.as_mut()?.pop_front()?;
        chunk.mark.leased = place + 1;
        self.fresh -= 1;
        self.touched.insert(first);
        self.drop_if_empty(priority, first);
        Some(Entry {
            chunk: Some(first),
            ..Entry::new(job, first + u64::from(place))
        })
    }

    /// A chunk whose last job was leased leaves its lane.
    pub(super) fn drop_if_empty(&mut self, priority: Priority, first: u64) {
        let Some(chunk) = self.chunks.get_mut(&first) else {
            return;
        };
        if chunk.jobs.as_ref().is_some_and(|jobs| jobs.is_empty()) {
            chunk.jobs = None;
            chunk.mark.leased = chunk.mark.jobs;
            self.resident = self.resident.saturating_sub(chunk.mark.bytes as usize);
            let chunks = &mut self.lane(priority).chunks;
            if chunks.front() == Some(&first) {
                chunks.pop_front();
            } else {
                chunks.retain(|other| *other != first);
            }
        }
    }

    /// Begins a lease. The attempt is noted on disk: in the mark of the chunk, or in a line of its own.
    pub(super) fn begin(&mut self, mut entry: Entry<J>, out: &mut Vec<Change>) -> Leased<J> {
        if let Some(at) = entry.job.expiry() {
            self.expiries.remove(&(at, entry.number));
        }
        entry.tried = true;
        // Of a job in a chunk the mark tells that it was leased.
        let held = (entry.chunk.is_none() || entry.suspect).then_some(Held::Leased);
        Self::write_held(&mut entry, held, out);
        self.must_flush |= self.is_careful && entry.number < self.first_own;
        let lease = LeaseId(self.next_lease);
        self.next_lease += 1;
        let leased = Leased {
            lease,
            attempt: entry.attempt(),
            job: entry.job.clone(),
            suspect: entry.suspect,
        };
        self.leases.insert(lease, entry);
        leased
    }

    /// Names the chunks at the head of the lanes that are on disk only, enough for the next leases.
    fn read_ahead(&mut self, needed: &mut Needed) {
        let has_memory = self.has_memory();
        let mut ahead = 0;
        for lane in self.lanes.values() {
            for first in lane.chunks.iter().take(CHUNKS_AHEAD) {
                if ahead >= READ_AHEAD || (ahead > 0 && !has_memory) {
                    return;
                }
                let Some(chunk) = self.chunks.get_mut(first) else {
                    continue;
                };
                ahead += (chunk.mark.jobs - chunk.mark.leased) as usize;
                if chunk.jobs.is_none() && !chunk.is_asked_for {
                    chunk.is_asked_for = true;
                    needed.push((*first, chunk.mark.clone()));
                }
            }
        }
    }

    /// Applies verdicts in order.
    pub(in crate::durable) fn settle(
        &mut self,
        now: Moment,
        epoch: Epoch,
        items: &[SettleItem],
        out: &mut Vec<Change>,
    ) -> SettleReply {
        if self.epoch != epoch || !self.is_attached {
            return SettleReply { stale: items.len() };
        }
        let stale = items
            .iter()
            .filter(|item| !self.settle_one(now, item, out))
            .count();
        SettleReply { stale }
    }

    fn settle_one(&mut self, now: Moment, item: &SettleItem, out: &mut Vec<Change>) -> bool {
        let std::collections::btree_map::Entry::Occupied(mut found) = self.leases.entry(item.lease) else {
            return false;
        };
        if found.get().attempt() != item.attempt {
            return false;
        }
        let most = self.config.history;
        match &item.verdict {
            Verdict::Extend => {}
            Verdict::Begin(begin) => {
                let held = Held::Begun {
                    with: *begin,
                    at: self.paper.unix(now),
                };
                Self::write_held(found.get_mut(), Some(held), out);
                // The job begins when this is answered, and whatever happens to the process then must be known.
                self.must_flush = true;
            }
            Verdict::Ack => {
                let mut entry = found.remove();
                self.cleared(&mut entry);
                self.erase(&entry, out);
            }
            Verdict::Renew(renewal) => {
                found
                    .get_mut()
                    .end_attempt(renewal.counts, renewal.record.as_ref(), most);
                let mut entry = found.remove();
                if renewal.counts {
                    self.cleared(&mut entry);
                }
                self.write_single(&mut entry, None, out);
                let held = (entry.chunk.is_none() || entry.suspect).then_some(Held::Leased);
                Self::write_held(&mut entry, held, out);
                self.leases.insert(item.lease, entry);
            }
            Verdict::Retry(retry) => {
                let mut entry = found.remove();
                entry.end_attempt(retry.counts, retry.record.as_ref(), most);
                if entry.suspect && !retry.counts {
                    self.suspects_leased -= 1;
                    self.wait_suspected(entry, out);
                    return true;
                }
                self.cleared(&mut entry);
                let due = (!retry.after.is_zero()).then(|| now.after(retry.after));
                self.write_single(&mut entry, due, out);
                self.release(&mut entry, out);
                match due {
                    Some(due) => drop(self.shelf.insert((due, entry.number), entry)),
                    None => self.put_alone(entry),
                }
            }
            Verdict::Reject(rejection) => {
                let mut entry = found.remove();
                entry.end_attempt(true, rejection.record.as_ref(), most);
                self.cleared(&mut entry);
                self.bury(now, entry, rejection.reason.clone(), out);
            }
        }
        true
    }

    /// The lease of a job ended and the attempt is told in its record.
    fn release(&self, entry: &mut Entry<J>, out: &mut Vec<Change>) {
        // The mark of a chunk cannot tell it.
        let held = entry.chunk.map(|_| Held::Released);
        Self::write_held(entry, held, out);
    }

    /// Takes back every lease, each to its old place. The attempts do not count.
    pub(in crate::durable) fn take_back(&mut self, out: &mut Vec<Change>) -> usize {
        // One that was cleared waits among the suspects while there are any: they go before everything else, and a later job of
        // its key would overtake it.
        let has_suspects = self.has_suspects();
        let leases = std::mem::take(&mut self.leases);
        let returned = leases.len();
        self.suspects_leased = 0;
        for mut entry in leases.into_values() {
            if entry.suspect || has_suspects {
                self.wait_suspected(entry, out);
                continue;
            }
            self.release(&mut entry, out);
            if let Some(at) = entry.job.expires_at() {
                // Nobody has begun it, and it may have to go before the next supervisor comes.
                self.expiries
                    .insert((at, entry.number), (None, entry.job.priority()));
            } else if entry.job.expiry().is_some() {
                // It has begun, which the next process must know as well.
                self.write_single(&mut entry, None, out);
            }
            self.put_alone(entry);
        }
        returned
    }
}
