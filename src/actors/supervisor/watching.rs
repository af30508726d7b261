//! The watch: consumers that hang are found and replaced.
//!
//! A look at every slot now and then, and at the very moment at which the first deadline passes; only while something is out
//! or starting, so an idle group sets no timer. Time in which this watch itself did not run (a look came late) counts against
//! nobody. A consumer that made no progress for the deadline is asked to end. If its thread is free, its cell ends it at once and the death notice
//! does the rest. If it has not ended after the grace, its thread is blocked: then the whole arbiter is given up. Everyone
//! who lived there gets a successor on a new one, and what comes from the old thread, if it ever comes back, is stale.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{AsyncContext, Context, SpawnHandle};

use super::Supervisor;
use super::slot::SlotActor;
use crate::actors::arbiter_pool::ArbiterId;
use crate::protocol::Notice;
use crate::rules::hang_detector::{self, Standstill};
use crate::types::{Cause, EventKind, Moment, Role, SettleItem, SlotId, SlotState, Verdict};
use crate::{protocol::faults, rules::ledger::Plant};

/// When the watch looks next, and whether it could look all the time.
#[derive(Default)]
pub(super) struct Looks {
    planned: Option<PlannedLook>,
    /// Whether this actor itself ran all the time, as its looks saw it.
    standstill: Standstill,
    /// How long after the last look the first limit passes. Set by a look, taken by the timer for the next one.
    due_in: Option<Duration>,
    /// Whether a look is planned for what could be taken back.
    pub(super) recall_is_planned: bool,
}

/// The look that the timer is set for.
struct PlannedLook {
    /// When the timer was set, and for how long. A look that comes later tells of a standstill.
    set_at: Moment,
    pause: Duration,
    timer: SpawnHandle,
}

