//! The thread that writes: group commit.
//!
//! ```text
//! Push, Settle, Lease, … ─▶ [ whatever has gathered ] ─▶ one commit, one fsync ─▶ all answers
//! ```
//!
//! While a commit waits for the disk, the next one gathers. Nobody waits for a timer: a single job is written at once, and
//! thousands that come together share one fsync. The thread is the only one that touches the file; an arbiter never does.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::core::{Pushing, Request, Then, Written, lock, refused_of};
use super::durability::Durability;
use super::engine::{Change, Engine, Table};
use super::error::FileError;
use super::format::ChunkWriter;
use super::paper::Paper;
use super::state::{Admission, Decided, Loaded, Needed, State};
use super::wake::Wake;
use crate::rules::store::Refusal;
use crate::words::{Load, Moment, Sealed, WriteFailure};
#[cfg(feature = "sim")]
use crate::{protocol::faults, rules::ledger::Plant};

/// Jobs in one commit, about, at most.
const MOST_JOBS: usize = 16_384;

/// Requests in one commit at most.
const MOST_REQUESTS: usize = 1_024;

/// The instant after this wait. One that nobody lives to see is a century away.
fn flush_after(most: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + most.min(CENTURY)
}

/// How long a disk that failed is left alone at first. Twice as long after each further failure: an attempt opens the file
/// again, which reads all of it.
const FIRST_REST: Duration = Duration::from_millis(100);

/// And at most. A disk that has room again is found out that late.
const LONGEST_REST: Duration = Duration::from_secs(3);

/// How long the queue has nothing to do before it looks whether there is space to give back.
const IDLE: Duration = Duration::from_secs(1);

/// A file that is smaller is left as it is.
const SMALL: u64 = 16 << 20;

pub(super) struct Writer<J: Send + Sync + 'static> {
    pub(super) engine: Engine,
    pub(super) state: Arc<Mutex<State<J>>>,
    pub(super) paper: Arc<Paper<J>>,
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
    /// Why, for whoever asks the queue.
    pub(super) failure: Arc<Mutex<Option<WriteFailure>>>,
    pub(super) commits: Arc<AtomicU64>,
}

/// Where the bytes of a job are, or why there are none.
type Body = Result<Range<usize>, Refusal>;

/// A disk that fails is left alone for a while.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    length: Duration,
    until: Instant,
}

impl Rest {
    fn after(before: Option<Self>) -> Self {
        let length = before.map_or(FIRST_REST, |before| (before.length * 2).min(LONGEST_REST));
        Self {
            length,
            until: Instant::now() + length,
        }
    }
}

/// What has gathered for the next commit.
pub(super) struct Round<J> {
    jobs: Vec<Sealed<J>>,
    /// The bytes of all jobs.
    bytes: Vec<u8>,
    /// Where those of each job are, or why there are none.
    bodies: Vec<Body>,
    pushes: Vec<(Range<usize>, Pushing<J>)>,
    needed: Needed,
    requests: usize,
}

impl<J> Default for Round<J> {
    fn default() -> Self {
        Self {
            jobs: Vec::new(),
            bytes: Vec::new(),
            bodies: Vec::new(),
            pushes: Vec::new(),
            needed: Vec::new(),
            requests: 0,
        }
    }
}

