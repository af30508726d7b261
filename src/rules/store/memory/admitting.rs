//! Whether the memory store takes a job, and what it does when it is full.

use super::{MemoryStore, note_expiry, strike};
use crate::rules::store::entry::Entry;
use crate::rules::store::{Admission, Asking, News, Refusal, Refused};
use crate::types::{DeadReason, EventKind, Moment, Priority, Run};

impl<J> MemoryStore<J> {
    /// Takes jobs in, or hands them back. They are asked about one by one unless it is plain that all of them are taken.
    pub(super) fn admit(
        &mut self,
        now: Moment,
        run: Run<J>,
        news: &mut News<J>,
        refused: &mut Vec<Refused<J>>,
    ) {
        let mut entry = Entry::new(run);
        let fits = self.unfinished() + entry.len() <= self.bound.capacity;
        if fits && !entry.has_expired(now) && entry.run.block.dedup().is_none() {
            let entry = self.numbered(entry);
            return self.place(now, entry);
        }
        while entry.len() > 0 {
            if let Err((entry, refusal)) = self.admit_one(now, entry.take_first(1), news) {
                refused.extend(entry.into_jobs().map(|(_, job)| Refused { job, refusal }));
            }
        }
    }

    /// Takes one job in, or hands it back.
    fn admit_one(
        &mut self,
        now: Moment,
        entry: Entry<J>,
        news: &mut News<J>,
    ) -> Result<(), (Entry<J>, Refusal)> {
        let (job, dedup) = (entry.id(), entry.run.block.dedup().cloned());
        let asking = Asking {
            duplicate_of: dedup.as_ref().and_then(|key| self.dedup.find(key)),
            is_expired: entry.has_expired(now),
            bytes: 0,
        };
        let dead = match self.bound.admit(asking, self.unfinished(), 0) {
            Admission::Take => None,
            Admission::Bury(reason) => Some(reason),
            Admission::DropOldest if self.drop_oldest(now, entry.priority(), news) => None,
            Admission::DropOldest => Some(DeadReason::DroppedByOverflow),
            Admission::Refuse(refusal) => {
                if let Refusal::Duplicate { of } = refusal {
                    news.events.push(EventKind::Duplicate { job, of });
                }
                return Err((entry, refusal));
            }
            // It counts no bytes, so nobody waits for them.
            Admission::Wait => return Err((entry, Refusal::Full)),
        };
        if let Some(key) = &dedup {
            self.dedup.note(now, key, job);
            self.forget_keys(now);
        }
        let entry = self.numbered(entry);
        match dead {
            None => self.place(now, entry),
            Some(reason) => self.bury(now, entry, &reason, news),
        }
        Ok(())
    }

    /// Makes room for a job of this priority. False if there is none to go.
    fn drop_oldest(&mut self, now: Moment, priority: Priority, news: &mut News<J>) -> bool {
        let Some(mut rest) = self.lanes.pop_least(priority) else {
            return false;
        };
        strike(&mut self.shelf, &rest);
        let oldest = rest.take_first(1);
        if rest.len() > 0 {
            note_expiry(&mut self.shelf, &rest);
            self.lanes.insert(rest);
        }
        self.bury(now, oldest, &DeadReason::DroppedByOverflow, news);
        true
    }
}
