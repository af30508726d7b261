//! What a world knows, and what its faults do.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::RunWorld;
use super::after::{After, Armed};
use super::cells::Rooms;
use super::disk::Disks;
use super::due::Due;
use super::host::Ends;
use super::jobs::Jobs;
use crate::protocol::faults::{Act, BrokerFault, Fate, Order, Seen, Who, WorldBroker};
use crate::sim::fault::FaultKind;
use crate::sim::history::{Attempt, Entry, Occurrence, PlannedFault};
use crate::sim::plan::Plan;
use crate::types::{DeliveryNumber, Epoch, EventKind, Incarnation, Moment, Role, SlotId};

pub(super) struct State {
    pub(super) entries: Vec<Entry>,
    pub(super) faults: Vec<PlannedFault>,
    pub(super) due: Due,
    pub(super) jobs: Jobs,
    pub(super) live: BTreeMap<SlotId, Incarnation>,
    pub(super) rooms: Rooms,
    /// What becomes of words on deliveries.
    pub(super) dead_lettered: BTreeMap<(Epoch, DeliveryNumber), (Armed, Fate)>,
    /// What happens to deliveries at the end of their work.
    pub(super) at_end: BTreeMap<(Epoch, DeliveryNumber), (Armed, Act)>,
    /// Deliveries in which the code fails at some place.
    pub(super) failpoints: Vec<Armed>,
    pub(super) disks: Disks,
    /// Made by the first process that has a link to it.
    pub(super) broker: Option<Arc<dyn WorldBroker>>,
    /// Whether the host or the process has ended, and the group was not started again.
    pub(super) has_ended: bool,
    /// The faults for as long as which no arbiter can be made.
    pub(super) without_threads: Vec<usize>,
    /// When the last thing that a fault held up or delayed goes on.
    pub(super) quiet_from: Moment,
    /// When a job was last begun or came to its end.
    pub(super) progress: Moment,
    pub(super) over: bool,
}

impl State {
    pub(super) fn new(plan: &Plan, world: Weak<RunWorld>) -> Self {
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
            broker: None,
            has_ended: false,
            without_threads: Vec::new(),
            quiet_from: Moment::default(),
            progress: Moment::default(),
            over: false,
        }
    }

    pub(super) fn write(&mut self, at: Moment, what: Occurrence) {
        if !self.over {
            self.entries.push(Entry { at, what });
        }
    }

    pub(super) fn attempt(&self, seen: &Seen) -> Option<Attempt> {
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
    pub(super) fn fire(
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
    pub(super) fn arm(
        &mut self,
        fault: usize,
        kind: &FaultKind,
        cell: Option<u64>,
        seen: Seen,
        in_shell: bool,
    ) -> bool {
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
    pub(super) fn go_off(&mut self, at: Moment, armed: Armed) -> bool {
        let is_new = |planned: &PlannedFault| planned.fired.is_none();
        let goes_off = self.faults.get(armed.fault).is_some_and(is_new);
        if goes_off {
            self.note_fired(at, armed.fault, armed.cell, Some(armed.seen));
        }
        goes_off
    }

    pub(super) fn note_fired(&mut self, at: Moment, fault: usize, cell: Option<u64>, seen: Option<Seen>) {
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
            | FaultKind::SecondOpener { ms }
            | FaultKind::LinkLost { ms } = planned.fault.kind
            {
                self.quiet_from = self.quiet_from.max(at.after(Duration::from_millis(ms)));
            }
            if let FaultKind::LaneRevoked { within_ms, ms, .. } = planned.fault.kind {
                let over = Duration::from_millis(within_ms.saturating_add(ms));
                self.quiet_from = self.quiet_from.max(at.after(over));
            }
        }
        self.write(at, Occurrence::Fired { fault });
    }

    /// What the fault does; `None` if there is nothing to do it to.
    pub(super) fn happen(
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
            _ => return self.happen_below(fault, kind, is_virtual),
        })
    }

    /// What a fault does to the roles of the group and to what lies under it; `None` as above.
    fn happen_below(&mut self, fault: usize, kind: &FaultKind, is_virtual: bool) -> Option<(Act, After)> {
        Some(match *kind {
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
            FaultKind::LinkLost { ms } => {
                let wait = Duration::from_millis(ms);
                self.jobs.leave_in_doubt();
                let after = After::Broker(fault, self.broker.clone()?, BrokerFault::LinkLost { wait }, wait);
                (Act::Go, after)
            }
            FaultKind::LaneRevoked { lane, within_ms, ms } => {
                let (within, wait) = (Duration::from_millis(within_ms), Duration::from_millis(ms));
                let what = BrokerFault::LaneRevoked { lane, within, wait };
                (
                    Act::Go,
                    After::Broker(fault, self.broker.clone()?, what, within + wait),
                )
            }
            // The others wait for their moment, or for the source.
            _ => return None,
        })
    }

    pub(super) fn end_with(&mut self, armed: Armed, what: Act) {
        let place = self.at_end.entry(armed.seen.delivery());
        place.or_insert((armed, what));
    }

    pub(super) fn settle_with(&mut self, armed: Armed, what: Fate) {
        let place = self.dead_lettered.entry(armed.seen.delivery());
        place.or_insert((armed, what));
    }

    pub(super) fn note_event(&mut self, at: Moment, kind: &EventKind) -> bool {
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
