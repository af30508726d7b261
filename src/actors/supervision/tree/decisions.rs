//! Carries out what the rules decided.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{ActorContext, AsyncContext, Context};

use super::TreeSupervisor;
use crate::actors::arbiter_pool::ArbiterSlot;
use crate::actors::cell::{CellHandle, guard_of_a_call, note_cause};
use crate::actors::supervision::messages::{ChildDown, Reports};
use crate::actors::supervision::ready_child::Cradle;
use crate::rules::supervision::{ChildNumber, ChildSetEnd, Order};
use crate::types::{Cause, ChildKind, Down, Ending, Shutdown, TreeEvent};

impl TreeSupervisor {
    /// Carries out all orders, and sets the timer for what they wait for.
    pub(super) fn carry_out(&mut self, context: &mut Context<Self>) {
        let mut orders = std::mem::take(&mut self.orders);
        for order in orders.drain(..) {
            match order {
                Order::Start { child, life } => self.make(child, life, context),
                Order::Wait {
                    child, life, wait, ..
                } => self.back_off(child, life, wait),
                Order::End { child } => self.end(child),
                Order::Over { child, forgotten } => self.over(child, forgotten),
                Order::Opened => self.opened(),
                Order::BudgetSpent { .. } => self.bus.tell(TreeEvent::BudgetSpent {
                    supervisor: self.shared.path(),
                }),
                Order::Ended(end) => self.all_ended(end, context),
            }
        }
        // Nothing was ordered meanwhile: whatever a child does comes as a message. The memory is used again.
        self.orders = orders;
        self.set_timer(context);
    }

    fn make(&mut self, child: ChildNumber, life: u64, context: &mut Context<Self>) {
        let now = self.clock.now();
        let reports = self.reports.get_or_insert_with(|| Reports::to(context.address()));
        let Some(entry) = self.entries.get_mut(&child) else {
            return;
        };
        let (cell, seed) = CellHandle::new();
        entry.cell = Some(cell);
        entry.since = now;
        self.looks.watched.insert(child);
        let cradle = Cradle {
            child,
            life,
            seed,
            reports: Arc::clone(reports),
        };
        // A supervisor lives with its own supervisor: it runs no code of the user, and is not lost with an arbiter.
        let arbiter = match (entry.spec.kind(), &entry.arbiter) {
            (ChildKind::Supervisor, _) => Ok(ArbiterSlot::Here),
            (ChildKind::Worker, Some((_, arbiter))) => Ok(arbiter.clone()),
            (ChildKind::Worker, None) => self.arbiters.move_in().map(|(id, arbiter)| {
                entry.arbiter = Some((id, arbiter.clone()));
                arbiter
            }),
        };
        let arbiter = match arbiter {
            Ok(arbiter) => arbiter,
            Err(nothing_left) => {
                entry.is_starved = true;
                return self.has_not_begun(child, life, nothing_left.cause(), context);
            }
        };
        let spec = Arc::clone(&entry.spec);
        if !arbiter.run(move || spec.make(cradle)) {
            self.has_not_begun(child, life, Cause::ArbiterEnded, context);
        }
    }

    /// A life could not be made: heard of by a message, since the child set is not asked while its orders are carried out.
    fn has_not_begun(&self, child: ChildNumber, life: u64, cause: Cause, context: &mut Context<Self>) {
        if let Some(down) = self.down_from_here(child, life, cause) {
            context.notify(ChildDown { child, down });
        }
    }

    /// The end of a life that cannot tell of it any more.
    pub(super) fn down_from_here(&self, child: ChildNumber, life: u64, cause: Cause) -> Option<Arc<Down>> {
        let entry = self.entries.get(&child)?;
        let down = Arc::new(Down {
            child: entry.spec.path(),
            actor: entry.spec.actor().into(),
            life,
            cause,
            in_hand: None,
        });
        entry.spec.give_up(&down);
        Some(down)
    }

    fn back_off(&mut self, child: ChildNumber, life: u64, wait: Duration) {
        let now = self.clock.now();
        self.looks.dues.insert((now.after(wait), child, life));
        if let Some(entry) = self.entries.get(&child) {
            self.bus.tell(TreeEvent::BackingOff {
                child: entry.spec.path(),
                wait,
            });
        }
    }

    fn end(&mut self, child: ChildNumber) {
        let (now, life) = (self.clock.now(), self.life(child));
        let Some(entry) = self.entries.get_mut(&child) else {
            return;
        };
        match entry.spec.policy().shutdown {
            Shutdown::AtOnce => self.end_hard(child, Cause::Killed),
            Shutdown::WithoutLimit => entry.spec.ask_to_stop(),
            Shutdown::Within(limit) => {
                entry.spec.ask_to_stop();
                self.looks.dues.insert((now.after(limit), child, life));
            }
        }
    }

    /// Has the future of a child dropped at its next turn.
    pub(super) fn end_hard(&mut self, child: ChildNumber, cause: Cause) {
        let now = self.clock.now();
        if let Some(entry) = self.entries.get_mut(&child)
            && let Some(cell) = &mut entry.cell
        {
            cell.end(cause);
            entry.told_to_drop.get_or_insert(now);
            self.looks.watched.insert(child);
        }
    }

    fn over(&mut self, child: ChildNumber, forgotten: bool) {
        let Some(entry) = self.entries.get(&child) else {
            return;
        };
        entry.spec.over(&Cause::Killed, &self.bus);
        for answer in self.awaited.terminating.remove(&child).into_iter().flatten() {
            // An error means that nobody waits any more.
            let _ = answer.send(Ok(()));
        }
        if forgotten && let Some(entry) = self.entries.remove(&child) {
            self.looks.watched.remove(&child);
            self.numbers.remove(entry.spec.name());
            let mut listed = self.shared.listed.lock().unwrap_or_else(PoisonError::into_inner);
            listed.remove(entry.spec.name());
            drop(listed);
            if let Some((id, _)) = entry.arbiter {
                self.arbiters.move_out(id);
            }
            // The factory and what it holds are the user's, and so is their drop.
            if let Err(report) = guard_of_a_call(|| drop(entry.spec)) {
                tracing::warn!(%report, "a panic in the drop of a child's factory");
            }
        }
    }

    fn opened(&mut self) {
        let arrival = self
            .shared
            .arrival
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(arrive) = arrival {
            arrive();
        }
    }

    fn all_ended(&mut self, end: ChildSetEnd, context: &mut Context<Self>) {
        let last = |child| self.entries.get(&child).and_then(|entry| entry.last.clone());
        let ending = match end {
            ChildSetEnd::Stopped => Ending::Stopped,
            ChildSetEnd::AutoShutdown => Ending::AutoShutdown,
            ChildSetEnd::BudgetSpent(child) => last(child).map_or(Ending::Stopped, Ending::BudgetSpent),
            ChildSetEnd::StartFailed(child) => last(child).map_or(Ending::Stopped, Ending::StartFailed),
        };
        if let Some(cause) = ending.seen_by_parent() {
            note_cause(cause);
        }
        if self.shared.is_root() {
            // Nothing follows the end of the root, so nothing can be delivered any more, to the child whose end was one too
            // many either. Below another supervisor that is for the parent to say.
            for entry in self.entries.values() {
                entry.spec.over(&Cause::Killed, &self.bus);
            }
        }
        self.bus.tell(TreeEvent::Ended {
            supervisor: self.shared.path(),
            ending: ending.clone(),
        });
        self.shared.lives.send_modify(|lives| lives.end(ending));
        self.ended = true;
        context.stop();
    }
}
