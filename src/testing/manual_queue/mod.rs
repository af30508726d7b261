//! A queue in which the test decides by hand.

mod actor;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::actor::ManualQueueActor;
use self::state::State;
use crate::actors::Clock;
use crate::actors::queue::{QueueRoom, QueueSource};
use crate::rules::store::Refusal;
use crate::types::{
    Arrival, Capabilities, DeadLetter, Epoch, Job, JobId, LinkState, Moment, Released, RevokeKind, Revoked,
    SettleItem,
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

/// What becomes of the verdicts that reach a [`ManualQueue`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SettleAnswers {
    /// They are applied, and answered at once.
    #[default]
    Apply,
    /// They are not applied, and refused as if no such lease lasted.
    Refuse,
    /// They are not applied, and answered with [`SettleReply::LinkDown`](crate::queue::SettleReply::LinkDown).
    LinkDown,
    /// They are taken no notice of, and never answered.
    Never,
}

impl<J: Send + Sync + 'static> ManualQueue<J> {
    /// An empty queue that claims nothing and leases nothing by itself.
    pub fn new() -> Self {
        Self::with(Capabilities::LEAST)
    }

    /// An empty queue with exactly these capabilities.
    pub fn with(capabilities: Capabilities) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(capabilities)),
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

    /// Jobs come from outside of the process, as from a broker. Delays and expiry are not looked at.
    pub fn arrive(&self, jobs: impl IntoIterator<Item = (Arrival, Job<J>)>) {
        self.shared.change(|state| state.arrive(jobs));
    }

    /// Leases up to `most` ready jobs now, as far as there is credit, and says how many they were.
    pub fn lease(&self, most: usize) -> usize {
        self.shared.change(|state| state.lease(most))
    }

    /// Ends every delay now; the jobs are ready.
    pub fn end_delays(&self) {
        self.shared
            .change(|state| state.ripen(Moment::from_millis(u64::MAX)));
    }

    /// Refuses every job that comes from now on, for this reason; `None` takes them again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.shared.lock().refusal = refusal;
    }

    /// Answers every attach from now on that the queue is out of order, for this reason; `None` lets supervisors in again.
    pub fn break_down(&self, reason: Option<&str>) {
        self.shared.lock().out_of_order = reason.map(Into::into);
    }

    /// From now on verdicts are answered like this.
    pub fn answer_settles(&self, answers: SettleAnswers) {
        self.shared.lock().answers = answers;
    }

    /// Answers no command and no verdict from now on, as a queue whose broker hangs; `false` ends that for what comes later.
    pub fn be_silent(&self, silent: bool) {
        self.shared.lock().is_silent = silent;
    }

    /// Says how the link is to whoever keeps the jobs.
    pub fn set_link(&self, link: LinkState) {
        self.shared.change(|state| {
            let now = state.clock.map_or(Moment::START, |clock| clock.now());
            state.shell.set_link(link, now);
        });
    }

    /// Within which time a group that ended wanted its goodbye answered, if one has ended.
    pub fn said_goodbye(&self) -> Option<Duration> {
        self.shared.lock().said_goodbye
    }

    /// Takes leases back, as a broker does. Lost ones are over at once: verdicts on them are refused. Else the supervisor has
    /// time to finish them. Whatever was not settled can be leased again when this returns; `None` if no supervisor was there to
    /// answer. Cancellation: the word stands, and the jobs stay leased.
    pub async fn revoke(&self, what: Revoked, kind: RevokeKind) -> Option<Released> {
        let meant = self.shared.lock().meant(&what);
        let (answer, mut lost) = {
            let mut state = self.shared.lock();
            let lost = match kind {
                RevokeKind::Lost => state.end_leases(&meant),
                RevokeKind::Drain { .. } => Vec::new(),
            };
            (state.shell.revoke(what, kind), lost)
        };
        let released = answer.await;
        self.shared.change(|state| {
            lost.extend(state.end_leases(&meant));
            state.bring_back(lost);
        });
        released
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
        self.shared.lock().shell.credit()
    }

    /// The most jobs that the supervisor can have leased at once, as it said last.
    pub fn ceiling(&self) -> usize {
        self.shared.lock().shell.ceiling()
    }

    /// The latest life of the supervisor that attached.
    pub fn epoch(&self) -> Option<Epoch> {
        let epoch = self.shared.lock().shell.epoch();
        (epoch > Epoch(0)).then_some(epoch)
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
        self.until(|state| state.shell.credit() >= credit).await;
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
            state.shell.tell();
            result
        };
        self.changes.send_modify(|changes| *changes += 1);
        result
    }
}

impl<J: Send + Sync + 'static> QueueSource<J> for ManualQueue<J> {
    type Actor = ManualQueueActor<J>;

    fn create(&self, clock: Clock) -> ManualQueueActor<J> {
        // A new life knows no supervisor until one attaches.
        let mut state = self.shared.lock();
        state.shell.new_life();
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
            .field("credit", &state.shell.credit())
            .finish_non_exhaustive()
    }
}
