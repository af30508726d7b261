//! Dead letters, and how jobs become them.

use std::time::Duration;

use super::{Entry, State};
use crate::durable::engine::{Change, Table};
use crate::rules::store::{DeadLetters, DeadSelection, News, Selected};
use crate::types::{
    AttemptRecord, DeadLetter, DeadReason, EventKind, JobId, JobRef, Moment, QueueConfig, UnreadableJob,
};

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
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.letter.as_ref().map_or(0, DeadLetter::bytes)
    }
}

/// The dead letters of the file, oldest first.
pub(super) struct DeadTable<J> {
    letters: DeadLetters<DeadEntry<J>>,
    /// The key of the next record.
    next: u64,
    /// How long they are kept, in milliseconds.
    age: Option<u64>,
}

impl<J> DeadTable<J> {
    pub(super) fn new(config: &QueueConfig, age: Option<Duration>) -> Self {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self {
            letters: DeadLetters::new(config),
            next: 0,
            age: age.map(millis),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// A letter that is in the file.
    pub(super) fn recover(&mut self, entry: DeadEntry<J>) {
        self.next = entry.number + 1;
        let bytes = entry.bytes();
        self.letters.add(entry, bytes);
    }

    /// Keeps a letter, and drops the oldest ones if there are too many.
    fn keep(
        &mut self,
        (at, id, letter): (u64, JobId, Option<DeadLetter<J>>),
        record: Vec<u8>,
        news: &mut News<J>,
        out: &mut Vec<Change>,
    ) {
        out.push(Change::Put(Table::Dead, self.next, record));
        self.recover(DeadEntry {
            number: self.next,
            at,
            id,
            letter,
        });
        while let Some(oldest) = self.letters.pop_surplus() {
            dropped(&oldest, news, out);
        }
    }

    /// Drops the letters that are older than they may be.
    pub(super) fn drop_old(&mut self, now: u64, news: &mut News<J>, out: &mut Vec<Change>) {
        while self.oldest_goes().is_some_and(|at| at <= now)
            && let Some(oldest) = self.letters.pop_oldest_if(|_| true)
        {
            dropped(&oldest, news, out);
        }
    }

    /// When the oldest letter has been kept for long enough, in milliseconds since the Unix epoch.
    pub(super) fn oldest_goes(&self) -> Option<u64> {
        let died = self.letters.iter().next()?.at;
        Some(died.saturating_add(self.age?))
    }
}

fn dropped<J>(oldest: &DeadEntry<J>, news: &mut News<J>, out: &mut Vec<Change>) {
    out.push(Change::Delete(Table::Dead, oldest.number));
    news.events.push(EventKind::DeadLetterDropped { job: oldest.id });
}

impl<J: Send + Sync + 'static> State<J> {
    /// Makes a dead letter of a job that stands nowhere else any more.
    pub(super) fn bury(&mut self, now: Moment, entry: Entry<J>, reason: DeadReason, out: &mut Vec<Change>) {
        self.erase(&entry, out);
        self.bury_new(now, entry.job, reason, entry.history, out);
    }

    /// Makes a dead letter of a job that is written nowhere.
    pub(super) fn bury_new(
        &mut self,
        now: Moment,
        job: JobRef<J>,
        reason: DeadReason,
        history: Vec<AttemptRecord>,
        out: &mut Vec<Change>,
    ) {
        let record = self.paper.dead(&job, now, &reason, &history);
        let letter = DeadLetter {
            job,
            reason,
            history,
            at: now,
        };
        self.shell.news().dead.push(letter.clone());
        let (id, reason) = (letter.id(), letter.reason.clone());
        self.keep_dead(now, (id, reason, Some(letter)), record, out);
    }

    /// Makes a dead letter of bytes that are no job for this program.
    pub(super) fn bury_unreadable(&mut self, now: Moment, job: UnreadableJob, out: &mut Vec<Change>) {
        let reason = DeadReason::Unreadable(job.reason);
        let record = self.paper.dead_bytes(&job.bytes, now, &reason, &[]);
        self.keep_dead(now, (job.id, reason, None), record, out);
    }

    fn keep_dead(
        &mut self,
        at: Moment,
        (job, reason, letter): (JobId, DeadReason, Option<DeadLetter<J>>),
        record: Vec<u8>,
        out: &mut Vec<Change>,
    ) {
        let at = at.as_millis();
        let news = self.shell.news();
        news.events.push(EventKind::DeadLettered { job, reason });
        self.dead.keep((at, job, letter), record, news, out);
    }

    /// The dead letters that can be read, oldest first.
    pub(in crate::durable) fn dead_letters(&self, most: usize) -> Vec<DeadLetter<J>> {
        let letters = self.dead.letters.iter();
        letters
            .filter_map(|dead| dead.letter.clone())
            .take(most)
            .collect()
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
        let wanted = self.dead.letters.iter().filter(|dead| meant(dead)).count();
        let mut room = self.account.acquire(wanted, self.unfinished());
        let mut back = Vec::new();
        let mut letters = self.dead.letters.take_out();
        letters.sift(|mut dead| {
            let goes = room > 0 && self.account.has_bytes() && meant(&dead);
            let Some(letter) = dead.letter.take_if(|_| goes) else {
                return Some(dead);
            };
            room -= 1;
            back.push(dead.id);
            out.push(Change::Delete(Table::Dead, dead.number));
            self.revive(letter, out);
            None
        });
        self.dead.letters = letters;
        back
    }

    fn revive(&mut self, letter: DeadLetter<J>, out: &mut Vec<Change>) {
        let job = letter.id();
        self.shell.news().events.push(EventKind::Requeued { job });
        letter.job.forget_expiry();
        let mut entry = Entry {
            tried: true,
            history: letter.history,
            ..Entry::new(letter.job, self.next)
        };
        self.next += 1;
        self.write_single(&mut entry, None, out);
        self.ready.put(entry);
    }

    /// Forgets dead letters. Returns how many.
    pub(in crate::durable) fn purge(&mut self, which: &DeadSelection, out: &mut Vec<Change>) -> usize {
        let which = Selected::new(which);
        let gone = self.dead.letters.take(|dead| which.means(dead.id));
        out.extend(gone.iter().map(|dead| Change::Delete(Table::Dead, dead.number)));
        gone.len()
    }
}
