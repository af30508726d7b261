//! The one timer of a supervisor: waits that are over, limits that have passed, children that hang.
//!
//! A single timer serves all children, since actix looks at every timer of an actor whenever the actor wakes. It is set
//! only while there is something to wait for or to look at.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{AsyncContext, Context, SpawnHandle};

use super::TreeSupervisor;
use crate::actors::arbiter_pool::ArbiterId;
use crate::rules::hang_detector::{self, Standstill};
use crate::rules::supervision::ChildNumber;
use crate::types::{Cause, ChildState, Moment, TreeEvent};

/// What is to be looked at, and when.
#[derive(Default)]
pub(super) struct Looks {
    /// Waits of children that back off, and limits of those that are asked to end.
    pub(super) dues: BTreeSet<(Moment, ChildNumber, u64)>,
    /// Children to be looked at: starting, told to drop, or with a deadline.
    pub(super) watched: BTreeSet<ChildNumber>,
    timer: Option<PlannedLook>,
    /// Whether this actor itself ran all the time, as its timers saw it.
    standstill: Standstill,
}

/// The timer, as it is set.
struct PlannedLook {
    /// When it was set. If it goes off later than planned, the supervisor itself did not run meanwhile.
    set_at: Moment,
    at: Moment,
    timer: SpawnHandle,
}

impl TreeSupervisor {
    /// Makes sure that the timer goes off for whatever comes first.
    pub(super) fn set_timer(&mut self, context: &mut Context<Self>) {
        if tokio::runtime::Handle::try_current().is_err() {
            // The arbiter ends, and its runtime is gone: nothing goes off any more, and nothing will be waited for.
            return;
        }
        let now = self.clock.now();
        let due = self.looks.dues.first().map(|(due, _, _)| *due);
        let look = self.pause_between_looks().map(|pause| now.after(pause));
        let limit = self
            .first_limit()
            .map(|limit| limit.max(now.after(Duration::from_millis(1))));
        let Some(at) = due.into_iter().chain(look).chain(limit).min() else {
            return;
        };
        if let Some(planned) = &self.looks.timer {
            if planned.at <= at {
                return;
            }
            context.cancel_future(planned.timer);
        }
        let timer = context.run_later(at.since(now), |this, context| {
            this.forgive_standstill();
            this.serve_dues();
            this.look(context);
            this.carry_out(context);
        });
        self.looks.timer = Some(PlannedLook {
            set_at: now,
            at,
            timer,
        });
    }

    /// The time in which this supervisor itself did not run counts against no child: the process was stopped, or the thread
    /// blocked by a neighbour, and the child may not have run either.
    fn forgive_standstill(&mut self) {
        let Some(PlannedLook { set_at, at, .. }) = self.looks.timer.take() else {
            return;
        };
        let now = self.clock.now();
        let stood = self.looks.standstill.look(at.since(set_at), now.since(set_at));
        if stood.is_zero() {
            return;
        }
        for entry in self.entries.values_mut() {
            entry.watch.forgive(now, stood);
            entry.since = hang_detector::forgiven(entry.since, now, stood);
            if let Some(since) = &mut entry.told_to_drop {
                *since = hang_detector::forgiven(*since, now, stood);
            }
        }
        let dues = std::mem::take(&mut self.looks.dues);
        let dues = dues.into_iter().map(|(due, child, life)| {
            // A wait before a restart is nobody's limit.
            let is_limit = self.life(child) == life && self.state(child) == ChildState::Ending;
            (if is_limit { due.after(stood) } else { due }, child, life)
        });
        self.looks.dues = dues.collect();
    }

    /// When the first limit of those that are looked at passes.
    fn first_limit(&self) -> Option<Moment> {
        let config = &self.shared.config;
        let limits = self
            .looks
            .watched
            .iter()
            .take(LOOKED_THROUGH)
            .filter_map(|child| {
                let entry = self.entries.get(child)?;
                entry.cell.as_ref()?;
                if let Some(since) = entry.told_to_drop {
                    let limit = since.after(config.kill_grace);
                    return Some(limit).filter(|_| entry.arbiter.is_some() && !self.arbiters.is_here());
                }
                if self.state(*child) == ChildState::Starting {
                    return Some(entry.since.after(config.start_deadline));
                }
                entry.watch.due(entry.spec.policy().deadline?)
            });
        limits.min()
    }

