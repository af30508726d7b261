//! The world of a run: meets the seams with the faults of the plan, and writes the history.

mod cells;
mod disk;
mod due;
mod host;
mod jobs;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use self::cells::{Rooms, Thread};
use self::disk::Disks;
use self::due::Due;
pub(super) use self::host::{Ends, Host};
use self::jobs::Jobs;
use super::history::{Attempt, Entry, Occurrence, PlannedFault};
use super::plan::{FaultKind, Plan, When};
use crate::actors::Clock;
use crate::protocol::faults::{
    Act, Fate, Marks, NewHome, Order, Seen, Visit, Visitor, Who, World, WorldDisk,
};
use crate::rules::ledger::Plant;
use crate::types::{DeliveryNumber, Epoch, EventKind, Incarnation, JobId, Moment, Priority, Role, SlotId};

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

struct State {
    entries: Vec<Entry>,
    faults: Vec<PlannedFault>,
    due: Due,
    jobs: Jobs,
    live: BTreeMap<SlotId, Incarnation>,
    rooms: Rooms,
    /// What becomes of words on deliveries.
    dead_lettered: BTreeMap<(Epoch, DeliveryNumber), (Armed, Fate)>,
    /// What happens to deliveries at the end of their work.
    at_end: BTreeMap<(Epoch, DeliveryNumber), (Armed, Act)>,
    /// Deliveries in which the code fails at some place.
    failpoints: Vec<Armed>,
    disks: Disks,
    /// Whether the host or the process has ended, and the group was not started again.
    has_ended: bool,
    /// The faults for as long as which no arbiter can be made.
    without_threads: Vec<usize>,
    /// When the last thing that a fault held up or delayed goes on.
    quiet_from: Moment,
    /// When a job was last begun or came to its end.
    progress: Moment,
    over: bool,
}

/// A fault that waits for its moment within a delivery. It has not happened before that comes.
#[derive(Clone, Copy)]
struct Armed {
    fault: usize,
    cell: Option<u64>,
    seen: Seen,
}

/// What a fault does beyond the state: carried out without the lock.
enum After {
    Nothing,
    Thaw(usize, Duration),
    Jump(Duration),
    GoOn(usize, Duration, Vec<Thread>),
    EndHost(Ends),
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
        }
    }
}

impl State {
    fn new(plan: &Plan, world: Weak<RunWorld>) -> Self {
        Self {
            entries: Vec::with_capacity(plan.jobs.len() * 12),
            faults: plan.faults.iter().cloned().map(PlannedFault::new).collect(),
            due: Due::new(plan),
            jobs: Jobs::new(plan.jobs.len()),
            live: BTreeMap::new(),
            rooms: Rooms::default(),
            dead_lettered: BTreeMap::new(),
            at_end: BTreeMap::new(),
            failpoints: Vec::new(),
            disks: Disks::new(plan.seed, world),
            has_ended: false,
            without_threads: Vec::new(),
            quiet_from: Moment::default(),
            progress: Moment::default(),
            over: false,
        }
    }

    fn write(&mut self, at: Moment, what: Occurrence) {
        if !self.over {
            self.entries.push(Entry { at, what });
        }
    }

    fn attempt(&self, seen: &Seen) -> Option<Attempt> {
        self.jobs.place(seen.job).map(|job| Attempt {
            job,
            attempt: seen.attempt,
            slot: seen.slot,
            incarnation: seen.incarnation,
            epoch: seen.epoch,
            number: seen.number,
        })
    }

    /// Lets a fault happen: in this cell, at this delivery. Returns what the shell shall do about it.
    fn fire(
        &mut self,
        at: Moment,
        fault: usize,
        cell: Option<u64>,
        seen: Option<Seen>,
        in_shell: bool,
        is_virtual: bool,
    ) -> (Act, After) {
        let Some(planned) = self.faults.get(fault).filter(|planned| planned.fired.is_none()) else {
            return (Act::Go, After::Nothing);
        };
        let kind = planned.fault.kind.clone();
        if let Some(seen) = seen
            && self.arm(fault, &kind, cell, seen, in_shell)
        {
            return (Act::Go, After::Nothing);
        }
        let Some((act, after)) = self.happen(fault, &kind, cell, in_shell, is_virtual) else {
            return (Act::Go, After::Nothing);
        };
        self.note_fired(at, fault, cell, seen);
        (act, after)
    }

