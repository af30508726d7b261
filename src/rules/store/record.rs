//! What the store keeps of one job, and the history that grows with its failures.

use crate::words::{AttemptRecord, Sealed};

/// One job in the store, wherever it stands: ready, on the shelf or leased. 40 bytes; everything else is the envelope's.
pub(super) struct Record<J> {
    /// The job. Shared with whoever holds the lease.
    pub(super) job: Sealed<J>,
    /// Its place in the order of acceptance. Given at the push and kept over retries; only a requeue gives a new one.
    pub(super) seq: u64,
    /// What went wrong so far. Absent for the many jobs with which nothing did.
    pub(super) history: Option<Box<History>>,
    /// Attempts that count. The attempt of a lease is the one after them.
    pub(super) attempts: u32,
    /// Whether the list of expiries names this job. Set at the push, cleared when the job is leased for the first time.
    pub(super) expires: bool,
}

impl<J> Record<J> {
    /// A job that nobody has tried.
    pub(super) fn new(job: Sealed<J>, seq: u64) -> Self {
        Self {
            job,
            seq,
            history: None,
            attempts: 0,
            expires: false,
        }
    }

    /// The attempt that is made under a lease of this record.
    pub(super) fn attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// The attempt is over: counts it if it counts, and notes how it ended.
    pub(super) fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>, bound: usize) {
        if counts {
            self.attempts = self.attempts.saturating_add(1);
            self.job.forget_expiry();
        }
        if let Some(record) = record {
            self.history.get_or_insert_default().note(record.clone(), bound);
        }
    }
}

/// Attempts that did not end with an ack, oldest first.
#[derive(Default)]
pub(super) struct History {
    records: Vec<AttemptRecord>,
}

impl History {
    /// The history of a job that comes back from the dead letters; none if it is empty.
    pub(super) fn of(records: Vec<AttemptRecord>) -> Option<Box<Self>> {
        (!records.is_empty()).then(|| Box::new(Self { records }))
    }

    /// Adds a record. Past the bound the second oldest goes: the first failure and the latest ones tell the most.
    fn note(&mut self, record: AttemptRecord, bound: usize) {
        if self.records.len() >= bound.max(2) {
            self.records.remove(1);
        }
        self.records.push(record);
    }

    /// The records themselves.
    pub(super) fn into_records(self) -> Vec<AttemptRecord> {
        self.records
    }
}
