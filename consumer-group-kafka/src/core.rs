//! What outlives the queue actor: the partitions behind their lock, and what the two threads are told.
//!
//! ```text
//!   actor (may die) ─┐                       ┌─ reading thread: polls, assigns, drains, pauses
//!                    ├── Core ── Partitions ─┤
//!   producer's thread┘        (one lock)     └─ committing thread: one commit after the other, each answered
//! ```
//!
//! No thread waits for anything while it holds the lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use consumer_group::queue::Clock;
use tokio::sync::oneshot;

use crate::config::KafkaConfig;
use crate::outbox::Output;
use crate::partitions::{Dying, LaneNumber, Partition, Partitions};
use crate::record::Form;
use crate::rules::{Commit, Level};
use crate::sending::Sender;

/// What the reading thread shall be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No member of the group.
    #[default]
    Apart,
    /// A member.
    Member,
    /// At its end.
    Ended,
}

/// What is said to the reading thread, and by it.
#[derive(Default)]
struct Control {
    wanted: Wanted,
    /// Who waits until it is no member any more.
    waiting: Vec<oneshot::Sender<()>>,
    /// Why it cannot go on at all.
    broken: Option<String>,
    /// The committing thread shall end.
    commits_ended: bool,
}

/// A commit of a partition.
pub(crate) struct LaneCommit {
    pub(crate) lane: LaneNumber,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) commit: Commit,
    /// What goes with it, in one transaction.
    pub(crate) outputs: Vec<Output>,
}

pub(crate) struct Core<J: Send + Sync + 'static> {
    pub(crate) config: KafkaConfig,
    pub(crate) form: Box<dyn Form<J>>,
    partitions: Mutex<Partitions<J>>,
    /// Something is to be committed. Together with `partitions`.
    commits: Condvar,
    control: Mutex<Control>,
    /// The control has changed.
    changed: Condvar,
    began: Instant,
    clock: OnceLock<Clock>,
    /// Taken away by the reading thread at its end, since to drop it may block.
    sender: RwLock<Option<Arc<Sender<J>>>>,
    /// Dead letters that could not be sent. No more than there are jobs that are not done.
    unburied: Mutex<Vec<Dying>>,
    /// When the reading thread was last seen at work, in milliseconds since the beginning.
    seen: AtomicU64,
    /// Commits that failed.
    pub(crate) failed_commits: AtomicU64,
    /// Tells the jobs of this process from those of others.
    pub(crate) process: u128,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks is whole between any two statements that may panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J: Send + Sync + 'static> Core<J> {
    pub(crate) fn new(config: KafkaConfig, form: Box<dyn Form<J>>) -> Self {
        let most = Level {
            jobs: config.buffered_jobs.max(1),
            bytes: config.buffered_bytes.max(1),
        };
        let most_at_risk = config.most_at_risk.max(1);
        Self {
            config,
            form,
            partitions: Mutex::new(Partitions::new(most, most_at_risk)),
            commits: Condvar::new(),
            control: Mutex::default(),
            changed: Condvar::new(),
            began: Instant::now(),
            clock: OnceLock::new(),
            sender: RwLock::new(None),
            unburied: Mutex::default(),
            seen: AtomicU64::new(0),
            failed_commits: AtomicU64::new(0),
            process: uuid::Uuid::new_v4().as_u128(),
        }
    }

    /// Does something with the partitions, then wakes whoever commits, if something is to be committed.
    pub(crate) fn operate<R>(&self, work: impl FnOnce(&mut Partitions<J>) -> R) -> R {
        let mut partitions = lock(&self.partitions);
        let result = work(&mut partitions);
        let wakes =
            partitions.committer_sleeps && partitions.iter().any(|partition| partition.lane.has_commits());
        partitions.committer_sleeps &= !wakes;
        drop(partitions);
        if wakes {
            self.commits.notify_one();
        }
        result
    }

    /// Leases as many jobs as the supervisor takes. What turns out to be no job becomes a dead letter.
    pub(crate) fn hand_out(self: &Arc<Self>, partitions: &mut Partitions<J>) -> Vec<Dying> {
        match self.stood_still() {
            // The partitions may be somebody else's by now: first the reading thread has to look.
            true => Vec::new(),
            false => partitions.hand_out(),
        }
    }

    /// The time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The reading thread is at work.
    pub(crate) fn seen(&self) {
        let now = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.seen.store(now, Ordering::Relaxed);
    }

    /// Whether the reading thread was not at work for so long that this process may have been stopped meanwhile.
    pub(crate) fn stood_still(&self) -> bool {
        /// Less than any session lasts; the thread is at work some times a second.
        const STILL: Duration = Duration::from_secs(5);
        let seen = Duration::from_millis(self.seen.load(Ordering::Relaxed));
        self.now().saturating_sub(seen) > STILL
    }

    /// The clock of the group; that of the first actor.
    pub(crate) fn clock(&self) -> Clock {
        *self.clock.get_or_init(Clock::start)
    }

    pub(crate) fn set_clock(&self, clock: Clock) {
        // An error means that there is one already, and every actor reads the same one.
        let _ = self.clock.set(clock);
    }

    pub(crate) fn sender(&self) -> Option<Arc<Sender<J>>> {
        self.sender.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_sender(&self, sender: Option<Arc<Sender<J>>>) -> Option<Arc<Sender<J>>> {
        std::mem::replace(
            &mut *self.sender.write().unwrap_or_else(PoisonError::into_inner),
            sender,
        )
    }

    /// Dead letters that could not be sent, to be sent again later.
    pub(crate) fn keep_unburied(&self, dying: impl IntoIterator<Item = Dying>) {
        lock(&self.unburied).extend(dying);
    }

    pub(crate) fn take_unburied(&self) -> Vec<Dying> {
        std::mem::take(&mut *lock(&self.unburied))
    }
}

