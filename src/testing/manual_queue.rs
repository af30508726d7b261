//! A queue in which the test decides by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use tokio::sync::watch;

use crate::actors::Clock;
use crate::actors::queue::{QueueRoom, QueueSource};
use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, Demand, Fates, Push, Pushed, QueueCommand, QueueReply,
    Settle, SettleReply,
};
use crate::rules::store::{DeadSelection, Leased, Refusal, Refused};
use crate::words::{
    AttemptRecord, Capabilities, DeadLetter, Epoch, JobId, LeaseId, Moment, QueueCounts, Rejection, Sealed,
    SettleItem, Verdict,
};

/// A queue whose jobs are leased when the test says so and which shows the test every verdict. Clones are the same queue,
/// and it outlives its actor.
///
/// It claims no capability unless told to; then it has exactly those that it was told. Wishes of jobs (priority, delay,
/// expiry, deduplication) are not looked at, and it never refuses a job unless [`refuse`](Self::refuse) says so.
///
/// ```
/// use consumer_group::{Group, Placement};
/// use consumer_group::queue::Verdict;
/// use consumer_group::testing::{ManualQueue, Probe, paused};
///
/// paused(async {
///     let queue = ManualQueue::new();
///     let probe = Probe::new();
///     let group = Group::builder()
///         .queue(queue.clone())
///         .consumers(1, probe.consumers())
///         .placement(Placement::Local)
///         .start()
///         .unwrap();
///     group.producer().send(7_u64).await.unwrap();
///     queue.until_demanded(1).await;
///     assert_eq!(probe.deliveries().len(), 0, "nothing is leased by itself");
///
///     assert_eq!(queue.lease(1), 1);
///     let settle = queue.next_settle().await;
///     assert_eq!(settle.item.verdict, Verdict::Ack);
///     assert_eq!(probe.acked().len(), 1);
/// });
/// ```
pub struct ManualQueue<J: Send + Sync + 'static> {
    shared: Arc<Shared<J>>,
    capabilities: Capabilities,
}

struct Shared<J: Send + Sync + 'static> {
    state: Mutex<State<J>>,
    /// Grows with everything that happens.
    changes: watch::Sender<u64>,
}

struct State<J: Send + Sync + 'static> {
    capabilities: Capabilities,
    /// The clock of the first life. Delays are kept as moments, so every later life reads the same one.
    clock: Option<Clock>,
    /// Whether jobs are leased as soon as there is credit.
    is_automatic: bool,
    /// The number of the next job; its place among the ready ones.
    next: u64,
    next_lease: u64,
    ready: BTreeMap<u64, Kept<J>>,
    /// Jobs that were given back with a delay, with the moment at which it ends.
    delayed: BTreeMap<(Moment, u64), Kept<J>>,
    leased: BTreeMap<LeaseId, (u64, Kept<J>)>,
    dead: Vec<DeadLetter<J>>,
    accepted: usize,
    credit: usize,
    link: Option<Link<J>>,
    epoch: Option<Epoch>,
    closed: bool,
    refusal: Option<Refusal>,
    out_of_order: Option<String>,
    settles: Vec<SeenSettle>,
    /// How many of the settles the test has taken one by one.
    taken: usize,
}

struct Kept<J> {
    job: Sealed<J>,
    /// Attempts that ended and count.
    attempts: u32,
    history: Vec<AttemptRecord>,
}

struct Link<J: Send + Sync + 'static> {
    epoch: Epoch,
    batches: Recipient<Batch<J>>,
    fates: Recipient<Fates<J>>,
}

/// A verdict that reached a [`ManualQueue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSettle {
    /// The life of the supervisor that sent it.
    pub epoch: Epoch,
    /// The job, if the lease was alive.
    pub job: Option<JobId>,
    /// The verdict, with the lease and the attempt.
    pub item: SettleItem,
    /// Whether it counted.
    pub applied: bool,
}