impl<J> Round<J> {
    /// The jobs from the place `from` on wait for room: they are the first of the next round, in their order.
    fn stay(
        &mut self,
        from: usize,
        jobs: Vec<Sealed<J>>,
        (bytes, bodies): (&[u8], Vec<Body>),
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        self.jobs = jobs;
        self.pushes = pushes;
        for body in bodies.into_iter().skip(from) {
            let begin = self.bytes.len();
            self.bodies.push(body.map(|range| {
                self.bytes.extend_from_slice(bytes.get(range).unwrap_or_default());
                begin..self.bytes.len()
            }));
        }
    }
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
        lock(&self.state).detach(&mut self.unsaved);
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
            Request::Change(changes, then, flush) => {
                self.unsaved.extend(changes);
                self.must_flush |= flush;
                self.waiting.extend(then);
            }
        }
    }

    /// Encodes the jobs of a push, outside of the lock.
    fn take_push(&mut self, pushing: Pushing<J>) {
        let round = &mut self.round;
        let from = round.jobs.len();
        for job in pushing.loads.peek().into_iter().flatten().flat_map(Load::handles) {
            let begin = round.bytes.len();
            let written = self.paper.write_new(&job, &mut round.bytes);
            let body = written.map(|()| begin..round.bytes.len());
            round.jobs.push(job);
            round.bodies.push(body);
        }
        round.pushes.push((from..round.jobs.len(), pushing));
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
        let is_resting = self.unread.is_some_and(|rest| rest.until > Instant::now());
        if !self.needed.is_empty() && !is_resting {
            self.load();
            self.wake();
        }
    }

    fn push_round(
        &mut self,
        jobs: Vec<Sealed<J>>,
        bytes: Vec<u8>,
        bodies: Vec<Body>,
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        let now = lock(&self.state).clock.now();
        let mut written = Vec::new();
        let (admission, decided) = self.admit(now, &jobs, &bodies, &mut written);
        if decided == 0 {
            self.round.stay(0, jobs, (&bytes, bodies), pushes);
            self.save_changes();
            return self.wake();
        }
        if admission.refuses(decided) {
            // Nothing of it will be on the disk: a duplicate of a job that is there already is answered without a commit. One
            // of a job that is not there yet is in the round of that job, or behind it.
            self.placed((now, admission, decided), jobs, (&bytes, bodies), pushes);
            self.save_changes();
            return self.wake();
        }
        self.write_down(&admission, &jobs, &bytes, &bodies, &mut written);
        let saved = self.save(&written, false);
        match &saved {
            Ok(()) => {
                self.placed((now, admission, decided), jobs, (&bytes, bodies), pushes);
                self.told(&saved);
            }
            Err(error) => {
                let mut state = lock(&self.state);
                state.forget_admission(admission);
                drop(state);
                drop(jobs);
                // A commit that failed may be on the disk all the same. What was handed back must not come out there.
                self.unsaved.extend(written.iter().filter_map(Change::undone));
                let failure = error.failure();
                // What leaves the queue needs no room that the new jobs would have taken.
                let without = self.save(&[], false);
                if without.is_ok() {
                    self.told(&saved);
                }
                self.told(&without);
                // After that, so that the sender finds the queue as it was told of it.
                self.refuse(pushes, failure);
            }
        }
        self.wake();
    }

    /// What was admitted is on disk: the queue has it from here on, and the senders are told. What waits for room stays for the
    /// next round.
    fn placed(
        &mut self,
        (now, mut admission, decided): (Moment, Admission, usize),
        mut jobs: Vec<Sealed<J>>,
        bodies: (&[u8], Vec<Body>),
        pushes: Vec<(Range<usize>, Pushing<J>)>,
    ) {
        let mut refused = std::mem::take(&mut admission.refused);
        let mut state = lock(&self.state);
        let later = jobs.split_off(decided);
        state.pushing = state.pushing.saturating_sub(decided);
        state.place(now, admission, &jobs, &mut self.unsaved);
        state.settle_accounts(&mut self.unsaved);
        drop(state);
        // A refused job goes back to its sender whole: nobody else may hold it by then.
        drop(jobs);
        refused.sort_unstable_by_key(|(index, _)| *index);
        let waiting = answer(pushes, refused, decided);
        if !waiting.is_empty() {
            self.round.stay(decided, later, bodies, waiting);
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

    /// Hands the jobs of these pushes back, but for those that were decided about in earlier commits.
    fn refuse(&mut self, pushes: Vec<(Range<usize>, Pushing<J>)>, failure: WriteFailure) {
        let mut state = lock(&self.state);
        let room = state.room.as_ref().map(|room| Arc::clone(&room.semaphore));
        for (range, pushing) in pushes {
            let has_permits = state.hand_back(range.len());
            let failed = Written::Failed {
                loads: pushing.loads,
                decided: pushing.decided,
                refused: pushing.refused,
                refusal: Refusal::NotWritten(failure),
                room: room.clone().filter(|_| has_permits),
            };
            // An error means that the actor has died; then the jobs go back by the handover.
            let _ = pushing.answer.send(failed);
        }
    }

    /// Decides about the jobs of the round: about so many of them, up to the first one that waits for room for its bytes.
    fn admit(
        &mut self,
        now: Moment,
        jobs: &[Sealed<J>],
        bodies: &[Body],
        written: &mut Vec<Change>,
    ) -> (Admission, usize) {
        let mut decided = jobs.len();
        let mut admission = Admission::default();
        let state = Arc::clone(&self.state);
        let mut state = lock(&state);
        state.wake(now, &mut self.unsaved);
        for (index, (job, body)) in jobs.iter().zip(bodies).enumerate() {
            let body = match body {
                Ok(body) => body,
                Err(refusal) => {
                    admission.refused.push((index, *refusal));
                    continue;
                }
            };
            let job = (index, job, body.len());
            let found = loop {
                let needed = match state.admit(now, job, &mut admission, &mut self.unsaved) {
                    Ok(found) => break found,
                    Err(needed) => needed,
                };
                let mut failure = None;
                for (first, mark) in needed {
                    let loaded = self.read_chunk(state.first_own(), first, &mark);
                    match loaded {
                        Ok(loaded) => state.loaded(now, loaded, &mut self.unsaved),
                        Err(error) => {
                            state.not_loaded(first);
                            failure = Some(error.failure());
                        }
                    }
                }
                // The job that had to make room cannot be read: asking again at once would find the same.
                if let Some(failure) = failure {
                    admission.refused.push((index, Refusal::NotWritten(failure)));
                    break Decided::Yes;
                }
            };
            if found == Decided::Later {
                decided = index;
                break;
            }
        }
        state.close_chunks(now, &mut admission, written);
        state.write_marks(&mut self.unsaved);
        (admission, decided)
    }

    /// The records of the admitted jobs.
    fn write_down(
        &self,
        admission: &Admission,
        jobs: &[Sealed<J>],
        bytes: &[u8],
        bodies: &[Body],
        written: &mut Vec<Change>,
    ) {
        let body = |index: usize| bytes.get(bodies.get(index)?.clone().ok()?);
        for chunk in &admission.chunks {
            let mut record = ChunkWriter::with_room(chunk.jobs.len(), chunk.bytes as usize);
            for index in &chunk.jobs {
                record.add(body(*index).unwrap_or_default());
            }
            written.push(Change::Put(Table::Chunks, chunk.first, record.finish()));
            written.push(Change::Put(Table::Marks, chunk.first, chunk.mark().write()));
        }
        for (index, number, _) in &admission.singles {
            if let Some(Ok(record)) = jobs
                .get(*index)
                .map(|job| self.paper.single(job, 0, false, None, &[]))
            {
                written.push(Change::Put(Table::Singles, *number, record));
            }
        }
    }

    /// One commit: everything that is unsaved, and `also`. What waited for it is done.
    fn save(&mut self, also: &[Change], flush: bool) -> Result<(), FileError> {
        let relaxed = match self.durability {
            Durability::EveryJob => None,
            Durability::LoseUpTo(most) => Some(most),
        };
        let flush = flush || self.must_flush || relaxed.is_none() || self.is_flush_due();
        #[cfg(feature = "sim")]
        let flush = flush && !faults::is_planted(Plant::AcceptsUnflushed);
        self.engine.commit(self.unsaved.iter().chain(also), flush)?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.is_untidy = true;
        self.flush_by = match relaxed {
            Some(most) if !flush => Some(self.flush_by.unwrap_or_else(|| flush_after(most))),
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
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn read_chunk(
        &mut self,
        first_own: u64,
        first: u64,
        mark: &super::format::Mark,
    ) -> Result<Loaded<J>, FileError> {
        let record = self.engine.get(Table::Chunks, first)?;
        let own = first >= first_own;
        Ok(Loaded::read(
            &self.paper,
            first,
            mark,
            mark.leased,
            record.as_deref(),
            own,
        ))
    }

    /// Reads what is wanted. What the disk does not give is asked for again after a rest; it stays there meanwhile.
    fn load(&mut self) {
        let first_own = lock(&self.state).first_own();
        let mut needed = std::mem::take(&mut self.needed).into_iter();
        while let Some((first, mark)) = needed.next() {
            match self.read_chunk(first_own, first, &mark) {
                Ok(loaded) => {
                    self.unread = None;
                    let mut state = lock(&self.state);
                    let now = state.clock.now();
                    state.loaded(now, loaded, &mut self.unsaved);
                    state.settle_accounts(&mut self.unsaved);
                }
                Err(error) => {
                    if self.unread.is_none() {
                        tracing::error!(%error, first, "jobs could not be read; they stay on disk");
                    }
                    self.unread = Some(Rest::after(self.unread));
                    self.needed.push((first, mark));
                    self.needed.extend(needed);
                    return;
                }
            }
        }
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
        let actor = lock(&self.state).actor.clone();
        if let Some(actor) = actor.and_then(|actor| actor.upgrade()) {
            actor.do_send(Wake);
        }
    }
}

/// Tells each sender which of its jobs were refused, and takes the others over. `decided` jobs of the round were decided about;
/// what is left of the pushes that have more waits for the next round and is returned.
fn answer<J: Send + Sync + 'static>(
    pushes: Vec<(Range<usize>, Pushing<J>)>,
    refused: Vec<(usize, Refusal)>,
    decided: usize,
) -> Vec<(Range<usize>, Pushing<J>)> {
    let mut refused = refused.into_iter().peekable();
    let mut waiting = Vec::new();
    for (range, mut pushing) in pushes {
        let of_push = pushing.decided;
        while let Some((index, refusal)) = refused.next_if(|(index, _)| *index < range.end) {
            pushing.refused.push((index - range.start + of_push, refusal));
        }
        if range.end > decided {
            pushing.decided += decided.saturating_sub(range.start);
            waiting.push((range.start.max(decided) - decided..range.end - decided, pushing));
            continue;
        }
        // From here on they are the queue's.
        let sent = pushing.loads.take().unwrap_or_default();
        let sent = sent.into_iter().flat_map(Load::into_jobs);
        let back = refused_of(sent, &pushing.refused);
        // An error means that the actor has died; the handover has told the sender.
        let _ = pushing.answer.send(Written::Done(back));
    }
    waiting
}
