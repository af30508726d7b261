//! One partition, from its assignment to its end.
//!
//! ```text
//!            revoked                  nobody is at work any more,
//!  ┌───────┐          ┌──────────┐    or the deadline has passed     ┌─────────┐  the last commit was answered
//!  │ owned │─────────▶│ draining │──────────────────────────────────▶│ leaving │──────────────────────────────▶ given up
//!  └───────┘          └──────────┘                                   └─────────┘
//!      └──────────────────┴──────────── lost: nothing is committed ──────┴───────────────────────────────────▶ given up
//! ```
//!
//! **Invariant:** no commit is on its way when a partition is given up, unless it was lost. The argument: a commit begins by
//! [`take_commit`](Lane::take_commit) and ends by [`committed`](Lane::committed), and between the two
//! [`has_left`](Lane::has_left) is false. So a commit of this owner cannot arrive after the next owner has read where to begin,
//! and what that one commits is not overwritten. Of a lost partition nothing is committed, and a commit that is under way when the
//! loss is learned is waited for as well: the server refuses it, as long as this member has not joined anew.

use std::time::Duration;

use super::{Flow, Level, MOST_BYTES, Note, Watermark};

/// How far it is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Owned,
    /// What is leased may finish until then.
    Draining {
        until: Duration,
    },
    /// Nothing counts any more; the last commit is to be made, or has been answered.
    Leaving,
}

/// A commit to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Where a restart begins.
    pub(crate) position: i64,
    /// What is done above.
    pub(crate) note: String,
    /// Whether everything that is done above is in the note.
    pub(crate) is_whole: bool,
}

/// A partition that this member owns, with the jobs of it that are not done.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    jobs: Watermark<T>,
    standing: Standing,
    /// How often the partition was taken over, this time included.
    fence: u64,
    /// What the owner before noted, until everything that it is about was delivered.
    before: Option<(i64, Note)>,
    /// Something was done, or the fence was not written down yet, since the last commit was taken.
    is_dirty: bool,
    /// A commit is on its way.
    is_committing: bool,
    /// Jobs that were done since the last commit that was answered well, and those of them of which the one on its way knows.
    uncommitted: usize,
    in_commit: usize,
    /// Pauses when too many jobs stand above the watermark.
    width: Flow,
}

impl<T> Lane<T> {
    /// The partition was assigned. Reading begins at this offset; `note` is what was committed with it.
    pub(crate) fn assigned(position: i64, note: Option<Note>, most_above: usize) -> Self {
        let fence = note.as_ref().map_or(0, |note| note.fence).saturating_add(1);
        let most = Level {
            jobs: most_above,
            bytes: usize::MAX,
        };
        Self {
            jobs: Watermark::starting_at(position),
            standing: Standing::Owned,
            fence,
            before: note
                .filter(|note| !note.runs.is_empty())
                .map(|note| (position, note)),
            is_dirty: true,
            is_committing: false,
            uncommitted: 0,
            in_commit: 0,
            width: Flow::new(most),
        }
    }

    /// The jobs, for reading.
    pub(crate) fn jobs(&self) -> &Watermark<T> {
        &self.jobs
    }

    /// A leased job, to be changed.
    pub(crate) fn job_mut(&mut self, number: u32) -> Option<&mut T> {
        self.jobs.job_mut(number)
    }

    /// The leased job at an offset, to be changed.
    pub(crate) fn at_offset(&mut self, offset: i64) -> Option<&mut T> {
        match self.standing {
            Standing::Leaving => None,
            Standing::Owned | Standing::Draining { .. } => self.jobs.at_offset(offset),
        }
    }

    /// How often the partition was taken over.
    pub(crate) fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether what comes is taken.
    pub(crate) fn is_owned(&self) -> bool {
        self.standing == Standing::Owned
    }

    /// A record has come. `job` is asked for it unless it was done before.
    pub(crate) fn deliver(&mut self, offset: i64, bytes: usize, job: impl FnOnce() -> T) {
        // Of a partition that is going, the next owner reads it.
        if !self.is_owned() {
            return;
        }
        match &self.before {
            Some((position, note)) if note.is_done(*position, offset) => self.pass(offset),
            _ => drop(self.jobs.deliver(offset, bytes, job())),
        }
    }

