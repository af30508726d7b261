//! What outlives the queue actor.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::room::{Account, QueueRoom};
use super::shell::{QueueShell, closed};
use crate::actors::Clock;
use crate::protocol::{Attach, AttachError, Attached, QueueCommand, QueueReply, Settle, SettleReply};
use crate::rules::store::{DeadSelection, Refused, RefusedSettle, Settled, Store};
use crate::types::{Capabilities, DeadLetter, Guarded, JobId, JobRef, Moment, Priority, Run, Verdict};

/// What a queue holds at the end of its group.
#[derive(Debug)]
pub struct QueueRest<J> {
    /// Every job that is neither done nor dead, leased ones too, oldest first. They are no longer in the queue.
    pub unfinished: Vec<JobRef<J>>,
    /// Its dead letters, oldest first, for those who wait for the outcome of such a job and were not told yet.
    pub dead: Vec<DeadLetter<J>>,
}

/// What a queue holds and knows, apart from the actor in front of it. When the actor dies, the next one is made over the
/// same core: it finds every job, every lease and the epoch.
pub struct QueueCore<J: Send + Sync + 'static, S> {
    state: Mutex<State<J, S>>,
    room: Option<QueueRoom>,
    capabilities: Capabilities,
    /// The clock of the first actor over this core. The store keeps moments, so every later actor reads the same one.
    clock: OnceLock<Clock>,
}

/// The state of a queue. One lock for all of it: an operation is seen whole or not at all.
pub(super) struct State<J: Send + Sync + 'static, S> {
    /// Guarded, since its `Drop` is the user's.
    store: Guarded<S>,
    account: Account,
    pub(super) shell: QueueShell<J>,
}

impl<J: Send + Sync + 'static, S: Store<J>> QueueCore<J, S> {
    /// A core around a store, which may hold jobs already.
    pub fn new(store: S) -> Self {
        let mut account = Account::new(store.bound());
        account.open(store.counts().unfinished());
        Self {
            room: account.room(),
            capabilities: store.capabilities(),
            clock: OnceLock::new(),
            state: Mutex::new(State {
                store: Guarded::new(store),
                account,
                shell: QueueShell::new(),
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

    /// Hands out everything that is neither done nor dead, and names what is dead. For the end of a group.
    pub(super) fn take_rest(&self) -> QueueRest<J> {
        let mut state = self.lock();
        let rest = QueueRest {
            dead: state.store.dead_letters(usize::MAX),
            unfinished: state.store.take_unfinished(),
        };
        state.settle_account();
        rest
    }

    /// A poisoned lock is no reason to stop: a store is whole even if one of its methods panics, and so is the rest.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<J, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> State<J, S> {
    /// Gives back the permits of jobs that have left. Ends every operation.
    pub(super) fn settle_account(&mut self) {
        let Self { store, account, .. } = self;
        account.settle(|| store.counts().unfinished());
    }

    /// When something becomes due by itself.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.store.next_due()
    }

    pub(super) fn push(&mut self, now: Moment, runs: Vec<Run<J>>) -> Vec<Refused<J>> {
        self.account.charge(runs.iter().map(Run::len).sum());
        if self.shell.is_closed() {
            return runs.into_iter().flat_map(Run::into_jobs).map(closed).collect();
        }
        self.store.push(now, runs, self.shell.news())
    }

    pub(super) fn attach(&mut self, now: Moment, attach: Attach<J>) -> Result<Attached, AttachError> {
        let Self { store, shell, .. } = self;
        shell.attach(attach, || store.take_back(now))
    }

    /// Hands ready jobs on, as many as there is credit for.
    pub(super) fn hand_out(&mut self, now: Moment) {
        let most = self.most();
        let Self { store, shell, .. } = self;
        if most == 0 {
            return;
        }
        let mut leased = Vec::new();
        store.lease(now, most, &mut leased, shell.news());
        // What expired is told before what was behind it is handed out.
        shell.tell();
        shell.hand_out(leased);
    }

    /// How many jobs can be handed out at most: the urgent ones come first, and have credit of their own.
    pub(super) fn most(&self) -> usize {
        let urgent = self.shell.credit_for(Priority::MOST_URGENT);
        self.shell.credit().max(urgent.min(self.store.urgent()))
    }

    pub(super) fn settle(&mut self, now: Moment, settle: &Settle) -> SettleReply {
        let Self { store, shell, .. } = self;
        let mut of_blocks = Vec::new();
        if shell.is_attached(settle.epoch) {
            for acked in settle.acked.iter() {
                let left = store.ack_places(now, acked.lease, acked.places, shell.news());
                of_blocks.extend(left.iter().map(|place| acked.lease.of_place(place)));
            }
        }
        let mut reply = shell.settle(settle, |item, news| {
            store.settle(now, item.lease, item.attempt, &item.verdict, news)
        });
        if let SettleReply::Applied { refused } = &mut reply {
            // They are refused once more, each on its own, since only then the store says why.
            refused.extend(of_blocks.into_iter().filter_map(|lease| {
                let attempt = 1;
                match store.settle(now, lease, attempt, &Verdict::Ack, shell.news()) {
                    Settled::Applied => None,
                    Settled::Refused(why) => Some(RefusedSettle { lease, attempt, why }),
                }
            }));
        }
        reply
    }

    pub(super) fn wake(&mut self, now: Moment) {
        self.store.wake(now, self.shell.news());
    }

    pub(super) fn command(&mut self, now: Moment, command: QueueCommand) -> QueueReply<J> {
        match command {
            QueueCommand::Close => self.shell.close(),
            QueueCommand::Counts => QueueReply::Counts(self.store.counts()),
            QueueCommand::DeadLetters { most } => QueueReply::DeadLetters(self.store.dead_letters(most)),
            QueueCommand::Jobs(_) => QueueReply::Unsupported("its jobs are in the memory of this program"),
            QueueCommand::Requeue(which) => QueueReply::Requeued(self.requeue(now, &which)),
            QueueCommand::Purge(which) => QueueReply::Purged(self.store.purge(&which)),
            // What ends with its process need not know how it ended.
            QueueCommand::Goodbye { .. } => QueueReply::Done,
            QueueCommand::TakeUnfinished => QueueReply::Unfinished(self.store.take_unfinished()),
        }
    }

    /// First takes permits, then brings back at most as many dead letters: a sender that waits for room is never
    /// overtaken by jobs that nobody made room for.
    fn requeue(&mut self, now: Moment, which: &DeadSelection) -> Vec<JobId> {
        // What is due goes first, since it makes dead letters and room.
        self.wake(now);
        self.settle_account();
        let meant = meant(which, self.store.dead_letters(usize::MAX));
        let permits = self.account.acquire(meant.len(), 0);
        if permits == 0 {
            return Vec::new();
        }
        let chosen = meant.into_iter().take(permits).collect();
        self.store
            .requeue(now, &DeadSelection::Jobs(chosen), self.shell.news())
    }
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
