//! Admission: which jobs are taken, and what number each gets. First they are admitted, then written, then placed: nothing is
//! leased that is not on disk.

use std::collections::BTreeMap;

use super::ready::Next;
use super::{Entry, Needed, State};
use crate::durable::engine::{Change, Table};
use crate::durable::format::{Accepted, Mark};
use crate::rules::store::{self as rules, Asking, Refusal};
use crate::types::{DeadReason, EventKind, JobId, JobRef, Key, Moment, Priority};

/// Jobs in one chunk at most. A chunk is read and forgotten as a whole.
const MOST_IN_CHUNK: usize = 1_024;

/// Bytes in one chunk, about, at most.
const MOST_BYTES: usize = 1 << 20;

/// What is decided about the jobs of one commit. Jobs are named by their place in it.
#[derive(Default)]
pub(in crate::durable) struct Admission {
    /// Chunks whose numbers are given, and the jobs in them.
    pub(in crate::durable) chunks: Vec<Admitted>,
    /// Jobs that get a record of their own, with their numbers and bytes.
    pub(in crate::durable) singles: Vec<(usize, u64, usize)>,
    /// Jobs that are not taken.
    pub(in crate::durable) refused: Vec<(usize, Refusal)>,
    /// Deduplication keys of this commit: number of the record, key, job.
    keys: Vec<(u64, Key, JobId)>,
    /// Chunks that still grow, by priority: the jobs, and their bytes.
    open: BTreeMap<u8, (Vec<usize>, usize)>,
    /// Jobs that are taken and not yet placed, and their bytes.
    taken: usize,
    bytes: u64,
}

/// A chunk of the commit.
pub(in crate::durable) struct Admitted {
    /// Its number, that of its first job.
    pub(in crate::durable) first: u64,
    pub(in crate::durable) priority: u8,
    pub(in crate::durable) jobs: Vec<usize>,
    /// The bytes of its jobs, as they are written.
    pub(in crate::durable) bytes: u32,
}

/// Whether it is decided what becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::durable) enum Decided {
    Yes,
    /// There is no room for its bytes, and its sender waits for that.
    Later,
}

impl Admission {
    /// Whether none of so many jobs was taken.
    pub(in crate::durable) fn refuses(&self, jobs: usize) -> bool {
        self.refused.len() == jobs
    }
}

impl Admitted {
    pub(in crate::durable) fn mark(&self) -> Mark {
        Mark {
            priority: self.priority,
            jobs: self.jobs.len() as u32,
            bytes: self.bytes,
            ..Mark::default()
        }
    }
}

