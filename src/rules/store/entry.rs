//! Entries: jobs of one block that stand together in the store, wherever that is: ready, on the shelf or leased.

use crate::types::{AttemptRecord, DeadLetter, DeadReason, JobId, JobRef, Moment, Places, Priority, Run};

/// Jobs that stand together. 32 bytes; everything else is with the jobs.
///
/// Those that wait have neighbouring numbers, so that no job comes to stand between them.
pub(super) struct Entry<J> {
    /// The jobs. The store holds them until they end.
    pub(super) run: Run<J>,
    /// The place of the block's first job in the order of acceptance; the others follow. Given at the push and kept over
    /// retries; only a requeue gives a new one.
    pub(super) seq: u64,
    /// What happened before. Absent for the many jobs to which nothing did; one that has a past is alone in its entry.
    past: Option<Box<Past>>,
}

/// What happened to a job so far.
#[derive(Default)]
struct Past {
    /// Attempts that count. The attempt of a lease is the one after them.
    attempts: u32,
    records: Vec<AttemptRecord>,
}

impl<J> Entry<J> {
    /// Jobs that nobody has tried, without a number.
    pub(super) fn new(run: Run<J>) -> Self {
        Self {
            run,
            seq: 0,
            past: None,
        }
    }

    /// A job that comes back from the dead letters, with its history, without a number.
    pub(super) fn with_history(run: Run<J>, records: Vec<AttemptRecord>) -> Self {
        let past = (!records.is_empty()).then(|| Box::new(Past { attempts: 0, records }));
        Self {
            past,
            ..Self::new(run)
        }
    }

    /// How many jobs.
    pub(super) fn len(&self) -> usize {
        self.run.len()
    }

    /// The number of the oldest job: no two entries of a store share it.
    pub(super) fn oldest(&self) -> u64 {
        self.seq + u64::from(self.first())
    }

    fn first(&self) -> u8 {
        self.run.places.lowest().unwrap_or(0)
    }

    /// The name of the oldest job.
    pub(super) fn id(&self) -> JobId {
        self.run.block.id(self.first())
    }

    pub(super) fn priority(&self) -> Priority {
        self.run.block.priority()
    }

    /// The jobs are not to begin after this moment. None also if they do not expire any more.
    pub(super) fn expires_at(&self) -> Option<Moment> {
        self.run.block.expires_at(self.first())
    }

    pub(super) fn has_expired(&self, now: Moment) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// The attempt that is made under a lease of these jobs.
    pub(super) fn attempt(&self) -> u32 {
        self.past
            .as_ref()
            .map_or(0, |past| past.attempts)
            .saturating_add(1)
    }

    /// An attempt is over: counts it if it counts, and notes how it ended. Past the bound the second oldest record goes: the
    /// first failure and the latest ones tell the most.
    pub(super) fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>, bound: usize) {
        if counts {
            let past = self.past.get_or_insert_default();
            past.attempts = past.attempts.saturating_add(1);
            self.run.block.forget_expiry(self.first());
        }
        if let Some(record) = record {
            let records = &mut self.past.get_or_insert_default().records;
            if records.len() >= bound.max(2) {
                records.remove(1);
            }
            records.push(record.clone());
        }
    }

    /// Takes these jobs out of the entry.
    pub(super) fn take(&mut self, places: Places) -> Self {
        self.run.places.remove(places);
        Self {
            run: self.run.part(places),
            seq: self.seq,
            past: self.past.take(),
        }
    }

    /// Takes out the first `most` jobs.
    pub(super) fn take_first(&mut self, most: usize) -> Self {
        let mut rest = self.run.places;
        let places = rest.take_first(most);
        self.take(places)
    }

    /// The jobs in entries that can wait: those of each have neighbouring numbers, and if some of them have begun, so that they
    /// do not expire any more, each is alone.
    pub(super) fn apart(mut self) -> impl Iterator<Item = Self> {
        let expires = self.run.block.expiry().is_some();
        std::iter::from_fn(move || {
            let mut rest = self.run.places;
            let places = if expires {
                rest.take_first(1)
            } else {
                rest.take_neighbours()
            };
            (!places.is_empty()).then(|| self.take(places))
        })
    }

    /// The jobs, each with its number.
    pub(super) fn into_jobs(self) -> impl Iterator<Item = (u64, JobRef<J>)> {
        let seq = self.seq;
        let numbers = self.run.places.iter().map(move |place| seq + u64::from(place));
        numbers.zip(self.run.into_jobs())
    }

    /// The dead letters of these jobs.
    pub(super) fn into_letters(
        mut self,
        reason: &DeadReason,
        at: Moment,
    ) -> impl Iterator<Item = DeadLetter<J>> {
        let mut history = self.past.take().map(|past| past.records).unwrap_or_default();
        let letter = move |(_, job)| DeadLetter {
            job,
            reason: reason.clone(),
            history: std::mem::take(&mut history),
            at,
        };
        self.into_jobs().map(letter)
    }

    /// The jobs were done. The memory of their block is used again, if nobody else holds it.
    pub(super) fn end(self) {
        let Run { block, places } = self.run;
        block.end(places);
        block.recycle();
    }
}