    fn pause_between_looks(&self) -> Option<Duration> {
        let config = &self.shared.config;
        let pauses = self
            .looks
            .watched
            .iter()
            .take(LOOKED_THROUGH)
            .filter_map(|child| {
                let entry = self.entries.get(child)?;
                if entry.told_to_drop.is_some() {
                    return Some(hang_detector::pause(config.kill_grace, 4));
                }
                if self.state(*child) == ChildState::Starting {
                    let limit = config.start_deadline;
                    return Some(hang_detector::pause(limit, hang_detector::LOOKS));
                }
                let deadline = entry.spec.policy().deadline?;
                Some(hang_detector::pause(deadline, hang_detector::LOOKS))
            });
        // A limit of a child that is asked to end is looked at as well: only so a standstill within it is seen.
        let ends = self
            .looks
            .dues
            .iter()
            .take(LOOKED_THROUGH)
            .any(|(_, child, life)| self.life(*child) == *life && self.state(*child) == ChildState::Ending);
        let limits = ends.then(|| hang_detector::pause(Duration::MAX, hang_detector::LOOKS));
        pauses.chain(limits).min()
    }

    fn serve_dues(&mut self) {
        let now = self.clock.now();
        while let Some((_, child, life)) = self.looks.dues.first().copied().filter(|(due, _, _)| *due <= now)
        {
            self.looks.dues.pop_first();
            if self.life(child) == life && self.state(child) == ChildState::Ending {
                self.end_hard(child, Cause::Killed);
            } else {
                self.child_set.due(child, life, &mut self.orders);
            }
        }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        let now = self.clock.now();
        let mut blocked: Vec<ArbiterId> = Vec::new();
        for child in self.looks.watched.clone() {
            if let Some(arbiter) = self.look_at(child, now)
                && !blocked.contains(&arbiter)
            {
                blocked.push(arbiter);
            }
        }
        for arbiter in blocked {
            self.give_up_arbiter(arbiter, context);
        }
    }

    /// Looks at one child; names its arbiter if the thread there does not come back.
    fn look_at(&mut self, child: ChildNumber, now: Moment) -> Option<ArbiterId> {
        let state = self.state(child);
        let config = &self.shared.config;
        let entry = self.entries.get_mut(&child)?;
        let cell = entry.cell.as_ref()?;
        if let Some(since) = entry.told_to_drop {
            let is_over = now.since(since) >= config.kill_grace;
            return entry
                .arbiter
                .as_ref()
                .map(|(id, _)| *id)
                .filter(|_| is_over && !self.arbiters.is_here());
        }
        if state == ChildState::Starting {
            let limit = config.start_deadline;
            if now.since(entry.since) >= limit {
                self.end_hard(
                    child,
                    Cause::StartFailed(format!("not up after {} ms", limit.as_millis()).into()),
                );
            }
            return None;
        }
        let deadline = entry.spec.policy().deadline?;
        let (progress, busy) = entry.spec.pulse();
        let still = entry.watch.look(now, progress, busy || cell.is_polling());
        if still >= deadline {
            self.end_hard(child, Cause::DeadlinePassed(deadline));
        }
        None
    }

    /// The thread of this arbiter does not come back. Whoever is inside it blocks it; the others are moved away.
    fn give_up_arbiter(&mut self, arbiter: ArbiterId, context: &mut Context<Self>) {
        self.arbiters.abandon(arbiter);
        let inhabitants: Vec<ChildNumber> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.arbiter.as_ref().is_some_and(|(id, _)| *id == arbiter))
            .map(|(child, _)| *child)
            .collect();
        let moved = inhabitants.len().saturating_sub(1);
        for child in inhabitants {
            let Some(entry) = self.entries.get_mut(&child) else {
                continue;
            };
            entry.arbiter = None;
            let Some(cell) = &entry.cell else { continue };
            let blocks = cell.is_polling() || entry.told_to_drop.is_some();
            let cause = if blocks {
                let path = entry.spec.path();
                self.bus.tell(TreeEvent::ArbiterAbandoned { child: path, moved });
                Cause::ThreadBlocked
            } else {
                Cause::NeighbourBlockedThread
            };
            let life = self.life(child);
            if let Some(down) = self.down_from_here(child, life, cause) {
                self.child_down(child, down);
            }
        }
        self.carry_out(context);
    }
}

/// So many watched children decide how often to look; more differ in nothing.
const LOOKED_THROUGH: usize = 64;
