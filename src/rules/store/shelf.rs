//! Jobs that wait for their time, and the list of jobs whose time may run out.

use std::collections::BTreeMap;

use super::record::Record;
use crate::words::{Moment, Priority};

/// Jobs that wait for a delay of their producer or of a retry.
pub(super) struct Shelf<J> {
    /// By moment, then by age.
    waiting: BTreeMap<(Moment, u64), Record<J>>,
}

impl<J> Shelf<J> {
    pub(super) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a job until `due`.
    pub(super) fn put(&mut self, due: Moment, record: Record<J>) {
        self.waiting.insert((due, record.seq), record);
    }

    /// When the next job is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.waiting.first_key_value().map(|(&(due, _), _)| due)
    }

    /// The next job that is due, if one is.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Record<J>> {
        let next = self.waiting.first_entry()?;
        (next.key().0 <= now).then(|| next.remove())
    }

    /// Takes out one job before its time.
    pub(super) fn remove(&mut self, due: Moment, seq: u64) -> Option<Record<J>> {
        self.waiting.remove(&(due, seq))
    }

    /// Takes all jobs, in no order that matters.
    pub(super) fn take_all(&mut self, into: &mut Vec<Record<J>>) {
        into.extend(std::mem::take(&mut self.waiting).into_values());
    }
}

/// Where to look for a job that expires.
pub(super) struct Expiring {
    pub(super) seq: u64,
    pub(super) priority: Priority,
    /// Until then it stands on the shelf, afterwards in its lane.
    pub(super) not_before: Option<Moment>,
}

/// The jobs that expire, by the moment at which they do. Whoever takes such a job out of lane or shelf strikes it here.
#[derive(Default)]
pub(super) struct Expiries {
    list: BTreeMap<(Moment, u64), Expiring>,
}

impl Expiries {
    /// Notes the job if it expires.
    pub(super) fn note<J>(&mut self, record: &mut Record<J>) {
        if let Some(at) = record.job.expires_at() {
            record.expires = true;
            let expiring = Expiring {
                seq: record.seq,
                priority: record.job.priority(),
                not_before: record.job.not_before(),
            };
            self.list.insert((at, record.seq), expiring);
        }
    }

    /// Strikes the job: it no longer expires.
    #[inline]
    pub(super) fn strike<J>(&mut self, record: &mut Record<J>) {
        if record.expires {
            self.strike_expiring(record);
        }
    }

    #[cold]
    fn strike_expiring<J>(&mut self, record: &mut Record<J>) {
        record.expires = false;
        if let Some(at) = record.job.expiry() {
            self.list.remove(&(at, record.seq));
        }
    }

    /// When the next job expires.
    pub(super) fn next(&self) -> Option<Moment> {
        self.list.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The next job that has expired, if one has.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Expiring> {
        let next = self.list.first_entry()?;
        (next.key().0 <= now).then(|| next.remove())
    }
}
