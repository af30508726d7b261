//! The ready jobs: lanes of chunks, and of jobs on their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Entry, Loaded, Needed};
use crate::durable::engine::{Change, Table};
use crate::durable::format::Mark;
use crate::types::{JobRef, Priority};

/// Payload bytes of chunks that may stay in memory until they are leased.
const RESIDENT: usize = 32 << 20;

/// Jobs that are read from the disk ahead of their lease.
const READ_AHEAD: usize = 8_192;

/// Chunks that are looked at for it, in each lane.
const CHUNKS_AHEAD: usize = 128;

/// A chunk: jobs that were accepted together.
struct Chunk<J> {
    mark: Mark,
    /// Jobs that are not gone.
    left: u32,
    /// Their bytes: each job that goes takes an equal share along.
    bytes_left: u64,
    /// The jobs that were never leased, with their places, while they are in memory.
    jobs: Option<VecDeque<(u32, JobRef<J>)>>,
    /// Whether the writer was asked for it.
    is_asked_for: bool,
}

/// The ready jobs of one priority. The next one is the older of the two heads.
struct Lane<J> {
    /// Chunks with jobs that were never leased, oldest first.
    chunks: VecDeque<u64>,
    /// Jobs on their own, by number.
    singles: BTreeMap<u64, Entry<J>>,
}

/// What stands at the head of a lane.
pub(super) enum Next<J> {
    Nothing,
    /// This job, which was taken out.
    Job(Entry<J>),
    /// A job of a chunk that is on disk only.
    Absent,
}

/// See the module. A chunk stays here as long as one of its jobs is unfinished; its mark tells which.
pub(super) struct Ready<J> {
    lanes: BTreeMap<Reverse<Priority>, Lane<J>>,
    chunks: BTreeMap<u64, Chunk<J>>,
    /// Bytes of all chunks in memory.
    resident: usize,
    /// Jobs in chunks that were never leased.
    fresh: usize,
    /// Jobs on their own in all lanes.
    alone: usize,
    /// Chunks whose marks have changed in the present operation.
    touched: BTreeSet<u64>,
}

impl<J> Default for Ready<J> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            chunks: BTreeMap::new(),
            resident: 0,
            fresh: 0,
            alone: 0,
            touched: BTreeSet::new(),
        }
    }
}

impl<J> Ready<J> {
    pub(super) fn len(&self) -> usize {
        self.fresh + self.alone
    }

    /// The priorities of the lanes, the most urgent one first.
    pub(super) fn priorities(&self) -> Vec<Priority> {
        self.lanes.keys().map(|priority| priority.0).collect()
    }

