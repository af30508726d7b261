//! Jobs that wait for their time, and the list of jobs whose time may run out. The memory store and the durable queue keep
//! theirs here.

use std::collections::BTreeMap;

use crate::types::{JobView, Moment, Priority};

/// Jobs that wait for a delay of their producer or of a retry, and where to look for those that expire.
pub(crate) struct DelayedJobs<T> {
    /// By moment, then by age.
    waiting: BTreeMap<(Moment, u64), T>,
    /// The jobs that expire, by the moment at which they do. Whoever takes such a job out of lane or shelf strikes it here.
    expiries: BTreeMap<(Moment, u64), Expiring>,
}

struct Expiring {
    priority: Priority,
    /// Until then it stands on the shelf, afterwards in its lane.
    not_before: Option<Moment>,
}

impl<T> Default for DelayedJobs<T> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            expiries: BTreeMap::new(),
        }
    }
}

impl<T> DelayedJobs<T> {
    #[cfg(any(feature = "durable", feature = "testing"))]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps the job with this number until `due`.
    pub(crate) fn put(&mut self, due: Moment, number: u64, job: T) {
        self.waiting.insert((due, number), job);
    }

    /// When the next job is due, or expires.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        let due = self.waiting.first_key_value().map(|(&(due, _), _)| due);
        let expiry = self.expiries.first_key_value().map(|(&(at, _), _)| at);
        match (due, expiry) {
            (Some(due), Some(expiry)) => Some(due.min(expiry)),
            _ => due.or(expiry),
        }
    }

    /// The next job that is due, if one is. Ask first for those that have expired: what is past its time is never leased, even
    /// if its delay has passed as well.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<T> {
        let next = self.waiting.first_entry()?;
        (next.key().0 <= now).then(|| next.remove())
    }

    /// Takes out the jobs that have expired; `from_lane` takes those that do not stand on the shelf out of their lanes.
    pub(crate) fn take_expired(
        &mut self,
        now: Moment,
        mut from_lane: impl FnMut(Priority, u64) -> Option<T>,
    ) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(next) = self.expiries.first_entry()
            && next.key().0 <= now
        {
            let ((_, number), job) = next.remove_entry();
            let place = job.not_before.map(|due| (due, number));
            let here = place.and_then(|place| self.waiting.remove(&place));
            expired.extend(here.or_else(|| from_lane(job.priority, number)));
        }
        expired
    }

    /// Notes the job with this number if it expires; says whether it does.
    pub(crate) fn note_expiry<J>(&mut self, job: JobView<'_, J>, number: u64) -> bool {
        let Some(at) = job.expires_at() else {
            return false;
        };
        let expiring = Expiring {
            priority: job.priority(),
            not_before: job.not_before(),
        };
        self.expiries.insert((at, number), expiring);
        true
    }

    /// Strikes the job: it no longer expires.
    pub(crate) fn strike<J>(&mut self, job: JobView<'_, J>, number: u64) {
        if let Some(at) = job.expiry() {
            self.expiries.remove(&(at, number));
        }
    }

    /// Takes all jobs, in no order that matters.
    pub(super) fn take_all(&mut self, into: &mut Vec<T>) {
        into.extend(std::mem::take(&mut self.waiting).into_values());
        self.expiries.clear();
    }
}
