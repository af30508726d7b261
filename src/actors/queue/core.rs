//! What outlives the queue actor.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::rest::QueueRest;
use super::room::{Account, QueueRoom};
use crate::actors::Clock;
use crate::protocol::{AttachError, Attached, QueueCommand, QueueReply, Settle, SettleReply};
use crate::rules::store::{DeadSelection, LeasedRun, News, Refusal, Refused, Settled, Store};
use crate::words::{Capabilities, DeadLetter, Epoch, EventKind, Guarded, JobId, Load, Moment, Sealed};

/// What a queue holds and knows, apart from the actor in front of it. When the actor dies, the next one is made over the
/// same core: it finds every job, every lease and the epoch.
pub struct QueueCore<J, S> {
    state: Mutex<State<J, S>>,
    room: Option<QueueRoom>,
    capabilities: Capabilities,
    /// The clock of the first actor over this core. The store keeps moments, so every later actor reads the same one.
    clock: OnceLock<Clock>,
}

/// The state of a queue. One lock for all of it: an operation is seen whole or not at all.
pub(super) struct State<J, S> {
    /// Guarded, since its `Drop` is the user's.
    store: Guarded<S>,
    account: Account,
    /// The latest supervisor that attached. It fences every earlier one, also after the actor was replaced.
    epoch: Option<Epoch>,
    /// Set by `Close`, never cleared.
    closed: bool,
    /// What the store told and nobody has taken yet. Written by every operation, emptied by the actor when somebody is
    /// attached; kept here so that it survives the actor.
    news: News<J>,
}

/// What the actor has to do after an operation.
pub(super) struct Done<R> {
    /// What the operation itself returned.
    pub(super) result: R,
    /// When something becomes due by itself.
    pub(super) due: Option<Moment>,
    /// Whether there is something to tell.
    pub(super) news: bool,
}