impl Looks {
    /// The look that was planned is now. Returns for how long the watch stood still.
    fn begin(&mut self, now: Moment) -> Duration {
        let planned = self.planned.take();
        planned.map_or(Duration::ZERO, |planned| {
            self.standstill.look(planned.pause, now.since(planned.set_at))
        })
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Makes sure that a look is due while there is something to look at.
    pub(super) fn keep_watching(&mut self, context: &mut Context<Self>) {
        let Some(mut pause) = self.pause_between_looks() else {
            return;
        };
        match &self.looks.planned {
            Some(planned) if planned.pause <= pause => return,
            // Something came up that must be looked at sooner.
            Some(planned) => {
                context.cancel_future(planned.timer);
            }
            // Right after a look, which knows when the first deadline passes. Whatever begins after it passes later than the
            // look that is planned now.
            None => {
                if let Some(due_in) = self.looks.due_in.take() {
                    pause = pause.min(due_in).max(Duration::from_millis(1));
                }
            }
        }
        let timer = context.run_later(pause, |this, context| {
            this.look(context);
            this.turn(context);
        });
        let set_at = self.now();
        self.looks.planned = Some(PlannedLook { set_at, pause, timer });
    }

    fn pause_between_looks(&self) -> Option<Duration> {
        let config = &self.group.config;
        let mut pause: Option<Duration> = None;
        let mut at_most = |wait: Duration| pause = Some(pause.map_or(wait, |pause| pause.min(wait)));
        if self.slots.has_leaving() {
            let limit = config.restart.kill_grace.min(config.restart.stop_deadline);
            at_most(hang_detector::pause(limit, 4));
        }
        if self.slots.has_starting() {
            let limit = config.restart.start_deadline;
            at_most(hang_detector::pause(limit, hang_detector::LOOKS));
        }
        if let Some(every) = self.group.capabilities.extend_every()
            && self.ledger.leases() > 0
        {
            at_most(every);
        }
        if (self.ledger.leases() > 0 || self.ledger.has_stuck())
            && let Some(deadline) = config.deadline()
        {
            at_most(hang_detector::pause(deadline, hang_detector::LOOKS));
        }
        pause
    }

    fn look(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        self.take_settles();
        let stood = self.looks.begin(now);
        if !stood.is_zero() {
            self.forgive(now, stood);
        }
        let mut blocked = BTreeSet::new();
        for slot in (0..self.slots.next().0).map(SlotId) {
            blocked.extend(self.look_at(slot, now));
        }
        self.slots.count();
        let slots_due = self.slots.iter().filter_map(|(_, slot)| self.due(slot)).min();
        for arbiter in blocked {
            self.give_up_arbiter(arbiter, context);
        }
        self.look_at_strategy(now);
        let asked = self.strategy.asked().zip(self.group.config.deadline());
        let strategy_due = asked.map(|(asked, deadline)| asked.after(deadline));
        let due = slots_due.into_iter().chain(strategy_due).min();
        self.looks.due_in = due.map(|due| due.since(now));
        self.extend_leases(now);
    }

    /// This watch did not run for so long, so those that it watches may not have run either: none of their limits counts it.
    /// One that ran on meanwhile and hangs indeed is found later by as much, at most by its limit.
    fn forgive(&mut self, now: Moment, stood: Duration) {
        if faults::is_planted(Plant::ChargesStandstills) {
            return;
        }
        tracing::debug!(?stood, "the watch stood still; the time counts against nobody");
        for (_, slot) in self.slots.iter_mut() {
            slot.watch.forgive(now, stood);
            if slot.state == SlotState::Starting {
                slot.since = hang_detector::forgiven(slot.since, now, stood);
            }
            for since in [&mut slot.stopping, &mut slot.ending].into_iter().flatten() {
                *since = hang_detector::forgiven(*since, now, stood);
            }
        }
        self.strategy.forgive(now, stood);
    }

    /// When the limit of this slot passes that is under way now.
    fn due(&self, slot: &SlotActor<J, O>) -> Option<Moment> {
        let config = &self.group.config;
        if let Some(ending) = slot.ending {
            return Some(ending.after(config.restart.kill_grace)).filter(|_| !self.slots.are_here());
        }
        if let Some(stopping) = slot.stopping {
            return Some(stopping.after(config.restart.stop_deadline));
        }
        if slot.state == SlotState::Starting {
            return Some(slot.since.after(config.restart.start_deadline));
        }
        slot.watch.due(config.deadline()?)
    }

    /// Looks at one slot; names its arbiter if the thread there does not come back.
    fn look_at(&mut self, slot: SlotId, now: Moment) -> Option<ArbiterId> {
        let config = &self.group.config;
        let grace = config.restart.kill_grace;
        // One from which all was taken back owes a word all the same: that it moves again.
        let holds = self
            .ledger
            .seat(slot)
            .is_some_and(|seat| seat.load > 0 || seat.is_stuck);
        let is_here = self.slots.are_here();
        let found = self.slots.get_mut(slot);
        if let Some(since) = found.ending {
            let arbiter = found.arbiter.as_ref().map(|(id, _)| *id)?;
            return (now.since(since) >= grace && !is_here).then_some(arbiter);
        }
        let info = found.info.as_ref()?;
        let cause = if found.state == SlotState::Starting {
            let limit = config.restart.start_deadline;
            let took_too_long = now.since(found.since) >= limit;
            took_too_long.then(|| Cause::StartFailed(format!("not up after {} ms", limit.as_millis()).into()))
        } else if let Some(since) = found.stopping {
            let limit = config.restart.stop_deadline;
            let text = || {
                format!(
                    "`stopping` was not done after {} ms, its `restart.stop_deadline_ms`",
                    limit.as_millis()
                )
            };
            (now.since(since) >= limit).then(|| Cause::Failed(text().into()))
        } else {
            let works = holds && !info.heartbeat.is_resting(now);
            let still = found.watch.look(now, info.heartbeat.progress(), works);
            let is_hung = config.deadline().is_some_and(|deadline| still >= deadline);
            is_hung.then_some(Cause::DeadlinePassed(config.deadline))
        };
        if let Some(cause) = cause
            && let Some(cell) = &mut found.cell
        {
            cell.end(cause);
            found.ending = Some(now);
        }
        None
    }

    /// The thread of this arbiter does not come back. Whoever is inside it blocks it; the others are moved away. If nobody is,
    /// a task outside of its actor blocks it, and it must be of one of those whose deadline has passed.
    fn give_up_arbiter(&mut self, arbiter: ArbiterId, context: &mut Context<Self>) {
        let inhabitants = self.slots.give_up_arbiter(arbiter);
        let polls = |slot: &SlotActor<J, O>| slot.cell.as_ref().is_some_and(|cell| cell.is_polling());
        let is_outside = !inhabitants.iter().any(|slot| polls(self.slots.get(*slot)));
        let mut culprit = None;
        for &slot in &inhabitants {
            let found = self.slots.get_mut(slot);
            found.arbiter = None;
            let blocks = polls(found) || (is_outside && found.ending.is_some());
            let cause = if blocks {
                Cause::ThreadBlocked
            } else {
                Cause::NeighbourBlockedThread
            };
            if blocks {
                culprit = Some(slot);
            }
            let incarnation = self.ledger.incarnation(slot);
            self.consumer_down(slot, incarnation, cause, context);
        }
        let slot = culprit.or(inhabitants.first().copied()).unwrap_or_default();
        self.group.bus.tell(EventKind::ArbiterAbandoned {
            slot,
            moved: inhabitants.len().saturating_sub(1),
        });
    }

    /// A queue outside of this process may take leases back that it has not heard of for long.
    fn extend_leases(&mut self, now: Moment) {
        let every = self.group.capabilities.extend_every();
        if !every.is_some_and(|every| self.queue.extends_now(now, every)) {
            return;
        }
        let at_work = self
            .ledger
            .tickets()
            .filter(|(ticket, ..)| !self.ledger.is_lost(*ticket))
            .map(|(_, lease, attempt)| (lease, attempt));
        let extended = at_work
            .chain(self.replies.leases())
            .map(|(lease, attempt)| SettleItem {
                lease,
                attempt,
                verdict: Verdict::Extend,
            });
        self.effects.settle.extend(extended);
    }

    /// A strategy that does not answer within the deadline is replaced.
    fn look_at_strategy(&mut self, now: Moment) {
        if let (Some(asked), Some(deadline)) = (self.strategy.asked(), self.group.config.deadline())
            && now.since(asked) >= deadline
        {
            self.strategy.ask_later(now);
            let cause = Cause::DeadlinePassed(self.group.config.deadline);
            self.group
                .guardian
                .do_send(Notice::Unresponsive(Role::Strategy, cause));
        }
    }
}
