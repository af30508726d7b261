//! What the queue knows of its jobs: an index in memory over the records on disk.
//!
//! ```text
//!               chunks (many jobs in one record)          singles (one job in one record)
//!   accepted ─▶ lane of a priority, in order      or ─▶   shelf (delayed), lane (expires, tried before)
//!                      └──────────── leased, in order of acceptance ───────────┘
//! ```
//!
//! A chunk is a few dozen bytes here, however many jobs it has: their payloads stay on disk until they are about to be leased.
//! Chunks that were accepted a moment ago are still *resident*, within a bound, so a queue that keeps up never reads.
//!
//! Every method changes the index at once and says in `out` what has to be changed on disk. All of it is decided under one
//! lock and written in the same order by one thread, so the file always holds a state that the index had.

mod dead;
mod entry;
mod lease;
mod load;
mod push;
mod recover;
mod suspects;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::WeakRecipient;

use self::dead::DeadEntry;
use self::entry::Entry;
use super::engine::Change;
use super::format::Mark;
use super::paper::Paper;
use super::wake::Wake;
use crate::actors::Clock;
use crate::actors::queue::QueueRoom;
use crate::rules::store::{Bound, News};
use crate::words::{
    DeadReason, Epoch, JobId, Key, LeaseId, Moment, Priority, QueueConfig, QueueCounts, Sealed,
};

pub(super) use self::load::{Loaded, Needed};
pub(super) use self::push::{Admission, Decided};
pub(super) use self::recover::Recovered;

/// Payload bytes of chunks that may stay in memory until they are leased.
const RESIDENT: usize = 32 << 20;

/// A chunk: jobs that were accepted together.
struct Chunk<J> {
    mark: Mark,
    /// Jobs that are not gone.
    left: u32,
    /// Their bytes: each job that goes takes an equal share along.
    bytes_left: u64,
    /// The jobs that were never leased, with their places, while they are in memory.
    jobs: Option<VecDeque<(u32, Sealed<J>)>>,
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

impl<J> Default for Lane<J> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            singles: BTreeMap::new(),
        }
    }
}

/// The index. See the module.
pub(super) struct State<J: Send + Sync + 'static> {
    pub(super) paper: Arc<Paper<J>>,
    pub(super) clock: Clock,
    config: QueueConfig,
    /// The unfinished jobs that are taken at most.
    bound: Bound,
    /// The bytes of unfinished jobs, as they are written.
    bytes: u64,
    /// How long dead letters are kept.
    dead_age: Option<Duration>,
    /// The number of the next job: its place in the order of acceptance.
    next: u64,
    /// Jobs with a number from here on were written by this process.
    first_own: u64,
    next_lease: u64,
    next_dead: u64,
    next_key: u64,
    lanes: BTreeMap<Reverse<Priority>, Lane<J>>,
    chunks: BTreeMap<u64, Chunk<J>>,
    /// Bytes of all chunks in memory.
    resident: usize,
    /// Jobs in chunks that were never leased.
    fresh: usize,
    /// Jobs on their own in all lanes.
    alone: usize,
    /// Jobs that wait for their time.
    shelf: BTreeMap<(Moment, u64), Entry<J>>,
    /// Jobs that expire: where they stand until their delay is over, and afterwards.
    expiries: BTreeMap<(Moment, u64), (Option<Moment>, Priority)>,
    leases: BTreeMap<LeaseId, Entry<J>>,
    /// Suspects that are not leased, in the order of their lanes. They come before everything else.
    suspects: BTreeMap<(Reverse<Priority>, u64), Entry<J>>,
    /// Suspects among the leases. Nothing but suspects is leased while there are any.
    suspects_leased: usize,
    /// Whether the process before ended without a word: then what it left is flushed to the disk when it is leased, also if
    /// commits need not be. Else a job could end one process after the other before the disk knows that it was leased.
    is_careful: bool,
    /// Whether the changes of the present operation must be flushed to the disk.
    must_flush: bool,
    dead: VecDeque<DeadEntry<J>>,
    /// The bytes that they take in memory.
    dead_bytes: usize,
    dedup: BTreeMap<Key, JobId>,
    /// The deduplication keys by age, with the numbers of their records.
    keys: VecDeque<(Moment, Key, u64)>,
    /// The latest supervisor that attached, in whatever process.
    pub(super) epoch: Epoch,
    /// Whether that supervisor attached in this process: else every lease was ended at the opening.
    pub(super) is_attached: bool,
    pub(super) closed: bool,
    pub(super) news: News<J>,
    /// The actor, to be told that there is something to lease.
    pub(super) actor: Option<WeakRecipient<Wake>>,
    pub(super) room: Option<QueueRoom>,
    /// Jobs whose permits are out.
    charged: usize,
    /// Jobs that are on their way to the disk.
    pub(super) pushing: usize,
    /// Chunks whose marks have changed in the present operation.
    touched: BTreeSet<u64>,
}

