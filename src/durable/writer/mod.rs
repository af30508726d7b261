//! The thread that writes: group commit.
//!
//! ```text
//! Push, Settle, Lease, … ─▶ [ whatever has gathered ] ─▶ one commit, one fsync ─▶ all answers
//! ```
//!
//! While a commit waits for the disk, the next one gathers. Nobody waits for a timer: a single job is written at once, and
//! thousands that come together share one fsync. The thread is the only one that touches the file; an arbiter never does.
//!
//! | module | what lives there |
//! |---|---|
//! | here | [`Writer`]: the thread, one commit, what its failure means |
//! | `round` | what gathers for the next commit |
//! | `push` | new jobs: admitted, written down, placed, answered |
//! | `load` | chunks that are wanted in memory |
//! | `rest` | how long a disk that failed is left alone |

mod load;
mod push;
mod rest;
mod round;

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::rest::Rest;
pub(super) use self::round::Round;
use super::core::{Progress, Request, Then, lock};
use super::durability::Durability;
use super::encoding::JobEncoding;
use super::engine::{Change, Engine};
use super::error::FileError;
use super::listing::read_page;
use super::state::{Needed, State};
use crate::actors::instant_after;
use crate::types::WriteFailure;
use crate::{protocol::faults, rules::ledger::Plant};

/// Jobs in one commit, about, at most.
const MOST_JOBS: usize = 16_384;

/// Requests in one commit at most.
const MOST_REQUESTS: usize = 1_024;

/// How long the queue has nothing to do before it looks whether there is space to give back.
const IDLE: Duration = Duration::from_secs(1);

/// A file that is smaller is left as it is.
const SMALL: u64 = 16 << 20;

pub(super) struct Writer<J: Send + Sync + 'static> {
    pub(super) engine: Engine,
    pub(super) state: Arc<Mutex<State<J>>>,
    pub(super) paper: Arc<JobEncoding<J>>,
    pub(super) durability: Durability,
    pub(super) requests: Receiver<Request<J>>,
    pub(super) round: Round<J>,
    /// Changes that the index has made and that are not on disk, oldest first. Emptied by each commit; grows while the disk
    /// fails.
    pub(super) unsaved: Vec<Change>,
    /// What waits for them.
    pub(super) waiting: Vec<Then>,
    /// Whether something of `unsaved` has to be flushed, whatever the durability.
    pub(super) must_flush: bool,
    /// When commits without a flush have to be flushed.
    pub(super) flush_by: Option<Instant>,
    /// Whether there was a commit since space was last given back.
    pub(super) is_untidy: bool,
    /// Set while commits fail.
    pub(super) failing: Option<(WriteFailure, Rest)>,
    /// Chunks that are wanted in memory, each once.
    pub(super) needed: Needed,
    /// Set while they cannot be read.
    pub(super) unread: Option<Rest>,
    /// For whoever asks the queue.
    pub(super) progress: Arc<Progress>,
}

