//! The lives of consumers: started, up, down, started again.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler};

use super::Supervisor;
use crate::actors::cell::CellHandle;
use crate::actors::consumer::SpawnParams;
use crate::protocol::faults;
use crate::protocol::{ConsumerDown, ConsumerInfo, ConsumerUp, Notice, Now};
use crate::rules::ledger::SlotPhase;
use crate::rules::supervision::Order;
use crate::types::invariant::invariant;
use crate::types::{Cause, EventKind, Incarnation, JobRef, SlotId, SlotState};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerUp<J, O>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, up: ConsumerUp<J, O>, context: &mut Context<Self>) {
        let ConsumerUp {
            slot,
            incarnation,
            address,
        } = up;
        let now = self.now();
        if self.ledger.up(slot, incarnation, &mut self.effects) {
            let found = self.slots.get_mut(slot);
            found.address = Some(address);
            found.enter(SlotState::Live, now);
            self.slots.up(slot, now);
            self.group.bus.tell(EventKind::ConsumerUp { slot, incarnation });
        }
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerDown> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, down: ConsumerDown, context: &mut Context<Self>) {
        // First what the consumer settled while it lived, then its death: work that was done is not done again.
        self.take_settles();
        if down.incarnation == self.ledger.incarnation(down.slot) {
            self.consumer_down(down.slot, down.incarnation, down.cause, context);
        }
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Makes the next consumer of a slot.
    pub(super) fn start_consumer(&mut self, slot: SlotId, context: &mut Context<Self>) {
        let now = self.now();
        let settles = invariant!(self.settles.clone(), "the settle queue is made at the start");
        let incarnation = self.ledger.next_incarnation(slot);
        let clock = self.group.clock;
        let life = (slot, incarnation, self.epoch);
        let now_of_group = Now::new(move || clock.now());
        let info = ConsumerInfo::new(life, now_of_group, self.group.own.clone());
        let (cell, seed) = CellHandle::new();
        let found = self.slots.get_mut(slot);
        found.forget_consumer();
        found.info = Some(Arc::clone(&info));
        found.enter(SlotState::Starting, now);
        found.is_starved = false;
        let down = |cause| ConsumerDown {
            slot,
            incarnation,
            cause,
        };
        let arbiter = match self.slots.arbiter_of(slot) {
            Ok(arbiter) => arbiter,
            // A failed start of this slot and nothing else: by a message, since the child set is not asked while its orders are
            // carried out.
            Err(nothing_left) => return context.notify(down(nothing_left.cause())),
        };
        self.slots.get_mut(slot).cell = Some(cell);
        self.slots.note_starting();
        let params = SpawnParams {
            info,
            settles,
            seed,
            quiet: self.group.config.quiet_panics,
            up: context.address().recipient(),
            down: context.address().recipient(),
            exists: self.slots.exists(),
        };
        let group = Arc::clone(&self.group);
        let make = move || group.maker.make(params);
        let make = move || faults::named(faults::Who::Consumer(slot, incarnation), make);
        if !arbiter.run(make) {
            context.notify(down(Cause::ArbiterEnded));
        }
    }

    /// The present consumer of a slot has ended: what it held goes to others, and a successor follows by the rules.
    pub(super) fn consumer_down(
        &mut self,
        slot: SlotId,
        incarnation: Incarnation,
        cause: Cause,
        context: &mut Context<Self>,
    ) {
        let now = self.now();
        let found = self.slots.get_mut(slot);
        if found.info.is_none() || found.state == SlotState::Gone {
            return;
        }
        found.forget_consumer();
        found.last_cause = Some(cause.clone());
        self.give_back(slot, incarnation, &cause);
        if !cause.was_ordered() {
            self.circuit.failed(now);
        }
        if cause == Cause::ArbiterEnded {
            self.slots.leave_arbiter(slot);
        }
        if self.ledger.phase(slot) == SlotPhase::Gone {
            self.slots.remove(slot, now);
        } else {
            self.restart(slot, context);
        }
    }

    /// Everything that the consumer held goes to others at once.
    fn give_back(&mut self, slot: SlotId, incarnation: Incarnation, cause: &Cause) {
        let now = self.now();
        // Each job has to be asked whether it was its fault, so none stays in a block.
        self.ledger.single_out_all(slot, &mut self.effects);
        let costs_an_attempt = blames_the_job(cause);
        let held = self.ledger.held_by(slot);
        // A panic often names its delivery; then the others that had begun are bystanders.
        let mut knows_culprit = false;
        for (ticket, number) in held {
            let job = invariant!(self.ledger.job(ticket), "what is out is leased");
            knows_culprit |= costs_an_attempt && job.view().begun().is_culprit(number);
            // What it had not begun may expire while it waits for the next consumer.
            self.note_expiry(ticket);
        }
        let is_guilty = |_, job: &JobRef<J>, number| {
            let begun = job.view().begun();
            costs_an_attempt && begun.has_begun(number) && (!knows_culprit || begun.is_culprit(number))
        };
        let held = self
            .ledger
            .down(now, slot, incarnation, cause, is_guilty, &mut self.effects);
        let held = held.unwrap_or(0);
        self.group.bus.tell(EventKind::ConsumerDown {
            slot,
            incarnation,
            cause: cause.clone(),
            held,
        });
    }

    /// The next consumer of the slot follows at once, after a wait, after a rest, or never: the child set decides.
    fn restart(&mut self, slot: SlotId, context: &mut Context<Self>) {
        let (now, unit) = (self.now(), self.random.f64());
        self.slots.down(slot, now, unit);
        self.carry_out_orders(context);
    }

    /// Carries out what the child set decided.
    pub(super) fn carry_out_orders(&mut self, context: &mut Context<Self>) {
        let mut orders = self.slots.take_orders();
        for order in orders.drain(..) {
            match order {
                Order::Start { child, .. } => self.start_consumer(SlotId(child), context),
                Order::Wait {
                    child,
                    life,
                    wait,
                    quarantine,
                } => self.rest(SlotId(child), life, wait, quarantine, context),
                Order::BudgetSpent { child } => self.escalate(SlotId(child)),
                // Consumers are ended by the ledger's word, when they hold nothing any more.
                Order::End { .. } | Order::Over { .. } | Order::Opened | Order::Ended(_) => {}
            }
        }
        self.slots.carried_out(orders);
    }

    fn rest(
        &mut self,
        slot: SlotId,
        life: u64,
        wait: Duration,
        quarantine: bool,
        context: &mut Context<Self>,
    ) {
        let now = self.now();
        let found = self.slots.get_mut(slot);
        if quarantine {
            found.enter(SlotState::Quarantined, now);
            self.group.bus.tell(EventKind::Quarantined {
                slot,
                cool_down: wait,
            });
        } else {
            found.enter(SlotState::BackingOff, now);
        }
        context.run_later(wait, move |this, context| {
            this.slots.due(slot, life);
            this.carry_out_orders(context);
            this.turn(context);
        });
    }

    fn escalate(&mut self, slot: SlotId) {
        let now = self.now();
        let found = self.slots.get_mut(slot);
        found.enter(SlotState::Quarantined, now);
        let cause = found
            .last_cause
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let reason = format!("{slot} spent its restart budget; its last consumer {cause}");
        self.group.guardian.do_send(Notice::GiveUp(reason));
    }
}

/// Whether a consumer that ended for this cause may have ended because of the deliveries that it had begun.
fn blames_the_job(cause: &Cause) -> bool {
    match cause {
        Cause::Panicked(_)
        | Cause::Stopped
        | Cause::DeadlinePassed(_)
        | Cause::ThreadBlocked
        // The group ends no arbiter with consumers on it, so the code of a consumer did.
        | Cause::ArbiterEnded
        | Cause::Failed(_) => true,
        Cause::Killed
        | Cause::NeighbourBlockedThread
        | Cause::StartFailed(_)
        | Cause::Linked(_)
        | Cause::Escalated(_)
        | Cause::ProcessEnded { .. }
        | Cause::Abandoned => false,
    }
}
