//! The watch: consumers that hang are found and replaced.
//!
//! A look at every slot now and then, and at the very moment at which the first deadline passes; only while something is out
//! or starting, so an idle group sets no timer. Time in which this watch itself did not run (a look came late) counts against
//! nobody. A consumer that made no progress for the deadline is asked to end. If its thread is free, its cell ends it at once and the death notice
//! does the rest. If it has not ended after the grace, its thread is blocked: then the whole arbiter is given up. Everyone
//! who lived there gets a successor on a new one, and what comes from the old thread, if it ever comes back, is stale.

use std::time::Duration;

use actix::{AsyncContext, Context, SpawnHandle};

use super::Supervisor;
use super::slot::SlotActor;
use crate::actors::homes::HomeId;
use crate::protocol::Notice;
use crate::rules::watch;
use crate::words::{Capabilities, Cause, EventKind, Moment, Role, SettleItem, SlotId, SlotState, Verdict};
use crate::{protocol::faults, rules::ledger::Plant};

/// How often a queue that can extend leases hears of those that are held.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// The look that the timer is set for.
pub(super) struct PlannedLook {
    /// When the timer was set, and for how long. A look that comes later tells of a standstill.
    set_at: Moment,
    pause: Duration,
    timer: SpawnHandle,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Makes sure that a look is due while there is something to look at.
    pub(super) fn keep_watching(&mut self, context: &mut Context<Self>) {
        let Some(mut pause) = self.pause_between_looks() else {
            return;
        };
        match &self.next_look {
            Some(planned) if planned.pause <= pause => return,
            // Something came up that must be looked at sooner.
            Some(planned) => {
                context.cancel_future(planned.timer);
            }
            // Right after a look, which knows when the first deadline passes. Whatever begins after it passes later than the
            // look that is planned now.
            None => {
                if let Some(due_in) = self.due_in.take() {
                    pause = pause.min(due_in).max(Duration::from_millis(1));
                }
            }
        }
        let timer = context.run_later(pause, |this, context| {
            this.look(context);
            this.turn(context);
        });
        let set_at = self.now();
        self.next_look = Some(PlannedLook { set_at, pause, timer });
    }

    fn pause_between_looks(&self) -> Option<Duration> {
        let config = &self.wiring.config;
        let mut pause: Option<Duration> = None;
        let mut at_most = |wait: Duration| pause = Some(pause.map_or(wait, |pause| pause.min(wait)));
        if self.ending_slots > 0 {
            at_most(watch::pause(Duration::from_millis(config.kill_grace_ms), 4));
        }
        if self.starting_slots > 0 {
            let limit = Duration::from_millis(config.restart.start_deadline_ms);
            at_most(watch::pause(limit, watch::LOOKS));
        }
        if self.ledger.leases() > 0 && self.wiring.capabilities.extend && !self.wiring.capabilities.volatile {
            at_most(EXTEND_EVERY);
        }
        if (self.ledger.leases() > 0 || self.ledger.has_stuck())
            && let Some(deadline) = config.deadline()
        {
            at_most(watch::pause(deadline, watch::LOOKS));
        }
        pause
    }

    fn look(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        self.clear_desk();
        if let Some(PlannedLook { set_at, pause, .. }) = self.next_look.take() {
            let stood = self.standstill.look(pause, now.since(set_at));
            if !stood.is_zero() {
                self.forgive(now, stood);
            }
        }
        let mut blocked = Vec::new();
        let (mut starting, mut ending) = (0, 0);
        let mut first_due: Option<Moment> = None;
        for index in 0..self.slots.len() {
            let slot = SlotId(u32::try_from(index).unwrap_or(u32::MAX));
            if let Some(home) = self.look_at(slot, now)
                && !blocked.contains(&home)
            {
                blocked.push(home);
            }
            if let Some(found) = self.slots.get(index) {
                starting += usize::from(found.state == SlotState::Starting);
                ending += usize::from(found.ending.is_some());
                first_due = first_due.into_iter().chain(self.due(found)).min();
            }
        }
        (self.starting_slots, self.ending_slots) = (starting, ending);
        for home in blocked {
            self.give_up_home(home, context);
        }
        self.look_at_strategy(now);
        let asked = self.asked.zip(self.wiring.config.deadline());
        let strategy_due = asked.map(|(asked, deadline)| asked.after(deadline));
        let due = first_due.into_iter().chain(strategy_due).min();
        self.due_in = due.map(|due| due.since(now));
        self.extend_leases(now);
    }