impl<J: Send + Sync + 'static> ManualQueue<J> {
    /// An empty queue that claims nothing and leases nothing by itself.
    pub fn new() -> Self {
        Self::with(Capabilities::LEAST)
    }

    /// An empty queue with exactly these capabilities.
    pub fn with(capabilities: Capabilities) -> Self {
        let state = State {
            capabilities,
            clock: None,
            is_automatic: false,
            next: 0,
            next_lease: 0,
            ready: BTreeMap::new(),
            delayed: BTreeMap::new(),
            leased: BTreeMap::new(),
            dead: Vec::new(),
            accepted: 0,
            credit: 0,
            link: None,
            epoch: None,
            closed: false,
            refusal: None,
            out_of_order: None,
            settles: Vec::new(),
            taken: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
            }),
            capabilities,
        }
    }

    /// Leases jobs as soon as there is credit, as an ordinary queue does. The test still sees every verdict.
    #[must_use]
    pub fn automatic(self) -> Self {
        self.shared.lock().is_automatic = true;
        self
    }

    /// Leases up to `most` ready jobs now, as far as there is credit, and says how many they were.
    pub fn lease(&self, most: usize) -> usize {
        self.shared.change(|state| state.lease(most))
    }

    /// Ends every delay now; the jobs are ready.
    pub fn end_delays(&self) {
        self.shared.change(|state| state.ripen(None));
    }

    /// Refuses every job that comes from now on, for this reason; `None` takes them again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.lock().refusal = refusal;
    }

    /// Answers every attach from now on that the queue is out of order, for this reason; `None` lets supervisors in again.
    pub fn break_down(&self, reason: Option<&str>) {
        self.shared.lock().out_of_order = reason.map(Into::into);
    }

    /// Jobs that can be leased.
    pub fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }

    /// Jobs that the supervisor holds.
    pub fn leased(&self) -> usize {
        self.shared.lock().leased.len()
    }

    /// How many jobs more the supervisor takes.
    pub fn credit(&self) -> usize {
        self.shared.lock().credit
    }

    /// The latest life of the supervisor that attached.
    pub fn epoch(&self) -> Option<Epoch> {
        self.shared.lock().epoch
    }

    /// The dead letters, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter<J>> {
        self.shared.lock().dead.clone()
    }

    /// Every verdict so far, in order.
    pub fn settles(&self) -> Vec<SeenSettle> {
        self.shared.lock().settles.clone()
    }

    /// The next verdict that this method has not returned yet; waits for it.
    pub async fn next_settle(&self) -> SeenSettle {
        let mut changes = self.shared.changes.subscribe();
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(settle) = state.settles.get(state.taken).cloned() {
                    state.taken += 1;
                    return settle;
                }
            }
            // An error would mean that the queue is gone; `self` holds it.
            let _ = changes.changed().await;
        }
    }

    /// Waits until this many jobs were accepted in all.
    pub async fn until_accepted(&self, jobs: usize) {
        self.until(|state| state.accepted >= jobs).await;
    }

    /// Waits until the supervisor takes at least this many jobs more.
    pub async fn until_demanded(&self, credit: usize) {
        self.until(|state| state.credit >= credit).await;
    }

    async fn until(&self, fits: impl Fn(&State<J>) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !fits(&self.shared.lock()) {
            // An error would mean that the queue is gone; `self` holds it.
            let _ = changes.changed().await;
        }
    }
}

impl<J: Send + Sync + 'static> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something and tells whoever waits.
    fn change<R>(&self, work: impl FnOnce(&mut State<J>) -> R) -> R {
        let result = {
            let mut state = self.lock();
            let result = work(&mut state);
            if state.is_automatic {
                state.lease(usize::MAX);
            }
            result
        };
        self.changes.send_modify(|changes| *changes += 1);
        result
    }
}