impl<J: Send + Sync + 'static> State<J> {
    pub(super) fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.fresh + self.alone + self.suspects.len(),
            delayed: self.shelf.len(),
            leased: self.leases.len(),
            dead: self.dead.len(),
        }
    }

    fn unfinished(&self) -> usize {
        self.fresh + self.alone + self.suspects.len() + self.shelf.len() + self.leases.len()
    }

    /// Jobs have come whose sender took permits.
    pub(super) fn charge(&mut self, jobs: usize) {
        self.pushing += jobs;
        if self.room.is_some() {
            self.charged += jobs;
        }
    }

    /// Jobs could not be written and go back to a sender. True if their permits are still out: whoever tells the sender
    /// gives them back, and a sender that is told nothing uses them again.
    pub(super) fn hand_back(&mut self, jobs: usize) -> bool {
        self.pushing = self.pushing.saturating_sub(jobs);
        self.charged = self.charged.saturating_sub(jobs);
        self.room.is_some()
    }

    /// Gives back the permits of all jobs that have left, and writes the marks that have changed. Ends every operation.
    pub(super) fn settle_accounts(&mut self, out: &mut Vec<Change>) {
        self.write_marks(out);
        let held = self.unfinished() + self.pushing;
        if let Some(room) = &self.room
            && held < self.charged
        {
            room.semaphore.add_permits(self.charged - held);
            self.charged = held;
        }
    }

    /// Takes permits for jobs that the queue brings back itself.
    fn acquire(&mut self, wanted: usize) -> usize {
        let free = self
            .config
            .capacity
            .saturating_sub(self.unfinished() + self.pushing);
        match &self.room {
            None => wanted.min(free),
            Some(room) => {
                let taken = room.semaphore.forget_permits(wanted);
                self.charged += taken;
                taken
            }
        }
    }

    /// When something becomes due by itself.
    pub(super) fn next_due(&self) -> Option<Moment> {
        let shelf = self.shelf.first_key_value().map(|(&(due, _), _)| due);
        let expiry = self.expiries.first_key_value().map(|(&(due, _), _)| due);
        let age = self.oldest_letter_goes();
        [shelf, expiry, age].into_iter().flatten().min()
    }

    /// Moves what is due. Expiry comes before delay, as in the store of the memory queue.
    pub(super) fn wake(&mut self, now: Moment, out: &mut Vec<Change>) {
        while let Some((&(due, number), &(delayed, priority))) = self.expiries.first_key_value()
            && due <= now
        {
            self.expiries.pop_first();
            let on_shelf = delayed.and_then(|until| self.shelf.remove(&(until, number)));
            let found = on_shelf.or_else(|| self.take_alone(priority, number));
            if let Some(entry) = found {
                self.bury(now, entry, DeadReason::Expired, out);
            }
        }
        while let Some(next) = self.shelf.first_entry()
            && next.key().0 <= now
        {
            let entry = next.remove();
            self.put_alone(entry);
        }
        self.forget_keys(now, out);
        self.forget_old_letters(now, out);
    }

    /// Whether the changes since the last question must be flushed to the disk.
    pub(super) fn takes_flush(&mut self) -> bool {
        std::mem::take(&mut self.must_flush)
    }

    fn lane(&mut self, priority: Priority) -> &mut Lane<J> {
        self.lanes.entry(Reverse(priority)).or_default()
    }

    fn put_alone(&mut self, entry: Entry<J>) {
        self.alone += 1;
        self.lane(entry.job.priority())
            .singles
            .insert(entry.number, entry);
    }

    fn take_alone(&mut self, priority: Priority, number: u64) -> Option<Entry<J>> {
        let entry = self.lanes.get_mut(&Reverse(priority))?.singles.remove(&number)?;
        self.alone -= 1;
        Some(entry)
    }
}
