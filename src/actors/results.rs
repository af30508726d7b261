//! The result queue: brings outcomes to the producers that wait for them.
//!
//! The actor is thin; the mailboxes behind it outlive it, so killing it loses nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Wake, Poll, Waker};

use actix::{Actor, Context, Handler};
use tokio::sync::{Semaphore, oneshot};

use super::dead_letter_store::DeadLetterStore;
use crate::protocol::{AddressedOutcome, DeadLetteredRefs, Outcomes};
use crate::rules::pending::PendingJobs;
use crate::rules::store::DeadSelection;
use crate::types::{
    DeadLetter, Guarded, JobId, JobRef, Outcome, QueueConfig, ReplyTo, call_guarded, drop_guarded,
    wake_guarded,
};

/// Why no outcome will come.
#[derive(Debug)]
pub(crate) enum NoOutcome<J> {
    /// The group ended and hands the job back.
    Returned(JobRef<J>),
}

/// What arrives for a call.
pub(crate) type Answer<J, O> = Result<Guarded<Outcome<J, O>>, NoOutcome<J>>;

/// The mailbox number of all calls: each waits on a channel of its own.
const CALLS: ReplyTo = ReplyTo(0);

/// Every mailbox of a group's producers.
pub(crate) struct Mailboxes<J, O> {
    inner: Mutex<Inner<J, O>>,
    /// The latest dead letters since a drain began.
    noted: DeadLetterStore<J>,
}

struct Inner<J, O> {
    /// Who called and waits, by job. Never iterated but at the end of the group.
    calls: HashMap<JobId, oneshot::Sender<Answer<J, O>>>,
    groups: BTreeMap<ReplyTo, Mailbox<J, O>>,
    next: u64,
    closed: bool,
    /// Whether a drain has begun, and dead letters are noted.
    drains: bool,
}

/// The mailbox of one producer group.
struct Mailbox<J, O> {
    /// Jobs whose outcome has not come. An outcome that comes twice (the job was done twice) is known by this list.
    pending: PendingJobs,
    /// Outcomes that nobody has read. Together with `pending` bounded by the mailbox's permits.
    unread: VecDeque<Guarded<Outcome<J, O>>>,
    reader: Option<Waker>,
    room: Arc<Semaphore>,
}

impl<J, O> Mailboxes<J, O> {
    pub(crate) fn new(config: &QueueConfig) -> Self {
        let inner = Inner {
            calls: HashMap::new(),
            groups: BTreeMap::new(),
            next: 1,
            closed: false,
            drains: false,
        };
        Self {
            inner: Mutex::new(inner),
            noted: DeadLetterStore::new(config),
        }
    }

    /// A new call: the job's outcome comes through the channel.
    pub(crate) fn expect_call(&self, job: JobId) -> oneshot::Receiver<Answer<J, O>> {
        let (answer, outcome) = oneshot::channel();
        self.lock().calls.insert(job, answer);
        outcome
    }

    /// The call was given up, or its job was never accepted.
    pub(crate) fn forget_call(&self, job: JobId) {
        self.lock().calls.remove(&job);
    }

    /// The mailbox of calls.
    pub(crate) fn calls(&self) -> ReplyTo {
        CALLS
    }

    /// A mailbox for a producer group that has at most `capacity` outcomes outstanding or unread.
    pub(crate) fn open(&self, capacity: usize) -> (ReplyTo, Arc<Semaphore>) {
        let room = Arc::new(Semaphore::new(capacity.min(Semaphore::MAX_PERMITS)));
        let mut inner = self.lock();
        let reply_to = ReplyTo(inner.next);
        inner.next += 1;
        let mailbox = Mailbox {
            pending: PendingJobs::default(),
            unread: VecDeque::new(),
            reader: None,
            room: Arc::clone(&room),
        };
        inner.groups.insert(reply_to, mailbox);
        (reply_to, room)
    }

    /// The producer group has gone, and nobody will read.
    pub(crate) fn close(&self, reply_to: ReplyTo) {
        let closed = self.lock().groups.remove(&reply_to);
        // Unread outputs are dropped here, after the lock; see `deposit`.
        if let Some(mailbox) = closed {
            mailbox.room.close();
        }
    }

    /// These jobs were sent and their outcomes will come.
    pub(crate) fn expect(&self, reply_to: ReplyTo, jobs: impl IntoIterator<Item = JobId>) {
        if let Some(mailbox) = self.lock().groups.get_mut(&reply_to) {
            jobs.into_iter().for_each(|job| mailbox.pending.insert(job));
        }
    }

    /// These jobs were not accepted after all. Gives their room back.
    pub(crate) fn unexpect(&self, reply_to: ReplyTo, jobs: impl IntoIterator<Item = JobId>) {
        if let Some(mailbox) = self.lock().groups.get_mut(&reply_to) {
            let forgotten = jobs
                .into_iter()
                .filter(|job| mailbox.pending.remove(*job))
                .count();
            mailbox.room.add_permits(forgotten);
        }
    }