impl<J: Send + Sync + 'static> State<J> {
    fn keep(&mut self, kept: Kept<J>) {
        self.ready.insert(self.next, kept);
        self.next += 1;
    }

    fn push(&mut self, jobs: Vec<Sealed<J>>) -> Vec<Refused<J>> {
        let refusal = if self.closed {
            Some(Refusal::Closed)
        } else {
            self.refusal
        };
        if let Some(refusal) = refusal {
            return jobs.into_iter().map(|job| Refused { job, refusal }).collect();
        }
        self.accepted += jobs.len();
        for job in jobs {
            self.keep(Kept {
                job,
                attempts: 0,
                history: Vec::new(),
            });
        }
        Vec::new()
    }

    fn lease(&mut self, most: usize) -> usize {
        let Some(link) = &self.link else { return 0 };
        let mut jobs = Vec::new();
        while jobs.len() < most.min(self.credit)
            && let Some((place, kept)) = self.ready.pop_first()
        {
            self.next_lease += 1;
            let lease = LeaseId(self.next_lease);
            jobs.push(Leased {
                lease,
                attempt: kept.attempts + 1,
                job: Sealed::clone(&kept.job),
                suspect: false,
            });
            self.leased.insert(lease, (place, kept));
        }
        let leased = jobs.len();
        self.credit -= leased;
        if leased > 0 {
            link.batches.do_send(Batch::new(link.epoch, jobs));
        }
        leased
    }

    fn attach(&mut self, attach: Attach<J>) -> Result<Attached, AttachError> {
        if let Some(reason) = &self.out_of_order {
            return Err(AttachError::OutOfOrder(reason.clone()));
        }
        let mut returned = 0;
        match self.epoch {
            Some(known) if attach.epoch < known => return Err(AttachError::Superseded(known)),
            Some(known) if attach.epoch == known => {}
            _ => {
                returned = self.leased.len();
                let back = std::mem::take(&mut self.leased);
                self.ready.extend(back.into_values());
            }
        }
        self.epoch = Some(attach.epoch);
        self.credit = 0;
        self.link = Some(Link {
            epoch: attach.epoch,
            batches: attach.batches,
            fates: attach.fates,
        });
        Ok(Attached { returned })
    }

    fn settle(&mut self, now: Moment, settle: &Settle) -> SettleReply {
        let mut stale = 0;
        for item in settle.items.iter() {
            let job = self.leased.get(&item.lease).map(|(_, kept)| kept.job.id());
            let applied = self.epoch == Some(settle.epoch) && self.apply(now, item);
            stale += usize::from(!applied);
            self.settles.push(SeenSettle {
                epoch: settle.epoch,
                job,
                item: item.clone(),
                applied,
            });
        }
        SettleReply { stale }
    }

    fn apply(&mut self, now: Moment, item: &SettleItem) -> bool {
        let Capabilities {
            attempts, fencing, ..
        } = self.capabilities;
        let fits = |kept: &Kept<J>| !(attempts && fencing) || kept.attempts + 1 == item.attempt;
        let Some((place, mut kept)) = self.leased.remove(&item.lease) else {
            return false;
        };
        if !fits(&kept) {
            self.leased.insert(item.lease, (place, kept));
            return false;
        }
        match &item.verdict {
            Verdict::Ack => {}
            Verdict::Extend | Verdict::Begin(_) => {
                self.leased.insert(item.lease, (place, kept));
            }
            Verdict::Renew(renewal) => {
                kept.end_attempt(attempts && renewal.counts, renewal.record.as_ref());
                self.leased.insert(item.lease, (place, kept));
            }
            Verdict::Retry(retry) => {
                kept.end_attempt(attempts && retry.counts, retry.record.as_ref());
                if self.capabilities.delay && !retry.after.is_zero() {
                    self.delayed.insert((now.after(retry.after), place), kept);
                } else {
                    self.ready.insert(place, kept);
                }
            }
            Verdict::Reject(rejection) => self.reject(now, kept, rejection),
        }
        true
    }

    /// Without the capability the job ends here, and only the verdict that the test sees tells of it.
    fn reject(&mut self, now: Moment, mut kept: Kept<J>, rejection: &Rejection) {
        if !self.capabilities.dead_letter {
            return;
        }
        kept.end_attempt(true, rejection.record.as_ref());
        let letter = DeadLetter {
            job: kept.job,
            reason: rejection.reason.clone(),
            history: kept.history,
            at: now,
        };
        self.dead.push(letter.clone());
        if let Some(link) = &self.link {
            link.fates.do_send(Fates { dead: vec![letter] });
        }
    }

    /// Makes the jobs ready whose delay ends by `now`, or all of them.
    fn ripen(&mut self, now: Option<Moment>) {
        while let Some(first) = self.delayed.first_entry()
            && now.is_none_or(|now| first.key().0 <= now)
        {
            let ((_, place), kept) = first.remove_entry();
            self.ready.insert(place, kept);
        }
    }

    fn command(&mut self, command: QueueCommand) -> QueueReply<J> {
        let no_letters = QueueReply::Unsupported("this queue keeps no dead letters");
        match command {
            QueueCommand::Close => {
                self.closed = true;
                QueueReply::Done
            }
            QueueCommand::Counts => QueueReply::Counts(QueueCounts {
                ready: self.ready.len(),
                delayed: self.delayed.len(),
                leased: self.leased.len(),
                dead: self.dead.len(),
            }),
            QueueCommand::Detach(_) => QueueReply::Done,
            QueueCommand::TakeUnfinished => QueueReply::Unfinished(self.take_unfinished()),
            _ if !self.capabilities.dead_letter => no_letters,
            QueueCommand::DeadLetters { most } => {
                QueueReply::DeadLetters(self.dead.iter().take(most).cloned().collect())
            }
            QueueCommand::Requeue(which) => {
                let back = self.take_dead(&which);
                let ids = back.iter().map(DeadLetter::id).collect();
                for letter in back {
                    self.keep(Kept {
                        job: letter.job,
                        attempts: 0,
                        history: letter.history,
                    });
                }
                QueueReply::Requeued(ids)
            }
            QueueCommand::Purge(which) => QueueReply::Purged(self.take_dead(&which).len()),
        }
    }

    fn take_unfinished(&mut self) -> Vec<Sealed<J>> {
        self.ripen(None);
        self.ready.extend(std::mem::take(&mut self.leased).into_values());
        let all = std::mem::take(&mut self.ready);
        all.into_values().map(|kept| kept.job).collect()
    }

    fn take_dead(&mut self, which: &DeadSelection) -> Vec<DeadLetter<J>> {
        let meant: Option<BTreeSet<JobId>> = match which {
            DeadSelection::All => None,
            DeadSelection::Jobs(jobs) => Some(jobs.iter().copied().collect()),
        };
        let is_meant =
            |letter: &mut DeadLetter<J>| meant.as_ref().is_none_or(|jobs| jobs.contains(&letter.id()));
        self.dead.extract_if(.., is_meant).collect()
    }
}

