//! The store of the built-in queue: everything in memory.

mod admitting;

use crate::rules::store::dead::{DeadLetters, Selected};
use crate::rules::store::dedup::Dedup;
use crate::rules::store::delayed::DelayedJobs;
use crate::rules::store::entry::Entry;
use crate::rules::store::lanes::Lanes;
use crate::rules::store::leases::Leases;
use crate::rules::store::{Bound, DeadSelection, Leased, News, Refused, Settled, Store};
use crate::types::{
    Capabilities, DeadLetter, DeadReason, EventKind, JobId, JobRef, LeaseId, Moment, Places, QueueConfig,
    QueueCounts, Rejection, Retry, Run, Verdict,
};

/// Keeps jobs in memory, in the order of their priority and then of their acceptance.
///
/// A job that is given back keeps its number and with it its old place; so does a job whose delay has passed. A job
/// stands in exactly one of these: the lanes (ready), the shelf (delayed), the leases, the dead letters.
///
/// With [`Overflow::DropOldest`](crate::types::Overflow::DropOldest) the job that goes is the oldest *ready* one of the least urgent priority. Leased and
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
    shelf: DelayedJobs<Entry<J>>,
    /// Jobs on the shelf.
    delayed: usize,
    leases: Leases<J>,
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
            shelf: DelayedJobs::default(),
            delayed: 0,
            leases: Leases::new(),
            dead: DeadLetters::new(config),
            dedup: Dedup::new(config),
        }
    }

    fn unfinished(&self) -> usize {
        self.lanes.len() + self.delayed + self.leases.jobs()
    }

    /// Gives new jobs their numbers: as many as their block has places, whichever of them they have.
    fn numbered(&mut self, mut entry: Entry<J>) -> Entry<J> {
        entry.seq = self.next_seq;
        self.next_seq += entry.run.block.len() as u64;
        entry
    }

    /// Gives new jobs their place.
    fn place(&mut self, now: Moment, entry: Entry<J>) {
        note_expiry(&mut self.shelf, &entry);
        match entry.run.block.not_before() {
            Some(due) if due > now => self.delay(due, entry),
            _ if entry.expires_at().is_some() => self.lanes.insert(entry),
            _ => self.lanes.push_back(entry),
        }
    }

    fn delay(&mut self, due: Moment, entry: Entry<J>) {
        self.delayed += entry.len();
        self.shelf.put(due, entry.oldest(), entry);
    }

    /// Makes dead letters of jobs that stand nowhere else any more.
    fn bury(&mut self, now: Moment, entry: Entry<J>, reason: &DeadReason, news: &mut News<J>) {
        for letter in entry.into_letters(reason, now) {
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
    }

    fn forget_keys(&mut self, now: Moment) {
        while self.dedup.pop_surplus(now).is_some() {}
    }

    fn retry(&mut self, now: Moment, mut entry: Entry<J>, retry: &Retry) {
        entry.end_attempt(retry.counts, retry.record.as_ref(), self.history);
        if retry.after.is_zero() {
            self.lanes.insert(entry);
        } else {
            self.delay(now.after(retry.after), entry);
        }
    }

    fn reject(&mut self, now: Moment, mut entry: Entry<J>, rejection: &Rejection, news: &mut News<J>) {
        entry.end_attempt(true, rejection.record.as_ref(), self.history);
        self.bury(now, entry, &rejection.reason, news);
    }

    /// Ends the lease and, if it lasted, does `then` with its job.
    fn end(&mut self, lease: LeaseId, attempt: u32, then: impl FnOnce(&mut Self, Entry<J>)) -> Settled {
        match self.leases.end(lease, attempt) {
            Some(entry) => {
                then(self, entry);
                Settled::Applied
            }
            None => Settled::Refused(self.leases.refusal(lease)),
        }
    }

    /// Does `then` with the job of a lease that goes on.
    fn keep(&mut self, lease: LeaseId, attempt: u32, then: impl FnOnce(&mut Entry<J>)) -> Settled {
        match self.leases.keep(lease, attempt, then) {
            Some(()) => Settled::Applied,
            None => Settled::Refused(self.leases.refusal(lease)),
        }
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

    fn push(&mut self, now: Moment, runs: Vec<Run<J>>, news: &mut News<J>) -> Vec<Refused<J>> {
        self.wake(now, news);
        let mut refused = Vec::new();
        for run in runs {
            self.admit(now, run, news, &mut refused);
        }
        refused
    }

    fn lease(&mut self, now: Moment, most: usize, leased: &mut Vec<Leased<J>>, news: &mut News<J>) {
        self.wake(now, news);
        let Self {
            lanes, leases, shelf, ..
        } = self;
        lanes.pop(most.min(leases.room()), |entry, rest| {
            strike(shelf, &entry);
            if let Some(rest) = rest {
                note_expiry(shelf, rest);
            }
            let (attempt, run) = (entry.attempt(), entry.run.part(entry.run.places));
            leased.push(Leased::new(leases.begin(entry), attempt, run));
        });
    }

    fn urgent(&self) -> usize {
        self.lanes.urgent()
    }

    fn ack_places(&mut self, _now: Moment, lease: LeaseId, places: Places, _news: &mut News<J>) -> Places {
        self.leases.finish(lease, places)
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
            Verdict::Ack => self.end(lease, attempt, |_, entry| entry.end()),
            Verdict::Retry(retry) => self.end(lease, attempt, |store, entry| store.retry(now, entry, retry)),
            Verdict::Reject(rejection) => self.end(lease, attempt, |store, entry| {
                store.reject(now, entry, rejection, news);
            }),
            Verdict::Renew(renewal) => self.keep(lease, attempt, |entry| {
                entry.end_attempt(renewal.counts, renewal.record.as_ref(), history);
            }),
            // What is in memory ends with its process, and knows of no begin.
            Verdict::Extend | Verdict::Begin(_) => self.keep(lease, attempt, |_| ()),
        }
    }

    fn take_back(&mut self, _now: Moment) -> usize {
        let mut back = Vec::new();
        let returned = self.leases.jobs();
        self.leases.end_all(&mut back);
        for entry in back.into_iter().flat_map(Entry::apart) {
            // Jobs that nobody has begun may have to go before the next supervisor comes.
            note_expiry(&mut self.shelf, &entry);
            self.lanes.insert(entry);
        }
        returned
    }

    fn next_due(&self) -> Option<Moment> {
        self.shelf.next_due()
    }

    /// Expiry comes before delay: what is past its time is never leased, even if its delay has passed as well.
    fn wake(&mut self, now: Moment, news: &mut News<J>) {
        let Self {
            lanes,
            shelf,
            delayed,
            ..
        } = self;
        let expired = shelf.take_expired(now, |priority, oldest| {
            // One from a lane was not delayed, so it is taken out of that sum for nothing below.
            let entry = lanes.remove(priority, oldest)?;
            *delayed += entry.len();
            Some(entry)
        });
        for entry in expired {
            self.delayed -= entry.len();
            self.bury(now, entry, &DeadReason::Expired, news);
        }
        while let Some(entry) = self.shelf.pop_due(now) {
            self.delayed -= entry.len();
            self.lanes.insert(entry);
        }
        self.forget_keys(now);
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.lanes.len(),
            delayed: self.delayed,
            leased: self.leases.jobs(),
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
            let entry = self.numbered(Entry::with_history(letter.job.into(), letter.history));
            self.lanes.push_back(entry);
        }
        back
    }

    fn purge(&mut self, which: &DeadSelection) -> usize {
        let which = Selected::new(which);
        self.dead.take(|letter| which.means(letter.id())).len()
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<J>> {
        let mut entries = Vec::new();
        self.lanes.take_all(&mut entries);
        self.shelf.take_all(&mut entries);
        self.delayed = 0;
        self.leases.end_all(&mut entries);
        let mut jobs: Vec<_> = whole(entries).into_iter().flat_map(Entry::into_jobs).collect();
        jobs.sort_unstable_by_key(|(number, _)| *number);
        jobs.into_iter().map(|(_, job)| job).collect()
    }
}

fn note_expiry<J>(shelf: &mut DelayedJobs<Entry<J>>, entry: &Entry<J>) {
    if let Some(job) = entry.run.views().next() {
        shelf.note_expiry(job, entry.oldest());
    }
}

#[inline]
fn strike<J>(shelf: &mut DelayedJobs<Entry<J>>, entry: &Entry<J>) {
    if let Some(job) = entry.run.views().next() {
        shelf.strike(job, entry.oldest());
    }
}

/// Puts the parts of each block together, so that it has one holder and its jobs can be taken out of it.
fn whole<J>(mut parts: Vec<Entry<J>>) -> Vec<Entry<J>> {
    parts.sort_unstable_by_key(|part| part.seq);
    let mut whole: Vec<Entry<J>> = Vec::with_capacity(parts.len());
    for part in parts {
        match whole.last_mut() {
            // The number of the first place is the block's alone.
            Some(last) if last.seq == part.seq => last.run.places.add(part.run.places),
            _ => whole.push(part),
        }
    }
    whole
}
