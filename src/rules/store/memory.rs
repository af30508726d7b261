//! The store of the built-in queue: everything in memory.

use std::sync::Arc;

use super::blocks::{BlockLeases, ReadyBlock, is_of_block};
use super::dead::{DeadLetters, Selected};
use super::dedup::Dedup;
use super::lanes::{Fresh, Lanes};
use super::leases::Leases;
use super::record::{History, Record};
use super::shelf::Shelf;
use super::{
    Admission, Asking, Bound, DeadSelection, Leased, LeasedBlock, LeasedRun, News, Refusal, Refused, Settled,
    Store,
};
use crate::words::{
    Block, Capabilities, DeadLetter, DeadReason, EventKind, JobId, LeaseId, Load, Moment, Places, Priority,
    QueueConfig, QueueCounts, Rejection, Retry, Sealed, Verdict, out_of_block,
};

/// Keeps jobs in memory, in the order of their priority and then of their acceptance.
///
/// A job that is given back keeps its number and with it its old place; so does a job whose delay has passed. A job
/// stands in exactly one of these: the lanes (ready), the shelf (delayed), the leases, the dead letters.
///
/// With [`Overflow::DropOldest`](crate::words::Overflow::DropOldest) the job that goes is the oldest *ready* one of the least urgent priority. Leased and
/// delayed jobs stay, and nothing goes for a job that is less urgent than itself: if there is no such job, the new one
/// goes.
///
/// While a job is leased its time is the group's; one that comes back from an attempt, or from the dead letters, does not
/// expire any more.
pub struct MemoryStore<J> {
    bound: Bound,
    /// The longest history of a job.
    history: usize,
    /// The number of the next job.
    next_seq: u64,
    lanes: Lanes<J>,
    shelf: Shelf<Record<J>>,
    leases: Leases<J>,
    blocks: BlockLeases<J>,
    dead: DeadLetters<DeadLetter<J>>,
    dedup: Dedup,
}

impl<J> MemoryStore<J> {
    /// An empty store. A capacity of 0 is taken for 1, a history of less than 2 for 2.
    pub fn new(config: &QueueConfig) -> Self {
        Self {
            bound: Bound::of_jobs(config.capacity.max(1), config.overflow),
            history: config.history.max(2),
            next_seq: 0,
            lanes: Lanes::new(),
            shelf: Shelf::default(),
            leases: Leases::new(),
            blocks: BlockLeases::new(),
            dead: DeadLetters::new(config),
            dedup: Dedup::new(config),
        }
    }

    fn unfinished(&self) -> usize {
        self.lanes.len() + self.shelf.len() + self.leased()
    }

    fn leased(&self) -> usize {
        self.leases.len() + self.blocks.jobs()
    }