/// What the threads are told.
impl<J: Send + Sync + 'static> Core<J> {
    pub(crate) fn wanted(&self) -> Wanted {
        lock(&self.control).wanted
    }

    /// Changes what is wanted. Nothing comes after the end.
    pub(crate) fn want(&self, wanted: Wanted) {
        let mut control = lock(&self.control);
        if control.wanted != Wanted::Ended {
            control.wanted = wanted;
        }
        drop(control);
        self.changed.notify_all();
    }

    /// Wants no membership, and says when it has ended.
    pub(crate) fn leave(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        lock(&self.control).waiting.push(tell);
        self.want(Wanted::Apart);
        told
    }

    /// The reading thread is no member: tells those who wait for that, and waits until something else is wanted.
    pub(crate) fn is_apart(&self) {
        let mut control = lock(&self.control);
        for waiting in control.waiting.drain(..) {
            // An error means that nobody waits any more.
            let _ = waiting.send(());
        }
        while control.wanted == Wanted::Apart {
            control = self.changed.wait(control).unwrap_or_else(PoisonError::into_inner);
            if !control.waiting.is_empty() {
                break;
            }
        }
    }

    /// Nothing can be read any more, for this reason.
    pub(crate) fn breaks(&self, why: String) {
        tracing::error!(why, "kafka: reading has ended");
        lock(&self.control).broken.get_or_insert(why);
    }

    pub(crate) fn broken(&self) -> Option<String> {
        lock(&self.control).broken.clone()
    }

    /// The commits that are to be made. Waits for some; `None` when there will be no more.
    pub(crate) fn next_commits(&self) -> Option<Vec<LaneCommit>> {
        let mut partitions = lock(&self.partitions);
        loop {
            if lock(&self.control).commits_ended {
                return None;
            }
            // Whoever stood still learns first whether the partitions are still its own.
            let commits: Vec<_> = match self.stood_still() {
                true => Vec::new(),
                false => {
                    let partitions = partitions.iter_mut();
                    partitions.filter_map(|partition| self.taken(partition)).collect()
                }
            };
            if !commits.is_empty() {
                partitions.is_committing = true;
                return Some(commits);
            }
            partitions.committer_sleeps = true;
            // Some time at the most, for the case that it stood still.
            let waited = self.commits.wait_timeout(partitions, Duration::from_secs(1));
            partitions = waited.unwrap_or_else(PoisonError::into_inner).0;
            partitions.committer_sleeps = false;
        }
    }

    fn taken(&self, (lane, partition): (LaneNumber, &mut Partition<J>)) -> Option<LaneCommit> {
        let commit = partition.lane.take_commit()?;
        if self.config.transactions.is_some() && !commit.is_whole {
            // The outputs of what has no room in the note would come twice after a crash.
            partition.lane.committed(false);
            return None;
        }
        Some(LaneCommit {
            lane,
            topic: Arc::clone(&partition.topic),
            partition: partition.number,
            commit,
            outputs: std::mem::take(&mut partition.outputs),
        })
    }

    /// There will be no more commits.
    pub(crate) fn end_commits(&self) {
        lock(&self.control).commits_ended = true;
        // Under the lock: the thread has either not looked yet, or sleeps.
        drop(lock(&self.partitions));
        self.commits.notify_all();
    }
}

/// Ends the threads when the last one who can use the queue is gone.
pub(crate) struct Alive<J: Send + Sync + 'static>(pub(crate) Arc<Core<J>>);

impl<J: Send + Sync + 'static> Drop for Alive<J> {
    fn drop(&mut self) {
        self.0.want(Wanted::Ended);
    }
}