    /// This watch did not run for so long, so those that it watches may not have run either: none of their limits counts it.
    /// One that ran on meanwhile and hangs indeed is found later by as much, at most by its limit.
    fn forgive(&mut self, now: Moment, stood: Duration) {
        if faults::is_planted(Plant::ChargesStandstills) {
            return;
        }
        tracing::debug!(?stood, "the watch stood still; the time counts against nobody");
        for slot in &mut self.slots {
            slot.watch.forgive(now, stood);
            if slot.state == SlotState::Starting {
                slot.since = watch::forgiven(slot.since, now, stood);
            }
            if let Some(ending) = &mut slot.ending {
                *ending = watch::forgiven(*ending, now, stood);
            }
        }
        if let Some(asked) = &mut self.asked {
            *asked = watch::forgiven(*asked, now, stood);
        }
    }

    /// When the limit of this slot passes that is under way now.
    fn due(&self, slot: &SlotActor<J, O>) -> Option<Moment> {
        let config = &self.wiring.config;
        if let Some(ending) = slot.ending {
            return Some(ending.after(Duration::from_millis(config.kill_grace_ms)))
                .filter(|_| !self.homes.is_here());
        }
        if slot.state == SlotState::Starting {
            return Some(
                slot.since
                    .after(Duration::from_millis(config.restart.start_deadline_ms)),
            );
        }
        slot.watch.due(config.deadline()?)
    }

    /// Looks at one slot; names its home if the thread there does not come back.
    fn look_at(&mut self, slot: SlotId, now: Moment) -> Option<HomeId> {
        let config = &self.wiring.config;
        let grace = Duration::from_millis(config.kill_grace_ms);
        // One from which all was taken back owes a word all the same: that it moves again.
        let holds = self
            .ledger
            .seat(slot)
            .is_some_and(|seat| seat.load > 0 || seat.is_stuck);
        let found = self.slots.get_mut(slot.0 as usize)?;
        if let Some(since) = found.ending {
            let home = found.home.as_ref().map(|(id, _)| *id)?;
            return (now.since(since) >= grace && !self.homes.is_here()).then_some(home);
        }
        let info = found.info.as_ref()?;
        let cause = if found.state == SlotState::Starting {
            let limit = config.restart.start_deadline_ms;
            let took_too_long = now.since(found.since) >= Duration::from_millis(limit);
            took_too_long.then(|| Cause::StartFailed(format!("not up after {limit} ms").into()))
        } else {
            let works = holds && !info.board.is_resting();
            let still = found.watch.look(now, info.board.progress(), works);
            let is_hung = config.deadline().is_some_and(|deadline| still >= deadline);
            is_hung.then_some(Cause::DeadlinePassed(config.deadline_ms))
        };
        if let Some(cause) = cause
            && let Some(cell) = &mut found.cell
        {
            cell.end(cause);
            found.ending = Some(now);
        }
        None
    }

    /// The thread of this home does not come back. Whoever is inside it blocks it; the others are moved away. If nobody is,
    /// a task outside of its actor blocks it, and it must be of one of those whose deadline has passed.
    fn give_up_home(&mut self, home: HomeId, context: &mut Context<Self>) {
        let inhabitants: Vec<SlotId> = (0_u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.home.as_ref().is_some_and(|(id, _)| *id == home))
            .map(|(index, _)| SlotId(index))
            .collect();
        self.homes.abandon(home);
        let polls = |slot: &SlotActor<J, O>| slot.cell.as_ref().is_some_and(|cell| cell.is_polling());
        let mut present = inhabitants
            .iter()
            .filter_map(|slot| self.slots.get(slot.0 as usize));
        let is_outside = !present.any(polls);
        let mut culprit = None;
        for &slot in &inhabitants {
            let Some(found) = self.slots.get_mut(slot.0 as usize) else {
                continue;
            };
            found.home = None;
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
        self.wiring.bus.tell(EventKind::ArbiterAbandoned {
            slot,
            moved: inhabitants.len().saturating_sub(1),
        });
    }

    /// A queue outside of this process may take leases back that it has not heard of for long.
    fn extend_leases(&mut self, now: Moment) {
        let Capabilities { extend, volatile, .. } = self.wiring.capabilities;
        if !extend || volatile || now.since(self.extended) < EXTEND_EVERY {
            return;
        }
        self.extended = now;
        let extended = self.ledger.tickets().map(|(_, lease, attempt)| SettleItem {
            lease,
            attempt,
            verdict: Verdict::Extend,
        });
        self.effects.settle.extend(extended);
    }

    /// A strategy that does not answer within the deadline is replaced.
    fn look_at_strategy(&mut self, now: Moment) {
        if let (Some(asked), Some(deadline)) = (self.asked, self.wiring.config.deadline())
            && now.since(asked) >= deadline
        {
            self.asked = Some(now);
            let cause = Cause::DeadlinePassed(self.wiring.config.deadline_ms);
            self.wiring
                .guardian
                .do_send(Notice::Unresponsive(Role::Strategy, cause));
        }
    }
}