    /// Lets a fault wait for its moment, if it has one within the delivery. The first of a kind has it; another one for the
    /// same moment never happens.
    fn arm(&mut self, fault: usize, kind: &FaultKind, cell: Option<u64>, seen: Seen, in_shell: bool) -> bool {
        let armed = Armed { fault, cell, seen };
        match *kind {
            FaultKind::Failpoint { .. } => self.failpoints.push(armed),
            FaultKind::Error if !in_shell => self.end_with(armed, Act::Fail),
            FaultKind::PanicAfterWork => self.end_with(armed, Act::Panic),
            FaultKind::LoseSettle => self.settle_with(armed, Fate::Lose),
            FaultKind::RepeatSettle => self.settle_with(armed, Fate::Repeat),
            FaultKind::DelaySettle { ms } => self.settle_with(armed, Fate::Delay(Duration::from_millis(ms))),
            FaultKind::EchoSettle { ms } => self.settle_with(armed, Fate::Echo(Duration::from_millis(ms))),
            _ => return false,
        }
        true
    }

    /// The moment of an armed fault has come. False if it happened in an earlier delivery.
    fn go_off(&mut self, at: Moment, armed: Armed) -> bool {
        let is_new = |planned: &PlannedFault| planned.fired.is_none();
        let goes_off = self.faults.get(armed.fault).is_some_and(is_new);
        if goes_off {
            self.note_fired(at, armed.fault, armed.cell, Some(armed.seen));
        }
        goes_off
    }

    fn note_fired(&mut self, at: Moment, fault: usize, cell: Option<u64>, seen: Option<Seen>) {
        let who = cell.and_then(|cell| self.rooms.who(cell));
        let job = seen.and_then(|seen| self.jobs.place(seen.job));
        if let Some(planned) = self.faults.get_mut(fault) {
            planned.fired = Some(at);
            planned.job = job;
            if let Some(Who::Consumer(slot, incarnation)) = who {
                (planned.slot, planned.incarnation) = (Some(slot), Some(incarnation));
            }
            if let FaultKind::Block { ms }
            | FaultKind::Slow { ms }
            | FaultKind::Disconnect { ms }
            | FaultKind::DelaySettle { ms }
            | FaultKind::EchoSettle { ms }
            | FaultKind::ClockJump { ms }
            | FaultKind::Freeze { ms }
            | FaultKind::NoThreads { ms }
            | FaultKind::SecondOpener { ms } = planned.fault.kind
            {
                self.quiet_from = self.quiet_from.max(at.after(Duration::from_millis(ms)));
            }
        }
        self.write(at, Occurrence::Fired { fault });
    }