    /// A record has come of which nothing is to be done.
    pub(crate) fn pass(&mut self, offset: i64) {
        if self.is_owned() {
            self.jobs.pass(offset);
            self.is_dirty = true;
        }
    }

    /// The oldest job that was not leased; it is leased from here on.
    pub(crate) fn lease(&mut self) -> Option<(u32, &T)> {
        match self.is_owned() {
            true => self.jobs.lease(),
            false => None,
        }
    }

    /// Every lease is taken back. Returns how many there were.
    pub(crate) fn take_back(&mut self) -> usize {
        let returned = self.jobs.take_back();
        if let Standing::Draining { .. } = self.standing {
            self.standing = Standing::Leaving;
        }
        returned
    }

    /// A job is done. `None` if that counts no more.
    pub(crate) fn done(&mut self, number: u32) -> Option<T> {
        if self.standing == Standing::Leaving {
            return None;
        }
        let job = self.jobs.done(number)?;
        self.is_dirty = true;
        self.uncommitted += 1;
        Some(job)
    }

    /// Whether a lease lasts.
    pub(crate) fn is_leased(&self, number: u32) -> bool {
        self.standing != Standing::Leaving && self.jobs.job(number).is_some()
    }

    /// The partition shall be given up; what is leased may finish until then.
    pub(crate) fn revoke(&mut self, until: Duration) {
        if self.is_owned() {
            self.standing = Standing::Draining { until };
        }
    }

    /// Nobody is at work on jobs of it any more, or may be: the drain is over.
    pub(crate) fn released(&mut self) {
        self.standing = Standing::Leaving;
    }

    /// Looks whether the drain is over.
    pub(crate) fn tick(&mut self, now: Duration) {
        if let Standing::Draining { until } = self.standing
            && (self.jobs.leased() == 0 || until <= now)
        {
            self.standing = Standing::Leaving;
        }
    }

    /// The commit that is to be made now, if there is one. One at a time: the next is taken when this one was answered.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        if !self.is_dirty || self.is_committing {
            return None;
        }
        (self.is_dirty, self.is_committing) = (false, true);
        self.in_commit = self.uncommitted;
        let (note, is_whole) = Note::write(self.fence, self.jobs.runs(), MOST_BYTES);
        let position = self.jobs.position();
        Some(Commit {
            position,
            note,
            is_whole,
        })
    }

    /// The commit was answered. One that failed is made again, with what is true by then.
    pub(crate) fn committed(&mut self, succeeded: bool) {
        self.is_committing = false;
        self.is_dirty |= !succeeded;
        if succeeded {
            self.uncommitted -= self.in_commit;
        }
    }

    /// Jobs that would be done once more after a crash: those that are leased, and those that are done and not committed.
    pub(crate) fn at_risk(&self) -> usize {
        self.jobs.leased() + self.uncommitted
    }

    /// Whether a commit is to be made, or is on its way.
    pub(crate) fn has_commits(&self) -> bool {
        self.is_dirty || self.is_committing
    }

    /// Whether it can be given up: everything that counts was committed, and nothing is on its way.
    pub(crate) fn has_left(&self) -> bool {
        self.standing == Standing::Leaving && !self.has_commits()
    }

    /// Whether it is given up without its last commit, because that failed: what was done since is done once more elsewhere.
    pub(crate) fn gives_up_committing(&mut self) {
        self.is_dirty = false;
    }

    /// `Some` if fetching of this partition has to pause (true) or go on: too many jobs stand above the watermark, because one
    /// job does not end.
    pub(crate) fn turn(&mut self) -> Option<bool> {
        let jobs = self.jobs.width();
        self.width.turn(Level { jobs, bytes: 0 })
    }

    /// Whether it is paused for that reason.
    pub(crate) fn is_held_up(&self) -> bool {
        self.width.is_paused()
    }
}