impl<J: Send + Sync + 'static, S: Store<J>> QueueCore<J, S> {
    /// A core around a store, which may hold jobs already.
    pub fn new(store: S) -> Self {
        let account = Account::new(store.bound(), store.counts().unfinished());
        Self {
            room: account.room(),
            capabilities: store.capabilities(),
            clock: OnceLock::new(),
            state: Mutex::new(State {
                store: Guarded::new(store),
                account,
                epoch: None,
                closed: false,
                news: News::default(),
            }),
        }
    }

    /// The clock by which the store's moments count, if it has begun.
    pub fn clock(&self) -> Option<Clock> {
        self.clock.get().copied()
    }

    /// The clock by which the store's moments count; it begins with `first` if it has not begun.
    pub(super) fn clock_or(&self, first: Clock) -> Clock {
        *self.clock.get_or_init(|| first)
    }

    /// What the store does natively.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The room of the queue, if its senders wait or are rejected when it is full.
    pub fn room(&self) -> Option<QueueRoom> {
        self.room.clone()
    }

    /// Does one operation and sets the account right afterwards.
    pub(super) fn operate<R>(&self, work: impl FnOnce(&mut State<J, S>) -> R) -> Done<R> {
        let mut state = self.lock();
        let result = work(&mut state);
        let State { store, account, .. } = &mut *state;
        account.settle(|| store.counts().unfinished());
        Done {
            result,
            due: state.store.next_due(),
            news: !state.news.dead.is_empty() || !state.news.events.is_empty(),
        }
    }

    /// Takes what there is to tell: events, dead letters, or both.
    pub(super) fn take_news(&self, events: bool, dead: bool) -> News<J> {
        let mut state = self.lock();
        let mut news = News::default();
        if events {
            std::mem::swap(&mut news.events, &mut state.news.events);
        }
        if dead {
            std::mem::swap(&mut news.dead, &mut state.news.dead);
        }
        state.bound_news();
        news
    }

    /// Hands out everything that is neither done nor dead, and names what is dead. For the end of a group.
    pub(super) fn take_rest(&self) -> QueueRest<J> {
        self.operate(|state| QueueRest {
            dead: state.store.dead_letters(usize::MAX),
            unfinished: state.store.take_unfinished(),
        })
        .result
    }

    /// A poisoned lock is no reason to stop: a store is whole even if one of its methods panics, and so is the rest.
    fn lock(&self) -> MutexGuard<'_, State<J, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> State<J, S> {
    pub(super) fn push(&mut self, now: Moment, loads: Vec<Load<J>>) -> Vec<Refused<J>> {
        self.account.charge(loads.iter().map(Load::len).sum());
        if self.closed {
            return loads.into_iter().flat_map(Load::into_jobs).map(closed).collect();
        }
        self.store.push_loads(now, loads, &mut self.news)
    }

    /// Lets in a supervisor, unless a later one was here.
    pub(super) fn attach(&mut self, now: Moment, epoch: Epoch) -> Result<Attached, AttachError> {
        match self.epoch {
            Some(known) if epoch < known => Err(AttachError::Superseded(known)),
            Some(known) if epoch == known => Ok(Attached { returned: 0 }),
            _ => {
                // First take back, then note the epoch: if the store panics, the next attach takes back again.
                let returned = self.store.take_back(now);
                self.epoch = Some(epoch);
                Ok(Attached { returned })
            }
        }
    }

    /// Leases jobs to a supervisor, unless a later one is here.
    pub(super) fn lease(&mut self, now: Moment, epoch: Epoch, most: usize) -> Vec<LeasedRun<J>> {
        let mut runs = Vec::new();
        if self.epoch == Some(epoch) {
            self.store.lease_runs(now, most, &mut runs, &mut self.news);
        }
        runs
    }

    pub(super) fn settle(&mut self, now: Moment, settle: &Settle) -> SettleReply {
        if self.epoch != Some(settle.epoch) {
            let in_blocks: usize = settle.acked.iter().map(|acked| acked.places.len()).sum();
            return SettleReply {
                stale: settle.items.len() + in_blocks,
            };
        }
        let mut stale = 0;
        for acked in settle.acked.iter() {
            stale += self.store.ack_places(acked.lease, acked.places);
        }
        for item in settle.items.iter() {
            let settled = self
                .store
                .settle(now, item.lease, item.attempt, &item.verdict, &mut self.news);
            stale += usize::from(settled == Settled::Stale);
        }
        SettleReply { stale }
    }

    pub(super) fn wake(&mut self, now: Moment) {
        self.store.wake(now, &mut self.news);
    }

    pub(super) fn command(&mut self, now: Moment, command: QueueCommand) -> QueueReply<J> {
        match command {
            QueueCommand::Close => {
                self.closed = true;
                QueueReply::Done
            }
            QueueCommand::Counts => QueueReply::Counts(self.store.counts()),
            QueueCommand::DeadLetters { most } => QueueReply::DeadLetters(self.store.dead_letters(most)),
            QueueCommand::Requeue(which) => QueueReply::Requeued(self.requeue(now, &which)),
            QueueCommand::Purge(which) => QueueReply::Purged(self.store.purge(&which)),
            // What ends with its process need not know how it ended.
            QueueCommand::Detach(_) => QueueReply::Done,
            QueueCommand::TakeUnfinished => QueueReply::Unfinished(self.store.take_unfinished()),
        }
    }

    /// First takes permits, then brings back at most as many dead letters: a sender that waits for room is never
    /// overtaken by jobs that nobody made room for.
    fn requeue(&mut self, now: Moment, which: &DeadSelection) -> Vec<JobId> {
        // What is due goes first, since it makes dead letters and room.
        self.store.wake(now, &mut self.news);
        let store = &self.store;
        self.account.settle(|| store.counts().unfinished());
        let meant = meant(which, self.store.dead_letters(usize::MAX));
        let permits = self.account.acquire(meant.len());
        if permits == 0 {
            return Vec::new();
        }
        let chosen = meant.into_iter().take(permits).collect();
        self.store
            .requeue(now, &DeadSelection::Jobs(chosen), &mut self.news)
    }

    /// Nobody has been attached for long: the oldest news go, half of them at a time.
    fn bound_news(&mut self) {
        drop_oldest::<EventKind>(&mut self.news.events, "events");
        drop_oldest::<DeadLetter<J>>(&mut self.news.dead, "fates");
    }
}

fn closed<J>(job: Sealed<J>) -> Refused<J> {
    let refusal = Refusal::Closed;
    Refused { job, refusal }
}

/// The dead letters that a selection means, oldest first.
fn meant<J>(which: &DeadSelection, letters: Vec<DeadLetter<J>>) -> Vec<JobId> {
    let dead = letters.iter().map(DeadLetter::id);
    match which {
        DeadSelection::All => dead.collect(),
        DeadSelection::Jobs(jobs) => {
            let jobs: BTreeSet<&JobId> = jobs.iter().collect();
            dead.filter(|job| jobs.contains(job)).collect()
        }
    }
}

/// News of one kind that are kept at most while nobody takes them.
const MOST_NEWS: usize = 65_536;

fn drop_oldest<T>(news: &mut Vec<T>, what: &'static str) {
    if news.len() > MOST_NEWS {
        let surplus = news.len() - MOST_NEWS / 2;
        news.drain(..surplus);
        tracing::warn!(
            what,
            surplus,
            "nobody is attached to the queue: the oldest news are dropped"
        );
    }
}