    /// Brings outcomes to whoever waits. Those that nobody waits for any more are dropped.
    pub(crate) fn deposit(&self, outcomes: Vec<AddressedOutcome<J, O>>) {
        let mut wakers = Vec::new();
        // Outputs and wakers are the user's, and whatever they do is done after the lock: what nobody waits for is dropped
        // then, and who waits is told.
        let (mut called, mut unwanted) = (Vec::new(), Vec::new());
        let mut inner = self.lock();
        for (reply_to, outcome) in outcomes {
            if reply_to == CALLS {
                match inner.calls.remove(&outcome.id) {
                    Some(call) => called.push((call, outcome)),
                    None => unwanted.push(outcome),
                }
                continue;
            }
            if let Some(mailbox) = inner.groups.get_mut(&reply_to)
                && mailbox.pending.remove(outcome.id)
            {
                mailbox.unread.push_back(outcome);
                wakers.extend(mailbox.reader.take());
            } else {
                unwanted.push(outcome);
            }
        }
        drop(inner);
        drop(unwanted);
        for (call, outcome) in called {
            answer(call, Ok(outcome));
        }
        wakers.into_iter().for_each(wake_guarded);
    }

    /// Notes every dead letter from now on, the latest ones, as many and as large as the configuration lets a queue keep. Every
    /// dead letter of a group comes by here.
    pub(crate) fn note_dead(&self) {
        self.lock().drains = true;
    }

    /// The dead letters that were noted.
    pub(crate) fn take_noted_dead(&self) -> Vec<DeadLetter<J>> {
        self.noted.take(&DeadSelection::All)
    }

    fn note(&self, dead: &[DeadLetter<J>]) {
        if self.lock().drains {
            for letter in dead {
                self.noted.keep(letter.clone());
            }
        }
    }

    /// Tells whoever waits for one of these jobs that it was given up.
    pub(crate) fn bury(&self, dead: Vec<DeadLetter<J>>) {
        self.note(&dead);
        self.tell_dead(dead);
    }

    /// As [`bury`](Self::bury), for dead letters that may have come by before.
    pub(crate) fn tell_dead(&self, dead: Vec<DeadLetter<J>>) {
        let outcomes = dead.into_iter().filter_map(|letter| {
            let reply_to = letter.job.reply_to()?;
            let id = letter.id();
            let result = Err(Arc::new(letter));
            Some((reply_to, Guarded::new(Outcome { id, result })))
        });
        self.deposit(outcomes.collect());
    }

    /// The group ended: these jobs will never have an outcome. Callers get theirs back; the others learn that the stream
    /// has ended.
    pub(crate) fn end(&self, unfinished: &[JobRef<J>]) {
        let (mut called, mut wakers) = (Vec::new(), Vec::new());
        let mut inner = self.lock();
        inner.closed = true;
        for job in unfinished {
            called.extend(inner.calls.remove(&job.id()).map(|call| (call, job)));
        }
        let mut rest: Vec<_> = inner.calls.drain().collect();
        for mailbox in inner.groups.values_mut() {
            mailbox.room.close();
            wakers.extend(mailbox.reader.take());
        }
        drop(inner);
        for (call, job) in called {
            answer(call, Err(NoOutcome::Returned(JobRef::clone(job))));
        }
        // The oldest first: the order of a map is another one each time.
        rest.sort_unstable_by_key(|(job, _)| *job);
        rest.into_iter().for_each(|(_, call)| drop_guarded(call));
        wakers.into_iter().for_each(wake_guarded);
    }

    /// The next outcome of a mailbox. `None` when the group has ended and everything is read. Reading gives room back.
    pub(crate) fn poll_read(&self, reply_to: ReplyTo, wake: &mut Wake<'_>) -> Poll<Option<Outcome<J, O>>> {
        let mut inner = self.lock();
        let closed = inner.closed;
        let Some(mailbox) = inner.groups.get_mut(&reply_to) else {
            return Poll::Ready(None);
        };
        if let Some(outcome) = mailbox.unread.pop_front() {
            mailbox.room.add_permits(1);
            return Poll::Ready(Some(outcome.into_inner()));
        }
        if closed {
            return Poll::Ready(None);
        }
        // A waker of the user does what it does after the lock, its end as well.
        let before = mailbox.reader.replace(wake.waker().clone());
        drop(inner);
        if let Some(waker) = before {
            drop_guarded(waker);
        }
        Poll::Pending
    }

    /// Outcomes of a mailbox that are still to come.
    pub(crate) fn pending(&self, reply_to: ReplyTo) -> usize {
        self.lock()
            .groups
            .get(&reply_to)
            .map_or(0, |mailbox| mailbox.pending.len())
    }

    fn lock(&self) -> MutexGuard<'_, Inner<J, O>> {
        // Nothing under this lock runs code of the user, so it cannot be poisoned half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a call. It wakes the caller, whose waker may be one of the user's own.
fn answer<J, O>(call: oneshot::Sender<Answer<J, O>>, answer: Answer<J, O>) {
    call_guarded("a waker", || {
        // An error means that the caller has gone.
        let _ = call.send(answer);
    });
}

/// The result queue actor.
pub(crate) struct ResultQueue<J: Send + Sync + 'static, O: Send + 'static> {
    mailboxes: Arc<Mailboxes<J, O>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> ResultQueue<J, O> {
    pub(crate) fn new(mailboxes: Arc<Mailboxes<J, O>>) -> Self {
        Self { mailboxes }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for ResultQueue<J, O> {
    type Context = Context<Self>;
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Outcomes<J, O>> for ResultQueue<J, O> {
    type Result = ();

    fn handle(&mut self, mut message: Outcomes<J, O>, _: &mut Context<Self>) {
        if let Some(outcomes) = message.outcomes.take() {
            self.mailboxes.deposit(outcomes);
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<DeadLetteredRefs<J>> for ResultQueue<J, O> {
    type Result = ();

    fn handle(&mut self, mut dead_lettered: DeadLetteredRefs<J>, _: &mut Context<Self>) {
        if let Some(dead) = dead_lettered.dead.take() {
            self.mailboxes.bury(dead);
        }
    }
}