    fn number(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// Takes one job in, or hands it back.
    fn admit(&mut self, now: Moment, job: Sealed<J>, news: &mut News<J>) -> Result<(), Refused<J>> {
        let asking = Asking {
            duplicate_of: job.dedup().and_then(|key| self.dedup.find(key)),
            is_expired: job.expires_at().is_some_and(|at| at <= now),
            bytes: 0,
        };
        let dead = match self.bound.admit(asking, self.unfinished(), 0) {
            Admission::Take => None,
            Admission::Bury(reason) => Some(reason),
            Admission::DropOldest if self.drop_oldest(now, job.priority(), news) => None,
            Admission::DropOldest => Some(DeadReason::DroppedByOverflow),
            Admission::Refuse(refusal) => {
                if let Refusal::Duplicate { of } = refusal {
                    news.events.push(EventKind::Duplicate { job: job.id(), of });
                }
                return Err(Refused { job, refusal });
            }
            // It counts no bytes, so nobody waits for them.
            Admission::Wait => {
                let refusal = Refusal::Full;
                return Err(Refused { job, refusal });
            }
        };
        if let Some(key) = job.dedup() {
            self.dedup.note(now, key, job.id());
            self.forget_keys(now);
        }
        let record = Record::new(job, self.number());
        match dead {
            None => self.place(now, record),
            Some(reason) => self.bury(now, record, reason, news),
        }
        Ok(())
    }

    /// Takes a block in. If it does not fit as a whole, its jobs are taken one by one.
    fn admit_block(
        &mut self,
        now: Moment,
        block: Arc<Block<J>>,
        news: &mut News<J>,
        refused: &mut Vec<Refused<J>>,
    ) {
        let places = block.places();
        if self.unfinished() + places.len() > self.bound.capacity {
            for place in places.iter() {
                let job = Sealed::out_of_block(Arc::clone(&block), place);
                refused.extend(self.admit(now, job, news).err());
            }
            return;
        }
        let seq = self.next_seq;
        self.next_seq += places.len() as u64;
        self.lanes.push_block(ReadyBlock { block, seq, places });
    }

    /// Makes room for a job of this priority. False if there is none to go.
    fn drop_oldest(&mut self, now: Moment, priority: Priority, news: &mut News<J>) -> bool {
        let Some(mut oldest) = self.lanes.pop_least(priority) else {
            return false;
        };
        strike(&mut self.shelf, &mut oldest);
        self.bury(now, oldest, DeadReason::DroppedByOverflow, news);
        true
    }

    /// Gives a new job its place.
    fn place(&mut self, now: Moment, mut record: Record<J>) {
        record.expires = self.shelf.note_expiry(&record.job, record.seq);
        match record.job.not_before() {
            Some(due) if due > now => self.shelf.put(due, record.seq, record),
            _ if record.expires => self.lanes.insert(record),
            _ => self.lanes.push_back(record),
        }
    }

    /// Makes a dead letter of a job that stands nowhere else any more.
    fn bury(&mut self, now: Moment, record: Record<J>, reason: DeadReason, news: &mut News<J>) {
        let letter = DeadLetter {
            job: record.job,
            reason,
            history: record
                .history
                .map(|history| history.into_records())
                .unwrap_or_default(),
            at: now,
        };
        news.events.push(EventKind::DeadLettered {
            job: letter.id(),
            reason: letter.reason.clone(),
        });
        news.dead.push(letter.clone());
        let bytes = letter.bytes();
        self.dead.add(letter, bytes);
        while let Some(oldest) = self.dead.pop_surplus() {
            let job = oldest.id();
            news.events.push(EventKind::DeadLetterDropped { job });
        }
    }

    fn forget_keys(&mut self, now: Moment) {
        while self.dedup.pop_surplus(now).is_some() {}
    }

    fn retry(&mut self, now: Moment, mut record: Record<J>, retry: &Retry) {
        record.end_attempt(retry.counts, retry.record.as_ref(), self.history);
        if retry.after.is_zero() {
            self.lanes.insert(record);
        } else {
            self.shelf.put(now.after(retry.after), record.seq, record);
        }
    }

    fn reject(&mut self, now: Moment, mut record: Record<J>, rejection: &Rejection, news: &mut News<J>) {
        record.end_attempt(true, rejection.record.as_ref(), self.history);
        self.bury(now, record, rejection.reason.clone(), news);
    }

    /// Ends the lease and, if it lasted, does `then` with its job.
    fn end(&mut self, lease: LeaseId, attempt: u32, then: impl FnOnce(&mut Self, Record<J>)) -> Settled {
        let ended = if is_of_block(lease) {
            self.blocks.end(lease, attempt)
        } else {
            self.leases.end(lease, attempt)
        };
        Settled::applied(ended.map(|record| then(self, record)).is_some())
    }

    /// Does `then` with the job of a lease that goes on.
    fn keep(&mut self, lease: LeaseId, attempt: u32, then: impl FnOnce(&mut Record<J>)) -> Settled {
        let kept = if is_of_block(lease) {
            self.blocks.keep(lease, attempt, then)
        } else {
            self.leases.find(lease, attempt).map(then)
        };
        Settled::applied(kept.is_some())
    }

    /// Places for which the lanes have memory, used or not.
    #[cfg(test)]
    pub(super) fn reserved(&self) -> usize {
        self.lanes.reserved()
    }
}

impl<J: Send + Sync + 'static> Store<J> for MemoryStore<J> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::MEMORY
    }

    fn bound(&self) -> Option<Bound> {
        Some(self.bound)
    }

    fn push(&mut self, now: Moment, jobs: Vec<Sealed<J>>, news: &mut News<J>) -> Vec<Refused<J>> {
        self.wake(now, news);
        let mut refused = Vec::new();
        for job in jobs {
            if let Err(back) = self.admit(now, job, news) {
                refused.push(back);
            }
        }
        refused
    }

    fn push_loads(&mut self, now: Moment, loads: Vec<Load<J>>, news: &mut News<J>) -> Vec<Refused<J>> {
        self.wake(now, news);
        let mut refused = Vec::new();
        for load in loads {
            match load {
                Load::Job(job) => refused.extend(self.admit(now, job, news).err()),
                Load::Block(block) => self.admit_block(now, block, news, &mut refused),
            }
        }
        refused
    }

    fn lease(&mut self, now: Moment, most: usize, leased: &mut Vec<Leased<J>>, news: &mut News<J>) {
        let mut runs = Vec::new();
        self.lease_runs(now, most, &mut runs, news);
        for run in runs {
            match run {
                LeasedRun::Jobs(mut jobs) => leased.append(&mut jobs),
                LeasedRun::Blocks(blocks) => leased.extend(blocks.iter().flat_map(LeasedBlock::one_by_one)),
            }
        }
    }

    fn lease_runs(&mut self, now: Moment, most: usize, runs: &mut Vec<LeasedRun<J>>, news: &mut News<J>) {
        self.wake(now, news);
        let Self {
            lanes,
            leases,
            blocks,
            shelf,
            ..
        } = self;
        let most = if blocks.has_room() {
            most.min(leases.room())
        } else {
            0
        };
        let waiting = most.min(lanes.len());
        lanes.pop(most, |fresh| match fresh {
            Fresh::Job(mut record) => {
                strike(shelf, &mut record);
                let (attempt, job) = (record.attempt(), Sealed::clone(&record.job));
                let lease = leases.begin(record);
                let leased = Leased {
                    lease,
                    attempt,
                    job,
                    suspect: false,
                };
                match runs.last_mut() {
                    Some(LeasedRun::Jobs(jobs)) => jobs.push(leased),
                    _ => {
                        // Room for all is made once: where blocks stand in between, there are many short runs.
                        let room = if runs.is_empty() { waiting } else { 0 };
                        let mut jobs = Vec::with_capacity(room);
                        jobs.push(leased);
                        runs.push(LeasedRun::Jobs(jobs));
                    }
                }
            }
            Fresh::Block(ready) => {
                let (places, block) = (ready.places, Arc::clone(&ready.block));
                let lease = blocks.begin(ready);
                let leased = LeasedBlock { lease, places, block };
                match runs.last_mut() {
                    Some(LeasedRun::Blocks(blocks)) => blocks.push(leased),
                    _ => runs.push(LeasedRun::Blocks(vec![leased])),
                }
            }
        });
    }

    fn ack_places(&mut self, lease: LeaseId, places: Places) -> usize {
        self.blocks.finish(lease, places)
    }

    fn settle(
        &mut self,
        now: Moment,
        lease: LeaseId,
        attempt: u32,
        verdict: &Verdict,
        news: &mut News<J>,
    ) -> Settled {
        let history = self.history;
        match verdict {
            Verdict::Ack if is_of_block(lease) => self.end(lease, attempt, |_, _| ()),
            Verdict::Ack => Settled::applied(self.leases.finish(lease, attempt).is_some()),
            Verdict::Retry(retry) => {
                self.end(lease, attempt, |store, record| store.retry(now, record, retry))
            }
            Verdict::Reject(rejection) => self.end(lease, attempt, |store, record| {
                store.reject(now, record, rejection, news);
            }),
            Verdict::Renew(renewal) => self.keep(lease, attempt, |record| {
                record.end_attempt(renewal.counts, renewal.record.as_ref(), history);
            }),
            // What is in memory ends with its process, and knows of no begin.
            Verdict::Extend | Verdict::Begin(_) => self.keep(lease, attempt, |_| ()),
        }
    }

    fn take_back(&mut self, _now: Moment) -> usize {
        let mut back = Vec::new();
        self.leases.end_all(&mut back);
        self.blocks.end_all(&mut back);
        let returned = back.len();
        for mut record in back {
            // One that nobody has begun may have to go before the next supervisor comes.
            record.expires = self.shelf.note_expiry(&record.job, record.seq);
            self.lanes.insert(record);
        }
        returned
    }

    fn next_due(&self) -> Option<Moment> {
        self.shelf.next_due()
    }

    /// Expiry comes before delay: what is past its time is never leased, even if its delay has passed as well.
    fn wake(&mut self, now: Moment, news: &mut News<J>) {
        let Self { lanes, shelf, .. } = self;
        for record in shelf.take_expired(now, |priority, number| lanes.remove(priority, number)) {
            self.bury(now, record, DeadReason::Expired, news);
        }
        while let Some(record) = self.shelf.pop_due(now) {
            self.lanes.insert(record);
        }
        self.forget_keys(now);
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.lanes.len(),
            delayed: self.shelf.len(),
            leased: self.leased(),
            dead: self.dead.len(),
        }
    }

    fn dead_letters(&self, most: usize) -> Vec<DeadLetter<J>> {
        self.dead.iter().take(most).cloned().collect()
    }

    fn requeue(&mut self, now: Moment, which: &DeadSelection, news: &mut News<J>) -> Vec<JobId> {
        self.wake(now, news);
        let room = self.bound.capacity.saturating_sub(self.unfinished());
        let which = Selected::new(which);
        let (mut room, mut back) = (room, Vec::new());
        let taken = self.dead.take(|letter| {
            let goes = room > 0 && which.means(letter.id());
            room -= usize::from(goes);
            goes
        });
        for letter in taken {
            let job = letter.id();
            back.push(job);
            news.events.push(EventKind::Requeued { job });
            letter.job.forget_expiry();
            let mut record = Record::new(letter.job, self.number());
            record.history = History::of(letter.history);
            self.lanes.push_back(record);
        }
        back
    }

    fn purge(&mut self, which: &DeadSelection) -> usize {
        let which = Selected::new(which);
        self.dead.take(|letter| which.means(letter.id())).len()
    }

    fn take_unfinished(&mut self) -> Vec<Sealed<J>> {
        let (mut blocks, mut records) = (Vec::new(), Vec::with_capacity(self.unfinished()));
        self.lanes.take_all(&mut blocks, &mut records);
        self.shelf.take_all(&mut records);
        self.leases.end_all(&mut records);
        self.blocks.take_all(&mut blocks, &mut records);
        let mut jobs: Vec<(u64, Sealed<J>)> = records
            .into_iter()
            .map(|record| (record.seq, record.job))
            .collect();
        for ReadyBlock { block, seq, places } in whole(blocks) {
            let numbers = places.iter().map(|place| seq + u64::from(place));
            jobs.extend(numbers.zip(out_of_block(block, places)));
        }
        jobs.sort_unstable_by_key(|(seq, _)| *seq);
        jobs.into_iter().map(|(_, job)| job).collect()
    }
}

/// Strikes the job: it no longer expires.
#[inline]
fn strike<J>(shelf: &mut Shelf<Record<J>>, record: &mut Record<J>) {
    if record.expires {
        record.expires = false;
        shelf.strike(&record.job, record.seq);
    }
}

/// Puts the parts of each block together, so that it has one holder and its jobs can be taken out of it.
fn whole<J>(mut parts: Vec<ReadyBlock<J>>) -> Vec<ReadyBlock<J>> {
    parts.sort_unstable_by_key(|part| part.seq);
    let mut whole: Vec<ReadyBlock<J>> = Vec::with_capacity(parts.len());
    for part in parts {
        match whole.last_mut() {
            // The number of the first place is the block's alone.
            Some(last) if last.seq == part.seq => last.places.add(part.places),
            _ => whole.push(part),
        }
    }
    whole
}