    /// What the fault does; `None` if there is nothing to do it to.
    fn happen(
        &mut self,
        fault: usize,
        kind: &FaultKind,
        cell: Option<u64>,
        in_shell: bool,
        is_virtual: bool,
    ) -> Option<(Act, After)> {
        Some(match *kind {
            // Nothing of the user's is at work yet, so the cell can do it; at a failpoint a real panic unwinds the user's code.
            FaultKind::Panic => {
                self.rooms.give(cell?, Order::Panic);
                (Act::Pause, After::Nothing)
            }
            FaultKind::Error if in_shell => (Act::Fail, After::Nothing),
            FaultKind::Hang => {
                self.rooms.freeze(cell?, fault);
                (Act::Pause, After::Nothing)
            }
            FaultKind::Slow { ms } => {
                self.rooms.freeze(cell?, fault);
                (Act::Pause, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::Block { ms } if is_virtual => {
                self.rooms.block(cell?, fault)?;
                (Act::Pause, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::Block { ms } if in_shell => (Act::Block(Duration::from_millis(ms)), After::Nothing),
            FaultKind::Block { ms } => {
                self.rooms.give(cell?, Order::Block(Duration::from_millis(ms)));
                (Act::Pause, After::Nothing)
            }
            FaultKind::CrashArbiter if is_virtual => {
                self.rooms.crash_home(cell?)?;
                (Act::Pause, After::Nothing)
            }
            FaultKind::CrashArbiter => {
                self.rooms.give(cell?, Order::EndArbiter);
                (Act::Pause, After::Nothing)
            }
            FaultKind::Crash { role } => {
                let cell = self.rooms.role(role)?;
                self.rooms.give(cell, Order::Panic);
                (Act::Go, After::Nothing)
            }
            FaultKind::Disconnect { ms } => {
                let cell = self.rooms.role(Role::Queue)?;
                self.rooms.freeze(cell, fault);
                (Act::Go, After::Thaw(fault, Duration::from_millis(ms)))
            }
            // What lies under the group is the world's own only in a simulation.
            FaultKind::ClockJump { .. }
            | FaultKind::Freeze { .. }
            | FaultKind::HostEnd
            | FaultKind::ProcessEnd
                if !is_virtual =>
            {
                return None;
            }
            FaultKind::ClockJump { ms } => (Act::Go, After::Jump(Duration::from_millis(ms))),
            FaultKind::Freeze { ms } => {
                let threads = self.rooms.stand_still(fault);
                (Act::Go, After::GoOn(fault, Duration::from_millis(ms), threads))
            }
            FaultKind::NoThreads { ms } => {
                self.without_threads.push(fault);
                (Act::Go, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::HostEnd | FaultKind::ProcessEnd if self.has_ended => return None,
            FaultKind::HostEnd => {
                self.has_ended = true;
                (Act::Go, After::EndHost(Ends::Host))
            }
            FaultKind::ProcessEnd => {
                self.has_ended = true;
                // Nobody does anything more, whoever else may have a turn before everything is dropped.
                self.rooms.stand_still(fault);
                (Act::Pause, After::EndHost(Ends::Process))
            }
            FaultKind::FailedCommit { times } => {
                self.disks.fail(times)?;
                (Act::Go, After::Nothing)
            }
            FaultKind::SecondOpener { ms } => {
                self.disks.want()?;
                (Act::Go, After::Thaw(fault, Duration::from_millis(ms)))
            }
            // The others wait for their moment, or for the source.
            _ => return None,
        })
    }

    fn end_with(&mut self, armed: Armed, what: Act) {
        let place = self.at_end.entry(armed.seen.delivery());
        place.or_insert((armed, what));
    }

    fn settle_with(&mut self, armed: Armed, what: Fate) {
        let place = self.dead_lettered.entry(armed.seen.delivery());
        place.or_insert((armed, what));
    }

    fn note_event(&mut self, at: Moment, kind: &EventKind) -> bool {
        match kind {
            EventKind::Accepted { job } => {
                if self.jobs.place(*job).is_none()
                    && let Some(place) = self.jobs.expected.take()
                {
                    self.jobs.accept(place, *job);
                }
                // A caller that waits for it goes on.
                self.jobs.calls > 0
            }
            EventKind::Delivered { job, .. } => {
                self.jobs.is_delivered(*job);
                false
            }
            EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } => {
                self.progress = at;
                self.jobs.close(*job);
                self.jobs.are_done()
            }
            EventKind::ConsumerUp { slot, incarnation } => {
                self.live.insert(*slot, *incarnation);
                true
            }
            EventKind::ConsumerDown { slot, .. } => {
                self.live.remove(slot);
                false
            }
            EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            } => {
                self.live.clear();
                false
            }
            _ => false,
        }
    }
}

impl World for RunWorld {
    fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    fn plant(&self) -> Option<Plant> {
        self.plant
    }

    fn wall_clock(&self) -> Option<Moment> {
        let is_virtual = self.is_virtual;
        is_virtual.then(|| BEGINNING.after(self.now().since(Moment::START)))
    }

    fn told(&self, kind: &EventKind) {
        let at = self.now();
        let mut state = self.lock();
        state.write(at, Occurrence::Group(kind.clone()));
        let is_news = state.note_event(at, kind);
        drop(state);
        if is_news {
            self.news.notify_one();
        }
    }

    fn cell_made(&self, who: Who, arbiter: Option<u64>, marks: Arc<Marks>) -> u64 {
        self.lock().rooms.add(who, arbiter, marks)
    }

    fn cell_gone(&self, cell: u64) {
        let room = self.lock().rooms.remove(cell);
        // Dropped without the lock: it holds a waker.
        drop(room);
    }

    fn order(&self, cell: u64, waker: &Waker) -> Order {
        self.lock().rooms.order_of(cell, waker)
    }

    fn over(&self, fault: usize) {
        let at = self.now();
        let mut state = self.lock();
        state.rooms.thaw(fault);
        state.without_threads.retain(|of| *of != fault);
        state.disks.let_go();
        state.write(at, Occurrence::Over { fault });
    }

    fn woken_from_outside(&self, who: Who) {
        let actor = match who {
            Who::Role(role) => format!("the {role}"),
            Who::Consumer(slot, incarnation) => format!("the consumer of {slot}, {incarnation}"),
            Who::Unnamed => "an actor".to_owned(),
        };
        self.write(Occurrence::ForeignWake { actor });
    }

    fn begins(&self, seen: Seen, shell: Option<u64>) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        state.write(at, Occurrence::Begun(attempt));
        state.progress = at;
        let number = state.due.begins(seen.slot);
        let of_attempt = state.due.at_attempt(attempt.job, seen.attempt);
        let of_delivery = state.due.at_delivery(seen.slot, number);
        let due: Vec<usize> = of_attempt.chain(of_delivery).collect();
        if due.is_empty() {
            return Act::Go;
        }
        let cell = shell.or_else(|| state.rooms.consumer_in(seen.slot));
        let in_shell = shell.is_some();
        let mut act = Act::Go;
        let mut afters = Vec::new();
        for fault in due {
            if act != Act::Go {
                break;
            }
            let (next, after) = state.fire(at, fault, cell, Some(seen), in_shell, self.is_virtual);
            act = next;
            afters.push(after);
        }
        drop(state);
        for after in afters {
            self.carry_out(after);
        }
        act
    }

    fn ends(&self, seen: Seen, is_done: bool, shell: Option<u64>) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        let what = if is_done {
            Occurrence::Worked
        } else {
            Occurrence::Failed
        };
        state.write(at, what(attempt));
        let delivery = seen.delivery();
        state.failpoints.retain(|armed| armed.seen.delivery() != delivery);
        let Some((armed, act)) = state.at_end.remove(&delivery) else {
            return Act::Go;
        };
        match (act, shell) {
            _ if !state.go_off(at, armed) => Act::Go,
            (Act::Panic, Some(cell)) => {
                state.rooms.give(cell, Order::Panic);
                Act::Pause
            }
            (act, _) => act,
        }
    }

    fn settles(&self, epoch: Epoch, number: DeliveryNumber) -> Fate {
        let at = self.now();
        let mut state = self.lock();
        match state.dead_lettered.remove(&(epoch, number)) {
            Some((armed, fate)) if state.go_off(at, armed) => fate,
            _ => Fate::Arrive,
        }
    }

    fn repeats(&self, job: JobId, attempt: u32) -> bool {
        let mut state = self.lock();
        let Some(place) = state.jobs.place(job) else {
            return false;
        };
        let planned = |fault: &usize| {
            state.faults.get(*fault).is_some_and(|planned| {
                planned.fired.is_none() && planned.fault.kind == FaultKind::RepeatDelivery
            })
        };
        let due = state.due.at_attempt(place, attempt).find(planned);
        let Some(fault) = due else { return false };
        let at = self.now();
        state.note_fired(at, fault, None, None);
        if let Some(planned) = state.faults.get_mut(fault) {
            planned.job = Some(place);
        }
        state.write(at, Occurrence::SourceRepeated { job: place });
        true
    }

    fn home_made(&self) -> NewHome {
        if !self.is_virtual {
            return NewHome::Arbiter;
        }
        let at = self.now();
        let mut state = self.lock();
        if state.without_threads.is_empty() {
            return NewHome::Simulated(state.rooms.add_home());
        }
        state.write(at, Occurrence::NoThread);
        NewHome::NothingLeft
    }

    fn home_lives(&self, arbiter: u64) -> bool {
        self.lock().rooms.home_lives(arbiter)
    }

    fn disk(&self, path: &Path) -> Option<Arc<dyn WorldDisk>> {
        if !self.is_virtual {
            return None;
        }
        let disk = self.lock().disks.at(path);
        Some(disk)
    }

    fn visited_by(&self, visitor: Visitor) {
        self.lock().disks.visit_by(visitor);
    }

    fn commit_takes(&self) -> Duration {
        self.lock().disks.commit_takes()
    }

    fn fails_at(&self, cell: Option<u64>, place: &str) -> bool {
        let Some(cell) = cell else { return false };
        let mut state = self.lock();
        let is_here = |fault: usize| match state.faults.get(fault).map(|planned| &planned.fault.kind) {
            Some(FaultKind::Failpoint { place: planned }) => planned == place,
            _ => false,
        };
        let found = state
            .failpoints
            .iter()
            .position(|armed| armed.cell == Some(cell) && is_here(armed.fault));
        let Some(index) = found else { return false };
        let armed = state.failpoints.swap_remove(index);
        let at = self.now();
        state.go_off(at, armed)
    }

    fn note(&self, text: String) {
        self.write(Occurrence::Note(text));
    }
}
