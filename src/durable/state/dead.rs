//! Dead letters and deduplication keys: what is kept for a while.

use super::{Entry, State};
use crate::durable::engine::{Change, Table};
use crate::rules::store::{DeadSelection, Selected};
use crate::words::{DeadLetter, DeadReason, EventKind, JobId, Key, Moment, Sealed};

/// A dead letter of the index.
pub(super) struct DeadEntry<J> {
    /// The key of its record.
    pub(super) number: u64,
    /// When it died, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    pub(super) id: JobId,
    /// The letter; `None` for one whose payload this program cannot read. Its bytes are on disk.
    pub(super) letter: Option<DeadLetter<J>>,
}

impl<J> DeadEntry<J> {
    /// The bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.letter.as_ref().map_or(0, DeadLetter::bytes)
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// Makes a dead letter of a job that stands nowhere else any more.
    pub(super) fn bury(&mut self, now: Moment, entry: Entry<J>, reason: DeadReason, out: &mut Vec<Change>) {
        let record = self.paper.dead(&entry.job, now, &reason, &entry.history);
        self.erase(&entry, out);
        let letter = DeadLetter {
            job: entry.job,
            reason,
            history: entry.history,
            at: now,
        };
        self.news.dead.push(letter.clone());
        self.keep_dead(now, letter.id(), letter.reason.clone(), Some(letter), record, out);
    }

    /// Makes a dead letter of a job that never stood anywhere.
    pub(super) fn bury_new(
        &mut self,
        now: Moment,
        job: &Sealed<J>,
        reason: DeadReason,
        out: &mut Vec<Change>,
    ) {
        let record = self.paper.dead(job, now, &reason, &[]);
        let letter = DeadLetter {
            job: Sealed::clone(job),
            reason,
            history: Vec::new(),
            at: now,
        };
        self.news.dead.push(letter.clone());
        self.keep_dead(now, letter.id(), letter.reason.clone(), Some(letter), record, out);
    }

    /// Makes a dead letter of bytes that are no job for this program.
    pub(super) fn bury_unreadable(
        &mut self,
        now: Moment,
        id: JobId,
        why: &str,
        bytes: &[u8],
        out: &mut Vec<Change>,
    ) {
        let reason = DeadReason::Unreadable(why.into());
        let record = self.paper.dead_bytes(bytes, now, &reason, &[]);
        self.keep_dead(now, id, reason, None, record, out);
    }

    fn keep_dead(
        &mut self,
        at: Moment,
        id: JobId,
        reason: DeadReason,
        letter: Option<DeadLetter<J>>,
        record: Vec<u8>,
        out: &mut Vec<Change>,
    ) {
        self.news.events.push(EventKind::DeadLettered { job: id, reason });
        let number = self.next_dead;
        self.next_dead += 1;
        out.push(Change::Put(Table::Dead, number, record));
        let entry = DeadEntry {
            number,
            at: self.paper.unix(at),
            id,
            letter,
        };
        self.dead_bytes += entry.bytes();
        self.dead.push_back(entry);
        while !self.dead.is_empty()
            && (self.dead.len() > self.config.dead_letters || self.dead_bytes > self.config.dead_letter_bytes)
        {
            self.drop_oldest_letter(out);
        }
    }

    fn drop_oldest_letter(&mut self, out: &mut Vec<Change>) {
        if let Some(oldest) = self.dead.pop_front() {
            self.dead_bytes -= oldest.bytes();
            out.push(Change::Delete(Table::Dead, oldest.number));
            self.news
                .events
                .push(EventKind::DeadLetterDropped { job: oldest.id });
        }
    }

    /// Drops the dead letters that are older than they may be.
    pub(super) fn forget_old_letters(&mut self, now: Moment, out: &mut Vec<Change>) {
        while self.oldest_letter_goes().is_some_and(|at| at <= now) {
            self.drop_oldest_letter(out);
        }
    }

    /// When the oldest dead letter has been kept for long enough.
    pub(super) fn oldest_letter_goes(&self) -> Option<Moment> {
        let age = u64::try_from(self.dead_age?.as_millis()).unwrap_or(u64::MAX);
        let died = self.dead.front()?.at;
        Some(self.paper.moment(died.saturating_add(age)))
    }

    /// The dead letters that can be read, oldest first.
    pub(in crate::durable) fn dead_letters(&self, most: usize) -> Vec<DeadLetter<J>> {
        let letters = self.dead.iter().filter_map(|dead| dead.letter.clone());
        letters.take(most).collect()
    }

    /// Sends dead letters back to the ready jobs, as many as there is room for. Those that cannot be read stay.
    pub(in crate::durable) fn requeue(
        &mut self,
        now: Moment,
        which: &DeadSelection,
        out: &mut Vec<Change>,
    ) -> Vec<JobId> {
        self.wake(now, out);
        let which = Selected::new(which);
        let meant = |dead: &DeadEntry<J>| dead.letter.is_some() && which.means(dead.id);
        let wanted = self.dead.iter().filter(|dead| meant(dead)).count();
        let mut room = self.acquire(wanted);
        let mut back = Vec::new();
        let mut left = std::collections::VecDeque::new();
        for mut dead in std::mem::take(&mut self.dead) {
            let goes = room > 0 && self.bytes < self.bound.bytes && meant(&dead);
            match dead.letter.take_if(|_| goes) {
                None => left.push_back(dead),
                Some(letter) => {
                    room -= 1;
                    back.push(dead.id);
                    out.push(Change::Delete(Table::Dead, dead.number));
                    self.revive(letter, out);
                }
            }
        }
        self.dead = left;
        self.count_dead_bytes();
        back
    }

    fn revive(&mut self, letter: DeadLetter<J>, out: &mut Vec<Change>) {
        self.news.events.push(EventKind::Requeued { job: letter.id() });
        letter.job.forget_expiry();
        let mut entry = Entry {
            job: letter.job,
            number: self.next,
            chunk: None,
            bytes: 0,
            attempts: 0,
            tried: true,
            held: None,
            suspect: false,
            history: letter.history,
        };
        self.next += 1;
        self.write_single(&mut entry, None, out);
        self.put_alone(entry);
    }

    /// Forgets dead letters. Returns how many.
    pub(in crate::durable) fn purge(&mut self, which: &DeadSelection, out: &mut Vec<Change>) -> usize {
        let which = Selected::new(which);
        let before = self.dead.len();
        self.dead.retain(|dead| {
            let goes = which.means(dead.id);
            if goes {
                out.push(Change::Delete(Table::Dead, dead.number));
            }
            !goes
        });
        self.count_dead_bytes();
        before - self.dead.len()
    }

    fn count_dead_bytes(&mut self) {
        self.dead_bytes = self.dead.iter().map(DeadEntry::bytes).sum();
    }

    /// The job that was accepted with this deduplication key within the window.
    pub(super) fn known(&self, key: &Key) -> Option<JobId> {
        self.dedup.get(key).copied()
    }

    /// Forgets the keys whose window has passed, and the oldest ones if there are too many.
    pub(super) fn forget_keys(&mut self, now: Moment, out: &mut Vec<Change>) {
        let window = std::time::Duration::from_millis(self.config.dedup_window_ms);
        while self
            .keys
            .front()
            .is_some_and(|(at, ..)| at.after(window) <= now || self.keys.len() > self.config.dedup_keys)
        {
            if let Some((_, key, number)) = self.keys.pop_front() {
                self.dedup.remove(&key);
                out.push(Change::Delete(Table::Dedup, number));
            }
        }
    }
}
