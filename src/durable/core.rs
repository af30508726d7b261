//! What outlives the queue actor: the index, and the way to the thread that writes.

use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SendError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::engine::Change;
use super::error::FileError;
use super::owner::Owner;
use super::state::{Needed, State};
use crate::protocol::{Handover, faults};
use crate::rules::store::{Refusal, Refused};
use crate::types::{JobPage, JobQuery, JobRef, Moment, Run, WriteFailure};

/// What is done once changes are on disk.
pub(super) type Then = Box<dyn FnOnce() + Send>;

/// What the writing thread is asked for. The channel has no bound of its own: pushes wait for room and for the answer to the
/// push before, the rest is bounded by the credit.
pub(super) enum Request<J> {
    /// New jobs.
    Push(Pushing<J>),
    /// Changes that the index has made already, what follows them, and whether they must be flushed to the disk before that.
    Change(Vec<Change>, Option<Then>, bool),
    /// Chunks that are wanted in memory.
    Load(Needed),
    /// A page of jobs, for whoever waits for it.
    Look(JobQuery, oneshot::Sender<Result<JobPage, FileError>>),
}

/// Jobs on their way to the disk. They stay in the handover until they are there, so that they go back to their sender
/// whatever happens to the thread or the actor.
pub(super) struct Pushing<J> {
    pub(super) runs: Handover<Vec<Run<J>>>,
    pub(super) answer: oneshot::Sender<Written<J>>,
    /// How many of them, from the first on, were decided about in earlier commits; the others waited for room for their bytes.
    pub(super) decided: usize,
    /// Those of them that were refused, by their place in the push.
    pub(super) refused: Vec<(usize, Refusal)>,
}

impl<J> Pushing<J> {
    pub(super) fn new(runs: Handover<Vec<Run<J>>>, answer: oneshot::Sender<Written<J>>) -> Self {
        Self {
            runs,
            answer,
            decided: 0,
            refused: Vec::new(),
        }
    }
}

/// Those of the jobs of a push that were refused.
pub(super) fn refused_of<J>(
    jobs: impl Iterator<Item = JobRef<J>>,
    refused: &[(usize, Refusal)],
) -> Vec<Refused<J>> {
    let mut refused = refused.iter().copied().peekable();
    let of = |(index, job)| {
        let (_, refusal) = refused.next_if(|(refused, _)| *refused == index)?;
        Some(Refused { job, refusal })
    };
    jobs.enumerate().filter_map(of).collect()
}

/// What became of a push.
pub(super) enum Written<J> {
    /// Everything but these is on disk.
    Done(Vec<Refused<J>>),
    /// Nothing of what was not decided before is.
    Failed {
        runs: Handover<Vec<Run<J>>>,
        decided: usize,
        refused: Vec<(usize, Refusal)>,
        refusal: Refusal,
        /// The room whose permits the teller gives back.
        room: Option<Arc<Semaphore>>,
    },
}

impl<J> Written<J> {
    /// The answer to the sender.
    pub(super) fn refused(self) -> Vec<Refused<J>> {
        match self {
            Self::Done(refused) => refused,
            Self::Failed {
                mut runs,
                decided,
                mut refused,
                refusal,
                room,
            } => {
                let runs = runs.take().unwrap_or_default();
                let jobs: Vec<_> = runs.into_iter().flat_map(Run::into_jobs).collect();
                let undecided = decided.min(jobs.len())..jobs.len();
                if let Some(room) = room {
                    room.add_permits(undecided.len());
                }
                refused.extend(undecided.map(|index| (index, refusal)));
                refused_of(jobs.into_iter(), &refused)
            }
        }
    }
}

/// See the module. Clones of the queue share it; when the last one goes, the thread writes what is left and ends.
pub(super) struct Core<J: Send + Sync + 'static> {
    pub(super) state: Arc<Mutex<State<J>>>,
    pub(super) requests: Requests<J>,
    pub(super) progress: Arc<Progress>,
    /// Told when the last handle goes.
    pub(super) owner: Arc<Owner>,
}

/// What the thread tells of its work.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Commits since the opening.
    pub(super) commits: AtomicU64,
    /// Why it cannot write at present. Written at each beginning and end of a failure.
    pub(super) failure: Mutex<Option<WriteFailure>>,
}

impl<J: Send + Sync + 'static> Drop for Core<J> {
    /// The last handle has gone: from here on the file becomes free by itself, and whoever opens it next may wait for that.
    fn drop(&mut self) {
        self.owner.leave();
    }
}

/// The way to whoever writes.
pub(super) struct Requests<J> {
    /// Goes first, so that whoever hears the bell for the last time finds it closed.
    sender: Sender<Request<J>>,
    /// In a simulation there is no thread to be woken by the channel.
    pub(super) bell: Bell,
}

impl<J> Requests<J> {
    pub(super) fn new(sender: Sender<Request<J>>) -> Self {
        Self {
            sender,
            bell: Bell(faults::is_simulated().then(Arc::default)),
        }
    }

    fn send(&self, request: Request<J>) -> Result<(), Gone> {
        let sent = self.sender.send(request).map_err(|SendError(_)| Gone);
        self.bell.ring();
        sent
    }
}

/// Rung for each request, and at the end.
pub(super) struct Bell(pub(super) Option<Arc<tokio::sync::Notify>>);

impl Bell {
    fn ring(&self) {
        if let Some(bell) = &self.0 {
            bell.notify_one();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// The writing thread has ended: it panicked, which is a fault of this crate.
#[derive(Debug)]
pub(super) struct Gone;

/// Why there is no page of jobs.
pub(super) enum LookFailure {
    /// The file cannot be read.
    File(FileError),
    /// Nobody reads it any more.
    Gone,
}

impl From<Gone> for LookFailure {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl<J: Send + Sync + 'static> Core<J> {
    /// Does one operation on the index and has its changes written; `then` makes what happens after that.
    pub(super) fn operate<R>(
        &self,
        work: impl FnOnce(&mut State<J>, Moment, &mut Vec<Change>) -> (R, Option<Then>),
    ) -> Result<R, Gone> {
        let mut state = lock(&self.state);
        let now = state.now();
        let mut changes = Vec::new();
        let (result, then) = work(&mut state, now, &mut changes);
        state.settle_accounts(&mut changes);
        state.shell.tell();
        if changes.is_empty() && then.is_none() {
            return Ok(result);
        }
        // Sent under the lock, so that changes reach the disk in the order in which they were made here.
        let flush = state.takes_flush();
        self.requests
            .send(Request::Change(changes, then, flush))
            .map(|()| result)
    }

    pub(super) fn push(&self, pushing: Pushing<J>) -> Result<(), Gone> {
        let runs = pushing.runs.peek().into_iter().flatten();
        let jobs = runs.map(Run::len).sum();
        lock(&self.state).account.expect(jobs);
        self.requests.send(Request::Push(pushing))
    }

    /// A page of jobs, as the thread reads it between two commits.
    pub(super) async fn look(&self, query: JobQuery) -> Result<JobPage, LookFailure> {
        let (tell, told) = oneshot::channel();
        self.requests.send(Request::Look(query, tell))?;
        told.await.map_err(|_| Gone)?.map_err(LookFailure::File)
    }

    pub(super) fn load(&self, needed: Needed) {
        if !needed.is_empty() {
            // If the thread is gone, the next operation tells.
            let _ = self.requests.send(Request::Load(needed));
        }
    }
}

/// The index. No code of the user runs under this lock but the codec of single jobs, whose panics are caught.
pub(super) fn lock<J: Send + Sync + 'static>(state: &Mutex<State<J>>) -> MutexGuard<'_, State<J>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