impl<J: Send + Sync + 'static> State<J> {
    /// Decides about one job of `bytes` bytes. An error names a chunk that has to be loaded first, because its oldest job
    /// may have to go.
    pub(in crate::durable) fn admit(
        &mut self,
        now: Moment,
        (index, job, bytes): (usize, &JobRef<J>, usize),
        admission: &mut Admission,
        out: &mut Vec<Change>,
    ) -> Result<Decided, Needed> {
        if self.shell.is_closed() {
            admission.refused.push((index, Refusal::Closed));
            return Ok(Decided::Yes);
        }
        let asking = Asking {
            duplicate_of: job.dedup().and_then(|key| self.keys.find(key)),
            is_expired: job.expires_at().is_some_and(|at| at <= now),
            bytes: bytes as u64,
        };
        let dead = match self.ask(now, (job.priority(), asking), admission, out)? {
            rules::Admission::Take => None,
            rules::Admission::Bury(reason) => Some(reason),
            rules::Admission::DropOldest => Some(DeadReason::DroppedByOverflow),
            rules::Admission::Wait => return Ok(Decided::Later),
            rules::Admission::Refuse(refusal) => {
                if let Refusal::Duplicate { of } = refusal {
                    let duplicate = EventKind::Duplicate { job: job.id(), of };
                    self.shell.news().events.push(duplicate);
                }
                admission.refused.push((index, refusal));
                return Ok(Decided::Yes);
            }
        };
        if let Some(key) = job.dedup()
            && let Some(number) = self.keys.note(now, key, job.id())
        {
            admission.keys.push((number, key.clone(), job.id()));
        }
        if let Some(reason) = dead {
            self.bury_new(now, JobRef::clone(job), reason, Vec::new(), out);
            return Ok(Decided::Yes);
        }
        admission.taken += 1;
        admission.bytes += bytes as u64;
        let waits = job.not_before().is_some_and(|due| due > now);
        if waits || job.expires_at().is_some() {
            // What came before it in its priority gets smaller numbers.
            self.close_chunk(job.priority().0, admission);
            admission.singles.push((index, self.next, bytes));
            self.next += 1;
            return Ok(Decided::Yes);
        }
        let (jobs, gathered) = admission.open.entry(job.priority().0).or_default();
        jobs.push(index);
        *gathered += bytes;
        if jobs.len() >= MOST_IN_CHUNK || *gathered >= MOST_BYTES {
            self.close_chunk(job.priority().0, admission);
        }
        Ok(Decided::Yes)
    }

    /// Asks the rule until there is nothing more to drop for a job of this priority.
    fn ask(
        &mut self,
        now: Moment,
        (priority, asking): (Priority, Asking),
        admission: &Admission,
        out: &mut Vec<Change>,
    ) -> Result<rules::Admission, Needed> {
        loop {
            let answer = self
                .account
                .admit(asking, self.unfinished() + admission.taken, admission.bytes);
            if answer != rules::Admission::DropOldest || !self.drop_oldest(now, priority, out)? {
                return Ok(answer);
            }
        }
    }

    /// Makes room for a job of this priority. False if there is none to go.
    fn drop_oldest(
        &mut self,
        now: Moment,
        priority: Priority,
        out: &mut Vec<Change>,
    ) -> Result<bool, Needed> {
        let lanes = self.ready.priorities().into_iter().rev();
        for lane in lanes.take_while(|lane| *lane <= priority) {
            match self.ready.take_next(lane) {
                Next::Nothing => {}
                Next::Absent => return Err(self.ready.front_of(lane)),
                Next::Job(victim) => {
                    self.shelf.strike(victim.job.view(), victim.number);
                    self.bury(now, victim, DeadReason::DroppedByOverflow, out);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn close_chunk(&mut self, priority: u8, admission: &mut Admission) {
        if let Some((jobs, bytes)) = admission.open.remove(&priority) {
            let first = self.next;
            self.next += jobs.len() as u64;
            admission.chunks.push(Admitted {
                first,
                priority,
                jobs,
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            });
        }
    }

    /// Gives numbers to the chunks that still grow, and writes down the keys.
    pub(in crate::durable) fn close_chunks(
        &mut self,
        now: Moment,
        admission: &mut Admission,
        written: &mut Vec<Change>,
    ) {
        while let Some((&priority, _)) = admission.open.first_key_value() {
            self.close_chunk(priority, admission);
        }
        for (number, key, job) in &admission.keys {
            let accepted = Accepted {
                at: now.as_millis(),
                job: *job,
                key: key.clone(),
            };
            written.push(Change::Put(Table::Dedup, *number, accepted.write()));
        }
    }

    /// The jobs are on disk: from here on they can be leased.
    pub(in crate::durable) fn place(
        &mut self,
        now: Moment,
        admission: Admission,
        jobs: &[JobRef<J>],
        out: &mut Vec<Change>,
    ) {
        self.account.decided(jobs.len());
        self.forget_keys(now, out);
        for admitted in admission.chunks {
            self.account.change_bytes(0, u64::from(admitted.bytes));
            let jobs = admitted.jobs.iter().map_while(|index| jobs.get(*index).cloned());
            self.ready.add_chunk(admitted.first, admitted.mark(), jobs);
        }
        for (index, number, bytes) in admission.singles {
            if let Some(job) = jobs.get(index) {
                let bytes = bytes as u64;
                self.account.change_bytes(0, bytes);
                let entry = Entry {
                    bytes,
                    ..Entry::new(JobRef::clone(job), number)
                };
                self.place_single(now, entry, None);
            }
        }
    }

    /// Gives a job on its own its place: on the shelf until it is due, then in its lane.
    pub(super) fn place_single(&mut self, now: Moment, entry: Entry<J>, retry: Option<Moment>) {
        let due = match entry.tried {
            true => retry,
            false => entry.job.not_before(),
        };
        let due = due.filter(|due| *due > now);
        if !entry.tried {
            self.shelf.note_expiry(entry.job.view(), entry.number);
        }
        match due {
            Some(due) => self.shelf.put(due, entry.number, entry),
            None => self.ready.put(entry),
        }
    }

    /// The jobs could not be written: their keys are free again.
    pub(in crate::durable) fn forget_admission(&mut self, admission: &Admission) {
        if let Some((first, ..)) = admission.keys.first() {
            self.keys.forget_from(*first);
        }
    }
}
