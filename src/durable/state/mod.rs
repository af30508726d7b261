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
//!
//! | module | what lives there |
//! |---|---|
//! | here | [`State`]: the parts together |
//! | `ready`, `load` | the lanes; chunks that come from the disk |
//! | `suspects` | jobs that were leased when a process ended |
//! | `dead` | dead letters |
//! | `entry`, `push`, `lease` | what happens to one job; admission; leasing and settling |
//! | `recover` | the index of a file that was just opened |

mod dead;
mod entry;
mod lease;
mod load;
mod push;
mod ready;
mod recover;
mod suspects;

use std::sync::Arc;

use self::dead::DeadTable;
use self::entry::Entry;
use self::ready::Ready;
use self::suspects::Suspects;
use super::encoding::JobEncoding;
use super::engine::{Change, Table};
use crate::actors::queue::{Account, QueueShell};
use crate::rules::store::{Dedup, DelayedJobs, LeaseTable};
use crate::types::{DeadReason, Moment, QueueCounts};

pub(super) use self::load::{Loaded, Needed};
pub(super) use self::push::{Admission, Decided};
pub(super) use self::recover::Recovered;

/// The index. See the module.
pub(super) struct State<J: Send + Sync + 'static> {
    paper: Arc<JobEncoding<J>>,
    pub(super) shell: QueueShell<J>,
    pub(super) account: Account,
    /// The longest history of a job.
    history: usize,
    /// The number of the next job: its place in the order of acceptance.
    next: u64,
    /// Jobs with a number from here on were written by this process.
    first_own: u64,
    ready: Ready<J>,
    /// Jobs that wait for their time, and what expires.
    shelf: DelayedJobs<Entry<J>>,
    leases: LeaseTable<Entry<J>>,
    suspects: Suspects<J>,
    dead: DeadTable<J>,
    keys: Dedup,
    /// Whether the changes of the present operation must be flushed to the disk.
    must_flush: bool,
}

impl<J: Send + Sync + 'static> State<J> {
    /// The time of this process.
    pub(super) fn now(&self) -> Moment {
        self.paper.clock.now()
    }

    pub(super) fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.len() + self.suspects.len(),
            delayed: self.shelf.len(),
            leased: self.leases.len(),
            dead: self.dead.len(),
        }
    }

    fn unfinished(&self) -> usize {
        self.counts().unfinished()
    }

    /// Gives back the permits of all jobs that have left, and writes the marks that have changed. Ends every operation.
    pub(super) fn settle_accounts(&mut self, out: &mut Vec<Change>) {
        self.write_marks(out);
        let unfinished = self.unfinished();
        self.account.settle(|| unfinished);
    }

    /// Writes the marks of chunks that have changed.
    pub(super) fn write_marks(&mut self, out: &mut Vec<Change>) {
        self.ready.write_marks(out);
    }

    /// When something becomes due by itself.
    pub(super) fn next_due(&self) -> Option<Moment> {
        let letter = self.dead.oldest_goes().map(Moment::from_millis);
        [self.shelf.next_due(), letter].into_iter().flatten().min()
    }

    /// Moves what is due. Expiry comes before delay, as in the store of the memory queue.
    pub(super) fn wake(&mut self, now: Moment, out: &mut Vec<Change>) {
        let Self { ready, shelf, .. } = self;
        for entry in shelf.take_expired(now, |priority, number| ready.take(priority, number)) {
            self.bury(now, entry, DeadReason::Expired, out);
        }
        while let Some(entry) = self.shelf.pop_due(now) {
            self.ready.put(entry);
        }
        self.forget_keys(now, out);
        self.dead.drop_old(now.as_millis(), self.shell.news(), out);
    }

    /// Forgets the deduplication keys whose window has passed, and the oldest ones if there are too many.
    fn forget_keys(&mut self, now: Moment, out: &mut Vec<Change>) {
        while let Some(number) = self.keys.pop_surplus(now) {
            out.push(Change::Delete(Table::Dedup, number));
        }
    }

    /// Whether the changes since the last question must be flushed to the disk.
    pub(super) fn takes_flush(&mut self) -> bool {
        std::mem::take(&mut self.must_flush)
    }

    /// The bytes of all jobs on disk, about.
    pub(super) fn bytes_on_disk(&self) -> u64 {
        let (chunks, alone) = self.ready.on_disk();
        let singles = alone + self.suspects.len() + self.shelf.len() + self.dead.len();
        chunks + singles as u64 * 512
    }
}
