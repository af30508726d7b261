//! The one timer of a supervisor: waits that are over, limits that have passed, children that hang.
//!
//! A single timer serves all children, since actix looks at every timer of an actor whenever the actor wakes. It is set
//! only while there is something to wait for or to look at.

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::TreeSupervisor;
use crate::actors::homes::HomeId;
use crate::rules::supervision::ChildNumber;
use crate::words::{Cause, ChildState, Moment, TreeEvent};

/// A deadline is looked at this often while it runs.
const LOOKS: u32 = 16;

impl TreeSupervisor {
    /// Makes sure that the timer goes off for whatever comes first.
    pub(super) fn set_timer(&mut self, context: &mut Context<Self>) {
        if tokio::runtime::Handle::try_current().is_err() {
            // The arbiter ends, and its runtime is gone: nothing goes off any more, and nothing will be waited for.
            return;
        }
        let now = self.clock.now();
        let due = self.dues.first().map(|(due, _, _)| *due);
        let look = self.pause_between_looks().map(|pause| now.after(pause));
        let Some(next) = due.into_iter().chain(look).min() else {
            return;
        };
        if let Some((set, timer)) = self.timer {
            if set <= next {
                return;
            }
            context.cancel_future(timer);
        }
        let timer = context.run_later(next.since(now), |this, context| {
            this.timer = None;
            this.serve_dues();
            this.look(context);
            this.carry_out(context);
        });
        self.timer = Some((next, timer));
    }

    fn pause_between_looks(&self) -> Option<Duration> {
        let config = &self.shared.config;
        let pauses = self.watched.iter().take(LOOKED_THROUGH).filter_map(|child| {
            let entry = self.entries.get(child)?;
            if entry.told_to_drop.is_some() {
                return Some(Duration::from_millis(config.kill_grace_ms) / 4);
            }
            if self.state(*child) == ChildState::Starting {
                return Some(Duration::from_millis(config.start_deadline_ms) / LOOKS);
            }
            entry.spec.policy().deadline.map(|deadline| deadline / LOOKS)
        });
        let pause = pauses.min()?;
        Some(pause.clamp(Duration::from_millis(1), Duration::from_millis(500)))
    }

    fn serve_dues(&mut self) {
        let now = self.clock.now();
        while let Some((_, child, life)) = self.dues.first().copied().filter(|(due, _, _)| *due <= now) {
            self.dues.pop_first();
            if self.life(child) == life && self.state(child) == ChildState::Ending {
                self.end_hard(child, Cause::Killed);
            } else {
                self.family.due(child, life, &mut self.orders);
            }
        }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        let now = self.clock.now();
        let mut blocked: Vec<HomeId> = Vec::new();
        for child in self.watched.clone() {
            if let Some(home) = self.look_at(child, now)
                && !blocked.contains(&home)
            {
                blocked.push(home);
            }
        }
        for home in blocked {
            self.give_up_home(home, context);
        }
    }

    /// Looks at one child; names its home if the thread there does not come back.
    fn look_at(&mut self, child: ChildNumber, now: Moment) -> Option<HomeId> {
        let state = self.state(child);
        let config = &self.shared.config;
        let entry = self.entries.get_mut(&child)?;
        let cell = entry.cell.as_ref()?;
        if let Some(since) = entry.told_to_drop {
            let is_over = now.since(since) >= Duration::from_millis(config.kill_grace_ms);
            return entry
                .home
                .as_ref()
                .map(|(id, _)| *id)
                .filter(|_| is_over && !self.homes.is_here());
        }
        if state == ChildState::Starting {
            let limit = config.start_deadline_ms;
            if now.since(entry.since) >= Duration::from_millis(limit) {
                self.end_hard(
                    child,
                    Cause::StartFailed(format!("not up after {limit} ms").into()),
                );
            }
            return None;
        }
        let deadline = entry.spec.policy().deadline?;
        let (progress, busy) = entry.spec.pulse();
        let still = entry.watch.look(now, progress, busy || cell.is_polling());
        if still >= deadline {
            let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
            self.end_hard(child, Cause::DeadlinePassed(ms));
        }
        None
    }

    /// The thread of this home does not come back. Whoever is inside it blocks it; the others are moved away.
    fn give_up_home(&mut self, home: HomeId, context: &mut Context<Self>) {
        self.homes.abandon(home);
        let inhabitants: Vec<ChildNumber> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.home.as_ref().is_some_and(|(id, _)| *id == home))
            .map(|(child, _)| *child)
            .collect();
        let moved = inhabitants.len().saturating_sub(1);
        for child in inhabitants {
            let Some(entry) = self.entries.get_mut(&child) else {
                continue;
            };
            entry.home = None;
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
