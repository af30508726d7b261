//! The world of a run: meets the seams with the faults of the plan, and writes the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::history::{Attempt, Entry, Happening, PlannedFault};
use super::plan::{FaultKind, Plan, When};
use crate::actors::Clock;
use crate::protocol::faults::{Act, Fate, Marks, Order, Seen, Who, World};
use crate::rules::ledger::Plant;
use crate::words::{Cause, DeliveryNumber, Epoch, EventKind, Incarnation, JobId, Moment, Role, SlotId};

/// What the wall clock shows at the start of a simulated run.
const UNIX_MS: u64 = 1_700_000_000_000;

/// The world of one run.
pub(super) struct RunWorld {
    /// Whether everything runs on one thread and a paused clock.
    is_virtual: bool,
    clock: Clock,
    plant: Option<Plant>,
    state: Mutex<State>,
    /// Rung when the last open job was finished, and when a slot comes up.
    pub(super) news: Notify,
}

/// A cell.
struct Room {
    who: Who,
    home: Option<u64>,
    /// Set at its first poll.
    waker: Option<Waker>,
    /// Which fault holds it up: it is not polled, but hears that it was ended.
    frozen: Option<usize>,
    /// An order for its next poll.
    once: Option<Order>,
    /// What it can see of this without asking: whether it must ask, and whether it blocks its home.
    marks: Arc<Marks>,
    /// Whether it comes back from blocking its home: it goes on before it hears that it was ended.
    comes_back: bool,
}

#[derive(Default)]
struct House {
    has_ended: bool,
    /// How many faults block it.
    blocked: u32,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    faults: Vec<PlannedFault>,
    by_attempt: BTreeMap<(usize, u32), Vec<usize>>,
    by_delivery: BTreeMap<(u32, u32), Vec<usize>>,
    /// Deliveries that each slot began.
    begun: BTreeMap<SlotId, u32>,
    ids: Vec<Option<JobId>>,
    places: BTreeMap<JobId, usize>,
    /// The job that is being sent.
    expected: Option<usize>,
    /// Accepted jobs without an end.
    open: BTreeSet<usize>,
    live: BTreeMap<SlotId, Incarnation>,
    cells: BTreeMap<u64, Room>,
    next_cell: u64,
    houses: Vec<House>,
    fates: BTreeMap<(Epoch, DeliveryNumber), Fate>,
    /// What happens to deliveries at the end of their work.
    at_end: BTreeMap<(Epoch, DeliveryNumber), Act>,
    /// Places at which a cell fails, with the fault.
    failpoints: Vec<(u64, usize)>,
    /// When the last thing that a fault held up or delayed goes on.
    quiet_from: Moment,
    over: bool,
}

/// What a fault does beyond the state: carried out without the lock.
enum After {
    Nothing,
    Thaw(usize, Duration),
    Jump(Duration),
}