impl<J> Kept<J> {
    fn end_attempt(&mut self, counts: bool, record: Option<&AttemptRecord>) {
        self.attempts += u32::from(counts);
        self.history.extend(record.cloned());
    }
}

impl<J: Send + Sync + 'static> QueueSource<J> for ManualQueue<J> {
    type Actor = ManualQueueActor<J>;

    fn create(&self, clock: Clock) -> ManualQueueActor<J> {
        // A new life knows no supervisor until one attaches.
        let mut state = self.shared.lock();
        state.link = None;
        state.credit = 0;
        let clock = *state.clock.get_or_insert(clock);
        drop(state);
        ManualQueueActor {
            shared: Arc::clone(&self.shared),
            clock,
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn room(&self) -> Option<QueueRoom> {
        None
    }

    fn clock(&self) -> Option<Clock> {
        self.shared.lock().clock
    }
}

impl<J: Send + Sync + 'static> Default for ManualQueue<J> {
    fn default() -> Self {
        Self::new()
    }
}

impl<J: Send + Sync + 'static> Clone for ManualQueue<J> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            capabilities: self.capabilities,
        }
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for ManualQueue<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("ManualQueue")
            .field("ready", &state.ready.len())
            .field("leased", &state.leased.len())
            .field("credit", &state.credit)
            .finish_non_exhaustive()
    }
}

/// One life of a [`ManualQueue`].
pub struct ManualQueueActor<J: Send + Sync + 'static> {
    shared: Arc<Shared<J>>,
    clock: Clock,
}

impl<J: Send + Sync + 'static> fmt::Debug for ManualQueueActor<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualQueueActor").finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static> ManualQueueActor<J> {
    /// Sets a timer for the next delay that ends, if the queue runs by itself.
    fn arm(&self, context: &mut Context<Self>) {
        let state = self.shared.lock();
        if state.is_automatic
            && let Some(((due, _), _)) = state.delayed.first_key_value()
        {
            context.run_later(due.since(self.clock.now()), |queue, context| {
                let now = queue.clock.now();
                queue.shared.change(|state| state.ripen(Some(now)));
                queue.arm(context);
            });
        }
    }
}

impl<J: Send + Sync + 'static> Actor for ManualQueueActor<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        self.arm(context);
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for ManualQueueActor<J> {
    type Result = Pushed<J>;

    fn handle(&mut self, mut push: Push<J>, _: &mut Context<Self>) -> Pushed<J> {
        let jobs = push.take_jobs();
        let refused = self.shared.change(|state| state.push(jobs));
        Pushed { refused }
    }
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for ManualQueueActor<J> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, _: &mut Context<Self>) -> Self::Result {
        self.shared.change(|state| state.attach(attach))
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for ManualQueueActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        self.shared.change(|state| {
            if state.link.as_ref().is_some_and(|link| link.epoch == demand.epoch) {
                state.credit = state.credit.saturating_add(demand.credit);
            }
        });
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for ManualQueueActor<J> {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> SettleReply {
        let now = self.clock.now();
        let reply = self.shared.change(|state| state.settle(now, &settle));
        self.arm(context);
        reply
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for ManualQueueActor<J> {
    type Result = QueueReply<J>;

    fn handle(&mut self, command: Command<J>, _: &mut Context<Self>) -> QueueReply<J> {
        self.shared.change(|state| state.command(command.command))
    }
}
