//! The world of a run: meets the seams with the faults of the plan, and writes the history.

mod after;
mod cells;
mod disk;
mod due;
mod host;
mod jobs;
mod seams;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use self::after::After;
pub(super) use self::host::Host;
use self::state::State;
use crate::actors::Clock;
use crate::protocol::faults::{Visit, Visitor, World};
use crate::rules::ledger::Plant;
use crate::sim::fault::When;
use crate::sim::history::{Entry, Occurrence, PlannedFault};
use crate::sim::plan::Plan;
use crate::types::{JobId, Moment, Priority, SlotId};

/// What the wall clock shows at the start of a simulated run.
const BEGINNING: Moment = Moment::from_millis(1_700_000_000_000);

/// What a world has seen: entries, faults and the names of the jobs.
pub(super) type Observed = (Vec<Entry>, Vec<PlannedFault>, Vec<(Option<JobId>, Priority)>);

/// The world of one run.
pub(super) struct RunWorld {
    /// Whether everything runs on one thread and a paused clock.
    is_virtual: bool,
    clock: Clock,
    plant: Option<Plant>,
    state: Mutex<State>,
    /// Rung when the last open job was finished, and when a slot comes up.
    pub(super) news: Notify,
    /// What lies under the group.
    pub(super) host: Host,
    /// Itself, for what a fault does later.
    me: Weak<Self>,
}

impl RunWorld {
    pub(super) fn new(plan: &Plan, is_virtual: bool, plant: Option<Plant>) -> Arc<Self> {
        let clock = Clock::beginning_at(Moment::START);
        Arc::new_cyclic(|me| Self {
            is_virtual,
            clock,
            plant,
            state: Mutex::new(State::new(plan, me.clone())),
            news: Notify::new(),
            host: Host::new(plan),
            me: me.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn instant(&self, ms: u64) -> tokio::time::Instant {
        self.clock.instant(Moment::from_millis(ms))
    }

    pub(super) fn write(&self, what: Occurrence) {
        let at = self.now();
        self.lock().write(at, what);
    }

    /// The next job that is accepted is this one.
    pub(super) fn expect(&self, job: usize, priority: Priority) {
        let at = self.now();
        let mut state = self.lock();
        state.jobs.send(job, priority);
        state.write(at, Occurrence::Sent { job });
    }

    /// The job that is being sent has this name.
    pub(super) fn named(&self, job: usize, name: JobId) {
        self.lock().jobs.name(job, name);
    }

    /// The send of this job has returned. A queue that gives its word on each job may have told of it before.
    pub(super) fn accepted(&self, job: usize, id: JobId) {
        let mut state = self.lock();
        state.jobs.expected = None;
        if state.jobs.place(id).is_none() {
            state.jobs.accept(job, id);
        }
    }

    pub(super) fn refused(&self, job: usize, reason: String) {
        self.lock().jobs.expected = None;
        self.write(Occurrence::Refused { job, reason });
    }

    pub(super) fn open(&self) -> Vec<usize> {
        self.lock().jobs.open()
    }

    /// When the last thing that a fault held up or delayed goes on.
    pub(super) fn quiet_from(&self) -> Moment {
        self.lock().quiet_from
    }

    /// When something last went on: a job was begun or came to its end, or what a fault held up was over.
    pub(super) fn last_progress(&self) -> Moment {
        let state = self.lock();
        state.progress.max(state.quiet_from)
    }

    pub(super) fn live(&self) -> usize {
        self.lock().live.len()
    }

    fn visitor(&self) -> Option<Visitor> {
        self.lock().disks.visitor()
    }

    /// What a crash would leave of the files at this moment.
    fn look_into_files(&self) {
        let copies = self.lock().disks.copies();
        for copy in copies {
            match copy.visit(self) {
                Some(Visit::Left(visits)) => self.write(Occurrence::LookedInto { visits }),
                Some(Visit::Unreadable(why)) => self.write(Occurrence::Unreadable { why }),
                Some(Visit::NoQueue) | None => {}
            }
        }
    }

    /// Takes the history out; what is seen after that is not written down.
    pub(super) fn finish(&self) -> Observed {
        self.look_into_files();
        let mut state = self.lock();
        state.over = true;
        (
            std::mem::take(&mut state.entries),
            std::mem::take(&mut state.faults),
            state.jobs.take_sent(),
        )
    }

    /// A fault whose time has come.
    pub(super) fn strike(&self, fault: usize) {
        let at = self.now();
        let mut state = self.lock();
        let Some(planned) = state.faults.get(fault).map(|planned| planned.fault.clone()) else {
            return;
        };
        let cell = match planned.when {
            When::Slot { slot, .. } => match state.rooms.consumer_in(SlotId(slot)) {
                Some(cell) => Some(cell),
                None => return,
            },
            _ => None,
        };
        let (_, after) = state.fire(at, fault, cell, None, false, self.is_virtual);
        drop(state);
        self.carry_out(after);
    }

    fn carry_out(&self, after: After) {
        match after {
            After::Nothing => {}
            After::Thaw(fault, wait) => {
                let Some(world) = self.me.upgrade() else { return };
                self.host.spawn(async move {
                    tokio::time::sleep(wait).await;
                    world.over(fault);
                });
            }
            After::Jump(by) => self.host.spawn(host::jump(by)),
            After::GoOn(fault, after, threads) => {
                let Some(world) = self.me.upgrade() else { return };
                self.host
                    .spawn(async move { world.go_on(fault, after, threads).await });
            }
            After::EndHost(ends) => self.host.end(ends),
            After::Broker(fault, broker, what, wait) => {
                broker.strike(what);
                self.carry_out(After::Thaw(fault, wait));
            }
        }
    }
}