impl<J: Send + Sync + 'static> Writer<J> {
    /// Writes until every handle of the queue is gone.
    pub(super) fn run(mut self) {
        loop {
            match self.next() {
                Ok(Some(request)) => self.take(request),
                Ok(None) => {}
                Err(()) => break,
            }
            self.take_more();
            self.finish_round();
        }
        self.save_last();
    }

    /// Everything that has gathered, up to the size of a commit.
    pub(super) fn take_more(&mut self) {
        while self.round.requests < MOST_REQUESTS
            && self.round.jobs.len() < MOST_JOBS
            && let Ok(request) = self.requests.try_recv()
        {
            self.take(request);
        }
    }

    /// The last handle has gone.
    pub(super) fn save_last(&mut self) {
        let mut state = lock(&self.state);
        let epoch = state.shell.epoch();
        state.goodbye(epoch, &mut self.unsaved);
        drop(state);
        if let Err(error) = self.save(&[], true) {
            tracing::error!(%error, "the last changes of a queue could not be written");
        }
    }

    /// How long the next request is waited for; `None` if there is nothing else to do.
    pub(super) fn wait(&self) -> Option<Duration> {
        let rest = |until: Instant| until.saturating_duration_since(Instant::now());
        let unread = self.unread.map(|rest| rest.until);
        if let Some((_, failing)) = self.failing {
            Some(rest(
                unread.map_or(failing.until, |until| until.min(failing.until)),
            ))
        } else if !self.unsaved.is_empty() || !self.waiting.is_empty() {
            Some(Duration::ZERO)
        } else if let Some(by) = [unread, self.flush_by].into_iter().flatten().min() {
            Some(rest(by))
        } else {
            self.is_untidy.then_some(IDLE)
        }
    }

    /// The next request; `None` when it is time for something else.
    fn next(&mut self) -> Result<Option<Request<J>>, ()> {
        let Some(wait) = self.wait() else {
            return self.requests.recv().map(Some).map_err(|_| ());
        };
        match self.requests.recv_timeout(wait) {
            Ok(request) => Ok(Some(request)),
            Err(RecvTimeoutError::Disconnected) => Err(()),
            Err(RecvTimeoutError::Timeout) => {
                self.tidy_if_idle();
                Ok(None)
            }
        }
    }

    /// Nobody asked for anything.
    pub(super) fn tidy_if_idle(&mut self) {
        let is_idle = self.failing.is_none()
            && self.unread.is_none()
            && self.unsaved.is_empty()
            && self.waiting.is_empty()
            && self.flush_by.is_none();
        if is_idle {
            self.tidy();
        }
    }

    pub(super) fn take(&mut self, request: Request<J>) {
        self.round.requests += 1;
        match request {
            Request::Push(pushing) => self.take_push(pushing),
            Request::Load(needed) => self.round.needed.extend(needed),
            Request::Look(query, tell) => self.round.looks.push((query, tell)),
            Request::Change(changes, then, flush) => {
                self.unsaved.extend(changes);
                self.must_flush |= flush;
                self.waiting.extend(then);
            }
        }
    }

    /// Admits, writes, places, answers, and reads what is wanted.
    pub(super) fn finish_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let resting = self.failing.filter(|(_, rest)| rest.until > Instant::now());
        if let Some((failure, _)) = resting {
            drop(round.jobs);
            self.refuse(round.pushes, failure);
        } else if !round.pushes.is_empty() {
            self.push_round(round.jobs, round.bytes, round.bodies, round.pushes);
        } else {
            self.save_changes();
        }
        if let Some((failure, _)) = self.failing {
            // A queue that cannot write takes no jobs; who waits for room in it hears that as well.
            let Round { jobs, pushes, .. } = std::mem::take(&mut self.round);
            drop(jobs);
            self.refuse(pushes, failure);
        }
        self.needed.extend(round.needed);
        for (query, tell) in round.looks {
            let now = self.paper.clock.now();
            // Whoever has gone needs no answer, and no look either.
            if !tell.is_closed() {
                let _ = tell.send(read_page(&mut self.engine, &query, now));
            }
        }
        let is_resting = self.unread.is_some_and(|rest| rest.until > Instant::now());
        if !self.needed.is_empty() && !is_resting {
            self.load();
            self.wake();
        }
    }

    /// A commit of what is unsaved, if there is anything, or if one is due.
    fn save_changes(&mut self) {
        if self.failing.is_some()
            || !self.unsaved.is_empty()
            || !self.waiting.is_empty()
            || self.is_flush_due()
        {
            let saved = self.save(&[], false);
            self.told(&saved);
        }
    }

    /// One commit: everything that is unsaved, and `also`. What waited for it is done.
    fn save(&mut self, also: &[Change], flush: bool) -> Result<(), FileError> {
        let relaxed = match self.durability {
            Durability::EveryJob => None,
            Durability::LoseUpTo(most) => Some(most),
        };
        let flush = flush || self.must_flush || relaxed.is_none() || self.is_flush_due();
        let flush = flush && !faults::is_planted(Plant::AcceptsUnflushed);
        self.engine.commit(self.unsaved.iter().chain(also), flush)?;
        self.progress.commits.fetch_add(1, Ordering::Relaxed);
        self.is_untidy = true;
        self.flush_by = match relaxed {
            Some(most) if !flush => Some(self.flush_by.unwrap_or_else(|| instant_after(most))),
            _ => None,
        };
        self.unsaved.clear();
        self.must_flush = false;
        self.waiting.drain(..).for_each(|then| then());
        Ok(())
    }

    fn is_flush_due(&self) -> bool {
        self.flush_by.is_some_and(|by| by <= Instant::now())
    }

    /// What a commit means for the next ones. Each beginning and end of a failure is told once.
    fn told(&mut self, saved: &Result<(), FileError>) {
        let before = self.failing.take();
        match saved {
            Ok(()) if before.is_some() => tracing::info!("the queue can write again"),
            Ok(()) => return,
            Err(error) => {
                if before.is_none() {
                    tracing::error!(%error, "the queue cannot write: it takes no jobs until it can");
                }
                let rest = Rest::after(before.map(|(_, rest)| rest));
                self.failing = Some((error.failure(), rest));
            }
        }
        let failure = self.failing.map(|(failure, _)| failure);
        *self
            .progress
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Gives space back if the file is much larger than what it holds.
    fn tidy(&mut self) {
        self.is_untidy = false;
        let size = self.engine.size();
        if size > SMALL && lock(&self.state).bytes_on_disk() < size / 4 {
            match self.engine.compact() {
                Ok(()) => tracing::debug!(before = size, after = self.engine.size(), "space was given back"),
                Err(error) => tracing::warn!(%error, "space could not be given back"),
            }
        }
    }

    /// Tells the actor that there is something new.
    fn wake(&self) {
        lock(&self.state).shell.wake();
    }
}