    /// The bytes of all chunks on disk, about, and the jobs on their own.
    pub(super) fn on_disk(&self) -> (u64, usize) {
        let chunks = self.chunks.values().map(|chunk| u64::from(chunk.mark.bytes));
        (chunks.sum(), self.alone)
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane<J> {
        self.lanes.entry(Reverse(priority)).or_insert_with(|| Lane {
            chunks: VecDeque::new(),
            singles: BTreeMap::new(),
        })
    }

    /// Puts a job on its own to its place.
    pub(super) fn put(&mut self, entry: Entry<J>) {
        self.alone += 1;
        let lane = self.lane(entry.job.priority());
        lane.singles.insert(entry.number, entry);
    }

    /// Takes out a job on its own.
    pub(super) fn take(&mut self, priority: Priority, number: u64) -> Option<Entry<J>> {
        let entry = self.lanes.get_mut(&Reverse(priority))?.singles.remove(&number)?;
        self.alone -= 1;
        Some(entry)
    }

    /// Takes out the job at the head of a lane.
    pub(super) fn take_next(&mut self, priority: Priority) -> Next<J> {
        let Some(lane) = self.lanes.get(&Reverse(priority)) else {
            return Next::Nothing;
        };
        let alone = lane.singles.first_key_value().map(|(&number, _)| number);
        let chunk = lane.chunks.front().copied();
        let fresh =
            chunk.map(|first| first + u64::from(self.chunks.get(&first).map_or(0, |c| c.mark.leased)));
        let taken = match (alone, chunk) {
            (Some(number), _) if fresh.is_none_or(|fresh| number < fresh) => self.take(priority, number),
            (_, Some(first)) if self.is_absent(first) => return Next::Absent,
            (_, Some(first)) => self.take_fresh(priority, first),
            _ => None,
        };
        taken.map_or(Next::Nothing, Next::Job)
    }

    fn is_absent(&self, first: u64) -> bool {
        self.chunks.get(&first).is_some_and(|chunk| chunk.jobs.is_none())
    }

    /// Takes the next job of a chunk that is in memory.
    fn take_fresh(&mut self, priority: Priority, first: u64) -> Option<Entry<J>> {
        let chunk = self.chunks.get_mut(&first)?;
        let (place, job) = chunk.jobs.as_mut()?.pop_front()?;
        chunk.mark.leased = place + 1;
        self.fresh -= 1;
        self.touched.insert(first);
        self.drop_if_empty(priority, first);
        Some(Entry {
            chunk: Some(first),
            ..Entry::new(job, first + u64::from(place))
        })
    }

    /// A chunk whose last job was leased leaves its lane.
    fn drop_if_empty(&mut self, priority: Priority, first: u64) {
        let Some(chunk) = self.chunks.get_mut(&first) else {
            return;
        };
        if chunk.jobs.as_ref().is_some_and(|jobs| jobs.is_empty()) {
            chunk.jobs = None;
            chunk.mark.leased = chunk.mark.jobs;
            self.resident = self.resident.saturating_sub(chunk.mark.bytes as usize);
            let chunks = &mut self.lane(priority).chunks;
            if chunks.front() == Some(&first) {
                chunks.pop_front();
            } else {
                chunks.retain(|other| *other != first);
            }
        }
    }

    /// A chunk that was just written. Its jobs stay in memory if there is room for them.
    pub(super) fn add_chunk(&mut self, first: u64, mark: Mark, jobs: impl Iterator<Item = JobRef<J>>) {
        let bytes = mark.bytes as usize;
        let fits = self.resident + bytes <= RESIDENT;
        let jobs = fits.then(|| (0..).zip(jobs).collect());
        self.resident += if fits { bytes } else { 0 };
        self.fresh += mark.jobs as usize;
        self.lane(Priority(mark.priority)).chunks.push_back(first);
        let chunk = Chunk {
            left: mark.jobs,
            bytes_left: u64::from(mark.bytes),
            mark,
            jobs,
            is_asked_for: false,
        };
        self.chunks.insert(first, chunk);
    }

    /// A chunk of a file that was just opened, known by its mark alone. Gives the bytes of what is left of it, and whether some
    /// of that was leased before.
    pub(super) fn recover_chunk(&mut self, first: u64, mark: Mark) -> (u64, bool) {
        let fresh = (mark.leased..mark.jobs).filter(|place| !mark.is_gone(*place));
        let (fresh, left) = (fresh.count(), mark.left());
        let bytes_left = u64::from(mark.bytes) * u64::from(left) / u64::from(mark.jobs.max(1));
        self.fresh += fresh;
        if fresh > 0 {
            self.lane(Priority(mark.priority)).chunks.push_back(first);
        }
        let chunk = Chunk {
            mark,
            left,
            bytes_left,
            jobs: None,
            is_asked_for: false,
        };
        self.chunks.insert(first, chunk);
        (bytes_left, left as usize > fresh)
    }

    /// Names the chunks at the head of the lanes that are on disk only, enough for the next leases.
    pub(super) fn read_ahead(&mut self, needed: &mut Needed) {
        let has_memory = self.resident < RESIDENT;
        let mut ahead = 0;
        for lane in self.lanes.values() {
            for first in lane.chunks.iter().take(CHUNKS_AHEAD) {
                if ahead >= READ_AHEAD || (ahead > 0 && !has_memory) {
                    return;
                }
                let Some(chunk) = self.chunks.get_mut(first) else {
                    continue;
                };
                ahead += (chunk.mark.jobs - chunk.mark.leased) as usize;
                if chunk.jobs.is_none() && !chunk.is_asked_for {
                    chunk.is_asked_for = true;
                    needed.push((*first, chunk.mark.clone()));
                }
            }
        }
    }

    /// The chunk at the head of a lane.
    pub(super) fn front_of(&mut self, priority: Priority) -> Needed {
        let first = self.lane(priority).chunks.front().copied();
        let chunk = first.and_then(|first| self.chunks.get(&first).map(|chunk| (first, chunk.mark.clone())));
        chunk.into_iter().collect()
    }

    /// A chunk has come into memory. False if nobody wants it any more.
    pub(super) fn loaded(&mut self, loaded: &mut Loaded<J>) -> bool {
        let Some(chunk) = self.chunks.get_mut(&loaded.first) else {
            return false;
        };
        chunk.is_asked_for = false;
        if chunk.jobs.is_some() {
            return false;
        }
        let priority = Priority(chunk.mark.priority);
        self.resident += chunk.mark.bytes as usize;
        chunk.jobs = Some(std::mem::take(&mut loaded.jobs));
        self.fresh = self.fresh.saturating_sub(loaded.unreadable.len());
        self.drop_if_empty(priority, loaded.first);
        true
    }

    /// The read failed: it may be asked for again.
    pub(super) fn not_loaded(&mut self, first: u64) {
        if let Some(chunk) = self.chunks.get_mut(&first) {
            chunk.is_asked_for = false;
        }
    }

    /// Notes that a job of a chunk is done, dead, or in a record of its own. Gives the bytes that leave with it.
    pub(super) fn note_gone(&mut self, first: u64, number: u64) -> u64 {
        let Some(chunk) = self.chunks.get_mut(&first) else {
            return 0;
        };
        if !chunk.mark.set_gone(number.saturating_sub(first) as u32) {
            return 0;
        }
        // The last one takes the rest along.
        let share = chunk.bytes_left / u64::from(chunk.left.max(1));
        chunk.bytes_left -= share;
        chunk.left = chunk.left.saturating_sub(1);
        self.touched.insert(first);
        share
    }

    /// The mark of this chunk is to be written.
    pub(super) fn touch(&mut self, first: u64) {
        self.touched.insert(first);
    }

    /// Writes the marks that have changed; a chunk without a job left goes.
    pub(super) fn write_marks(&mut self, out: &mut Vec<Change>) {
        while let Some(first) = self.touched.pop_first() {
            let Some(chunk) = self.chunks.get(&first) else {
                continue;
            };
            if chunk.left > 0 {
                out.push(Change::Put(Table::Marks, first, chunk.mark.write()));
            } else {
                self.chunks.remove(&first);
                out.push(Change::Delete(Table::Chunks, first));
                out.push(Change::Delete(Table::Marks, first));
            }
        }
    }
}
