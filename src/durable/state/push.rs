//! Admission: which jobs are taken, and what number each gets. First they are admitted, then written, then placed: nothing is
//! leased that is not on disk.

use std::collections::{BTreeMap, VecDeque};

use super::lease::Head;
use super::{Chunk, Entry, Needed, RESIDENT, State};
use crate::durable::engine::{Change, Table};
use crate::durable::format::{Accepted, Mark};
use crate::rules::store::Refusal;
use crate::words::{DeadReason, EventKind, JobId, Key, Moment, Overflow, Priority, Sealed};

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

/// What a full queue did for a new job.
enum Room {
    Made,
    Refused,
    JobGoes,
    Later,
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
        (index, job, bytes): (usize, &Sealed<J>, usize),
        admission: &mut Admission,
        out: &mut Vec<Change>,
    ) -> Result<Decided, Needed> {
        if let Some(refusal) = self.refusal(job) {
            admission.refused.push((index, refusal));
            return Ok(Decided::Yes);
        }
        let dead = if job.expires_at().is_some_and(|at| at <= now) {
            Some(DeadReason::Expired)
        } else {
            match self.room_for(now, (job.priority(), bytes), admission, out)? {
                Room::Made => None,
                Room::JobGoes => Some(DeadReason::DroppedByOverflow),
                Room::Later => return Ok(Decided::Later),
                Room::Refused => {
                    admission.refused.push((index, Refusal::Full));
                    return Ok(Decided::Yes);
                }
            }
        };
        if let Some(key) = job.dedup().filter(|_| self.config.dedup_keys > 0) {
            self.dedup.insert(key.clone(), job.id());
            admission.keys.push((self.next_key, key.clone(), job.id()));
            self.next_key += 1;
        }
        if let Some(reason) = dead {
            self.bury_new(now, job, reason, out);
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

    /// Why a job is not taken, whatever room there is.
    fn refusal(&mut self, job: &Sealed<J>) -> Option<Refusal> {
        if self.closed {
            return Some(Refusal::Closed);
        }
        let of = job.dedup().and_then(|key| self.known(key))?;
        self.news.events.push(EventKind::Duplicate { job: job.id(), of });
        Some(Refusal::Duplicate { of })
    }

    /// Room for a job of this priority and so many bytes, as the policy says.
    fn room_for(
        &mut self,
        now: Moment,
        (priority, bytes): (Priority, usize),
        admission: &Admission,
        out: &mut Vec<Change>,
    ) -> Result<Room, Needed> {
        let bytes = bytes as u64;
        loop {
            let one_fits = self.unfinished() + admission.taken < self.config.capacity;
            let wanted = self.bytes.saturating_add(admission.bytes).saturating_add(bytes);
            if one_fits && wanted <= self.capacity_bytes {
                return Ok(Room::Made);
            }
            let is_too_large = bytes > self.capacity_bytes;
            match self.config.overflow {
                // Jobs are waited for by their permits, bytes here: nobody knows them before they are written.
                Overflow::Wait if one_fits && !is_too_large => return Ok(Room::Later),
                Overflow::Wait | Overflow::Reject => return Ok(Room::Refused),
                Overflow::DropOldest if !is_too_large => match self.make_room(now, priority, out)? {
                    Room::Made => {}
                    other => return Ok(other),
                },
                Overflow::DropOldest | Overflow::DropNewest => return Ok(Room::JobGoes),
            }
        }
    }

    /// Drops a job to make room for one of this priority.
    fn make_room(&mut self, now: Moment, priority: Priority, out: &mut Vec<Change>) -> Result<Room, Needed> {
        // The oldest ready job of the least urgent priority that is not more urgent than the new one.
        let lanes: Vec<Priority> = self.lanes.keys().rev().map(|lane| lane.0).collect();
        for lane in lanes.into_iter().take_while(|lane| *lane <= priority) {
            let victim = match self.head(lane) {
                Head::Empty => continue,
                Head::Alone(number) => self.take_alone(lane, number),
                Head::Chunk(first) => self.take_fresh(lane, first),
                Head::Absent => return Err(self.front_of(lane)),
            };
            if let Some(victim) = victim {
                if let Some(at) = victim.job.expiry() {
                    self.expiries.remove(&(at, victim.number));
                }
                self.bury(now, victim, DeadReason::DroppedByOverflow, out);
                return Ok(Room::Made);
            }
        }
        Ok(Room::JobGoes)
    }

    fn front_of(&mut self, priority: Priority) -> Needed {
        let first = self.lane(priority).chunks.front().copied();
        let chunk = first.and_then(|first| self.chunks.get(&first).map(|chunk| (first, chunk.mark.clone())));
        chunk.into_iter().collect()
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
                at: self.paper.unix(now),
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
        jobs: &[Sealed<J>],
        out: &mut Vec<Change>,
    ) {
        for (number, key, _) in admission.keys {
            self.keys.push_back((now, key, number));
        }
        self.forget_keys(now, out);
        for admitted in admission.chunks {
            let fits = self.resident + admitted.bytes as usize <= RESIDENT;
            let mark = admitted.mark();
            let resident = fits.then(|| {
                self.resident += admitted.bytes as usize;
                let jobs = admitted.jobs.iter().map(|index| jobs.get(*index).cloned());
                (0..).zip(jobs.map_while(|job| job)).collect::<VecDeque<_>>()
            });
            self.fresh += admitted.jobs.len();
            self.bytes += u64::from(admitted.bytes);
            let chunk = Chunk {
                left: mark.jobs,
                bytes_left: u64::from(admitted.bytes),
                mark,
                jobs: resident,
                is_asked_for: false,
            };
            self.chunks.insert(admitted.first, chunk);
            self.lane(Priority(admitted.priority))
                .chunks
                .push_back(admitted.first);
        }
        for (index, number, bytes) in admission.singles {
            if let Some(job) = jobs.get(index) {
                let bytes = bytes as u64;
                self.bytes += bytes;
                let entry = Entry {
                    bytes,
                    ..Entry::new(Sealed::clone(job), number)
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
        if let Some(at) = entry.job.expires_at().filter(|_| !entry.tried) {
            self.expiries
                .insert((at, entry.number), (due, entry.job.priority()));
        }
        match due {
            Some(due) => drop(self.shelf.insert((due, entry.number), entry)),
            None => self.put_alone(entry),
        }
    }

    /// The jobs could not be written: their keys are free again.
    pub(in crate::durable) fn forget_admission(&mut self, admission: Admission) {
        for (_, key, _) in admission.keys {
            self.dedup.remove(&key);
        }
    }
}