impl RunWorld {
    pub(super) fn new(plan: &Plan, is_virtual: bool, plant: Option<Plant>) -> Arc<Self> {
        let mut state = State {
            entries: Vec::with_capacity(plan.jobs.len() * 12),
            ids: vec![None; plan.jobs.len()],
            ..State::default()
        };
        for (index, fault) in plan.faults.iter().enumerate() {
            state.faults.push(PlannedFault {
                fault: fault.clone(),
                fired: None,
                slot: None,
                incarnation: None,
                job: None,
            });
            match fault.when {
                When::Attempt { job, attempt } => {
                    state.by_attempt.entry((job, attempt)).or_default().push(index)
                }
                When::Delivery { slot, number } => {
                    state.by_delivery.entry((slot, number)).or_default().push(index);
                }
                When::Slot { .. } | When::Time { .. } => {}
            }
        }
        let clock = Clock::start();
        Arc::new(Self {
            is_virtual,
            clock,
            plant,
            state: Mutex::new(state),
            news: Notify::new(),
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

    pub(super) fn write(&self, what: Happening) {
        let at = self.now();
        self.lock().write(at, what);
    }

    /// The next job that is accepted is this one.
    pub(super) fn expect(&self, job: usize) {
        let at = self.now();
        let mut state = self.lock();
        state.expected = Some(job);
        state.write(at, Happening::Sent { job });
    }

    /// The send of this job has returned. A queue that gives its word on each job may have told of it before.
    pub(super) fn accepted(&self, job: usize, id: JobId) {
        let mut state = self.lock();
        state.expected = None;
        if !state.places.contains_key(&id) {
            state.accept(job, id);
        }
    }

    pub(super) fn refused(&self, job: usize, reason: String) {
        self.lock().expected = None;
        self.write(Happening::Refused { job, reason });
    }

    pub(super) fn open(&self) -> Vec<usize> {
        self.lock().open.iter().copied().collect()
    }

    /// When the last thing that a fault held up or delayed goes on.
    pub(super) fn quiet_from(&self) -> Moment {
        self.lock().quiet_from
    }

    pub(super) fn live(&self) -> usize {
        self.lock().live.len()
    }

    /// Takes the history out; what is seen after that is not written down.
    pub(super) fn finish(&self) -> (Vec<Entry>, Vec<PlannedFault>, Vec<Option<JobId>>) {
        let mut state = self.lock();
        state.over = true;
        (
            std::mem::take(&mut state.entries),
            std::mem::take(&mut state.faults),
            std::mem::take(&mut state.ids),
        )
    }

    /// A fault whose time has come.
    pub(super) fn strike(self: &Arc<Self>, fault: usize) {
        let at = self.now();
        let mut state = self.lock();
        let Some(planned) = state.faults.get(fault).map(|planned| planned.fault.clone()) else {
            return;
        };
        let cell = match planned.when {
            When::Slot { slot, .. } => match state.consumer_in(SlotId(slot)) {
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
                let Some(world) = crate::protocol::faults::world() else {
                    return;
                };
                actix_rt::spawn(async move {
                    tokio::time::sleep(wait).await;
                    world.over(fault);
                });
            }
            After::Jump(by) => {
                actix_rt::spawn(tokio::time::advance(by));
            }
        }
    }
}

impl State {
    fn write(&mut self, at: Moment, what: Happening) {
        if !self.over {
            self.entries.push(Entry { at, what });
        }
    }

    fn attempt(&self, seen: &Seen) -> Option<Attempt> {
        self.places.get(&seen.job).map(|job| Attempt {
            job: *job,
            attempt: seen.attempt,
            slot: seen.slot,
            incarnation: seen.incarnation,
            epoch: seen.epoch,
            number: seen.number,
        })
    }

    /// The cell of the present consumer of a slot.
    fn consumer_in(&self, slot: SlotId) -> Option<u64> {
        let in_slot = |room: &Room| matches!(room.who, Who::Consumer(of, _) if of == slot);
        let mut cells = self.cells.iter().rev();
        cells.find(|(_, room)| in_slot(room)).map(|(cell, _)| *cell)
    }

    fn role(&self, role: Role) -> Option<u64> {
        let mut cells = self.cells.iter().rev();
        cells
            .find(|(_, room)| room.who == Who::Role(role))
            .map(|(cell, _)| *cell)
    }

    fn order(&mut self, cell: u64, order: Order) {
        if let Some(room) = self.cells.get_mut(&cell) {
            room.once = Some(order);
            room.mark();
            room.wake();
        }
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
        if let FaultKind::Failpoint { .. } = kind {
            // It happens when the code comes to that place.
            self.failpoints.extend(cell.map(|cell| (cell, fault)));
            return (Act::Go, After::Nothing);
        }
        let Some((act, after)) = self.happen(fault, &kind, cell, seen, in_shell, is_virtual) else {
            return (Act::Go, After::Nothing);
        };
        self.note_fired(at, fault, cell, seen);
        if let FaultKind::Block { ms }
        | FaultKind::Slow { ms }
        | FaultKind::Disconnect { ms }
        | FaultKind::DelaySettle { ms }
        | FaultKind::EchoSettle { ms } = kind
        {
            self.quiet_from = self.quiet_from.max(at.after(Duration::from_millis(ms)));
        }
        (act, after)
    }

    fn note_fired(&mut self, at: Moment, fault: usize, cell: Option<u64>, seen: Option<Seen>) {
        let who = cell.and_then(|cell| self.cells.get(&cell)).map(|room| room.who);
        let job = seen.and_then(|seen| self.places.get(&seen.job).copied());
        if let Some(planned) = self.faults.get_mut(fault) {
            planned.fired = Some(at);
            planned.job = job;
            if let Some(Who::Consumer(slot, incarnation)) = who {
                (planned.slot, planned.incarnation) = (Some(slot), Some(incarnation));
            }
        }
        self.write(at, Happening::Fired { fault });
    }

    /// What the fault does; `None` if there is nothing to do it to.
    fn happen(
        &mut self,
        fault: usize,
        kind: &FaultKind,
        cell: Option<u64>,
        seen: Option<Seen>,
        in_shell: bool,
        is_virtual: bool,
    ) -> Option<(Act, After)> {
        let delivery = seen.map(|seen| (seen.epoch, seen.number));
        Some(match *kind {
            FaultKind::Panic if in_shell => (Act::Panic, After::Nothing),
            FaultKind::Panic => {
                self.order(cell?, Order::Panic);
                (Act::Go, After::Nothing)
            }
            FaultKind::Error if in_shell => (Act::Fail, After::Nothing),
            FaultKind::Error => self.end_with(delivery?, Act::Fail),
            FaultKind::PanicAfterWork => self.end_with(delivery?, Act::Panic),
            FaultKind::Hang => {
                self.freeze(cell?, fault);
                (Act::Pause, After::Nothing)
            }
            FaultKind::Slow { ms } => {
                self.freeze(cell?, fault);
                (Act::Pause, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::Block { ms } if is_virtual => {
                self.block(cell?)?;
                (Act::Pause, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::Block { ms } if in_shell => (Act::Block(Duration::from_millis(ms)), After::Nothing),
            FaultKind::Block { ms } => {
                self.order(cell?, Order::Block(Duration::from_millis(ms)));
                (Act::Go, After::Nothing)
            }
            FaultKind::CrashArbiter if is_virtual => {
                self.crash_home(cell?)?;
                (Act::Pause, After::Nothing)
            }
            FaultKind::CrashArbiter => {
                self.order(cell?, Order::EndArbiter);
                (Act::Pause, After::Nothing)
            }
            FaultKind::Crash { role } => {
                let cell = self.role(role)?;
                self.order(cell, Order::Panic);
                (Act::Go, After::Nothing)
            }
            FaultKind::Disconnect { ms } => {
                let cell = self.role(Role::Queue)?;
                self.freeze(cell, fault);
                (Act::Go, After::Thaw(fault, Duration::from_millis(ms)))
            }
            FaultKind::ClockJump { .. } if !is_virtual => return None,
            FaultKind::ClockJump { ms } => (Act::Go, After::Jump(Duration::from_millis(ms))),
            FaultKind::LoseSettle => self.settle_with(delivery?, Fate::Lose),
            FaultKind::RepeatSettle => self.settle_with(delivery?, Fate::Repeat),
            FaultKind::DelaySettle { ms } => {
                self.settle_with(delivery?, Fate::Delay(Duration::from_millis(ms)))
            }
            FaultKind::EchoSettle { ms } => {
                self.settle_with(delivery?, Fate::Echo(Duration::from_millis(ms)))
            }
            FaultKind::RepeatDelivery | FaultKind::Failpoint { .. } => return None,
        })
    }

    fn end_with(&mut self, delivery: (Epoch, DeliveryNumber), act: Act) -> (Act, After) {
        self.at_end.insert(delivery, act);
        (Act::Go, After::Nothing)
    }

    fn settle_with(&mut self, delivery: (Epoch, DeliveryNumber), fate: Fate) -> (Act, After) {
        self.fates.insert(delivery, fate);
        (Act::Go, After::Nothing)
    }

    fn freeze(&mut self, cell: u64, fault: usize) {
        if let Some(room) = self.cells.get_mut(&cell) {
            room.frozen = Some(fault);
            room.mark();
        }
    }

    /// Blocks the home of a cell. A cell without a home lives with the supervisor, whose thread cannot be blocked here.
    fn block(&mut self, cell: u64) -> Option<()> {
        let room = self.cells.get_mut(&cell)?;
        let home = room.home?;
        let house = self.houses.get_mut(usize::try_from(home).ok()?)?;
        house.blocked += 1;
        room.marks.blocks.store(true, Ordering::Relaxed);
        let neighbours = self.cells.values().filter(|room| room.home == Some(home));
        neighbours.for_each(Room::mark);
        Some(())
    }

    fn crash_home(&mut self, cell: u64) -> Option<()> {
        let home = self.cells.get(&cell)?.home?;
        self.houses.get_mut(usize::try_from(home).ok()?)?.has_ended = true;
        for room in self.cells.values_mut().filter(|room| room.home == Some(home)) {
            room.once = Some(Order::End(Cause::ArbiterEnded));
            room.mark();
            room.wake();
        }
        Some(())
    }

    fn house(&self, home: Option<u64>) -> Option<&House> {
        self.houses.get(usize::try_from(home?).ok()?)
    }

    fn accept(&mut self, place: usize, name: JobId) {
        if let Some(id) = self.ids.get_mut(place) {
            *id = Some(name);
            self.places.insert(name, place);
            self.open.insert(place);
        }
    }

    fn note_event(&mut self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Accepted { job } => {
                if !self.places.contains_key(job)
                    && let Some(place) = self.expected.take()
                {
                    self.accept(place, *job);
                }
                false
            }
            EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } => {
                if let Some(place) = self.places.get(job) {
                    self.open.remove(place);
                }
                self.open.is_empty()
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

impl Room {
    /// The cell asks before its next poll.
    fn mark(&self) {
        self.marks.asks.store(true, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
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

    fn unix_ms(&self) -> Option<u64> {
        self.is_virtual.then_some(UNIX_MS)
    }

    fn told(&self, kind: &EventKind) {
        let at = self.now();
        let mut state = self.lock();
        state.write(at, Happening::Group(kind.clone()));
        let is_news = state.note_event(kind);
        drop(state);
        if is_news {
            self.news.notify_one();
        }
    }

    fn cell_made(&self, who: Who, home: Option<u64>, marks: Arc<Marks>) -> u64 {
        let mut state = self.lock();
        let cell = state.next_cell;
        state.next_cell += 1;
        state.cells.insert(
            cell,
            Room {
                who,
                home,
                waker: None,
                frozen: None,
                once: None,
                marks,
                comes_back: false,
            },
        );
        cell
    }

    fn cell_gone(&self, cell: u64) {
        let room = self.lock().cells.remove(&cell);
        // Dropped without the lock: it holds a waker.
        drop(room);
    }

    fn order(&self, cell: u64, waker: &Waker) -> Order {
        let mut state = self.lock();
        let home = state.cells.get(&cell).and_then(|room| room.home);
        let is_blocked = state.house(home).is_some_and(|house| house.blocked > 0);
        let Some(room) = state.cells.get_mut(&cell) else {
            return Order::Go;
        };
        if !room.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            room.waker = Some(waker.clone());
        }
        if is_blocked {
            return Order::WaitDeaf;
        }
        if let Some(order) = room.once.take() {
            return order;
        }
        if room.frozen.is_some() {
            return Order::Wait;
        }
        if std::mem::take(&mut room.comes_back) {
            return Order::GoFirst;
        }
        room.marks.asks.store(false, Ordering::Relaxed);
        Order::Go
    }

    fn over(&self, fault: usize) {
        let at = self.now();
        let mut state = self.lock();
        let blocked = state.faults.get(fault).and_then(|planned| {
            let is_block = matches!(planned.fault.kind, FaultKind::Block { .. });
            is_block.then_some((planned.slot?, planned.incarnation?))
        });
        let mut home = None;
        for room in state.cells.values_mut() {
            let is_blocker = blocked.is_some_and(|(slot, incarnation)| {
                room.marks.blocks.load(Ordering::Relaxed) && room.who == Who::Consumer(slot, incarnation)
            });
            if is_blocker {
                room.marks.blocks.store(false, Ordering::Relaxed);
                room.comes_back = true;
                room.mark();
                home = room.home;
            }
            if room.frozen == Some(fault) {
                room.frozen = None;
                room.wake();
            }
        }
        if let Some(house) = home.and_then(|home| state.houses.get_mut(usize::try_from(home).ok()?)) {
            house.blocked = house.blocked.saturating_sub(1);
            for room in state.cells.values().filter(|room| room.home == home) {
                room.wake();
            }
        }
        state.write(at, Happening::Over { fault });
    }

    fn woken_from_outside(&self, who: Who) {
        let actor = match who {
            Who::Role(role) => format!("the {role}"),
            Who::Consumer(slot, incarnation) => format!("the consumer of {slot}, {incarnation}"),
            Who::Unnamed => "an actor".to_owned(),
        };
        self.write(Happening::ForeignWake { actor });
    }

    fn begins(&self, seen: Seen, in_shell: bool) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        state.write(at, Happening::Begun(attempt));
        let number = state.begun.entry(seen.slot).or_default();
        *number += 1;
        let number = *number;
        let mut due: Vec<usize> = Vec::new();
        due.extend(
            state
                .by_attempt
                .get(&(attempt.job, seen.attempt))
                .into_iter()
                .flatten(),
        );
        due.extend(
            state
                .by_delivery
                .get(&(seen.slot.0, number))
                .into_iter()
                .flatten(),
        );
        if due.is_empty() {
            return Act::Go;
        }
        let cell = state.consumer_in(seen.slot);
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

    fn ends(&self, seen: Seen, is_done: bool) -> Act {
        let at = self.now();
        let mut state = self.lock();
        let Some(attempt) = state.attempt(&seen) else {
            return Act::Go;
        };
        let act = state.at_end.remove(&(seen.epoch, seen.number)).unwrap_or(Act::Go);
        state.write(
            at,
            if is_done {
                Happening::Worked(attempt)
            } else {
                Happening::Failed(attempt)
            },
        );
        act
    }

    fn settles(&self, epoch: Epoch, number: DeliveryNumber) -> Fate {
        let mut state = self.lock();
        state.fates.remove(&(epoch, number)).unwrap_or(Fate::Arrive)
    }

    fn repeats(&self, job: JobId, attempt: u32) -> bool {
        let mut state = self.lock();
        let Some(place) = state.places.get(&job).copied() else {
            return false;
        };
        let planned = |fault: &usize| {
            state.faults.get(*fault).is_some_and(|planned| {
                planned.fired.is_none() && planned.fault.kind == FaultKind::RepeatDelivery
            })
        };
        let due = state
            .by_attempt
            .get(&(place, attempt))
            .and_then(|due| due.iter().copied().find(planned));
        let Some(fault) = due else { return false };
        let at = self.now();
        state.note_fired(at, fault, None, None);
        if let Some(planned) = state.faults.get_mut(fault) {
            planned.job = Some(place);
        }
        state.write(at, Happening::SourceRepeated { job: place });
        true
    }

    fn home_made(&self) -> Option<u64> {
        if !self.is_virtual {
            return None;
        }
        let mut state = self.lock();
        state.houses.push(House::default());
        u64::try_from(state.houses.len() - 1).ok()
    }

    fn home_lives(&self, home: u64) -> bool {
        self.lock()
            .house(Some(home))
            .is_some_and(|house| !house.has_ended)
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
            .position(|(of, fault)| *of == cell && is_here(*fault));
        let Some(index) = found else { return false };
        let (_, fault) = state.failpoints.swap_remove(index);
        let at = self.now();
        state.note_fired(at, fault, Some(cell), None);
        true
    }

    fn note(&self, text: String) {
        self.write(Happening::Note(text));
    }
}
