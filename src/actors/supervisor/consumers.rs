//! The lives of consumers: started, up, down, started again.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, Handler};

use super::Supervisor;
use crate::actors::cell::CellHandle;
use crate::actors::consumer::Berth;
use crate::protocol::faults;
use crate::protocol::{ConsumerDown, ConsumerInfo, ConsumerUp, Notice, Now, SlotBoard};
use crate::rules::ledger::SlotPhase;
use crate::rules::supervision::{Exit, Member, Order};
use crate::words::invariant::invariant;
use crate::words::{Cause, EventKind, Incarnation, Sealed, SlotId, SlotState};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerUp<J, O>> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, up: ConsumerUp<J, O>, context: &mut Context<Self>) {
        let ConsumerUp {
            slot,
            incarnation,
            door,
        } = up;
        let now = self.now();
        if self.ledger.up(slot, incarnation, &mut self.effects)
            && let Some(found) = self.slots.get_mut(slot.0 as usize)
        {
            found.door = Some(door);
            found.enter(SlotState::Live, now);
            let life = self.family.member(slot.0).map_or(0, Member::life);
            self.family.up(slot.0, life, now, &mut self.orders);
            self.wiring.bus.tell(EventKind::ConsumerUp { slot, incarnation });
        }
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<ConsumerDown> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, down: ConsumerDown, context: &mut Context<Self>) {
        // First what the consumer settled while it lived, then its death: work that was done is not done again.
        self.clear_desk();
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
        let Some(desk) = self.desk.clone() else { return };
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        let incarnation = self.ledger.next_incarnation(slot);
        let clock = self.wiring.clock;
        let info = Arc::new(ConsumerInfo {
            slot,
            incarnation,
            epoch: self.epoch,
            board: SlotBoard::default(),
            now: Now::new(move || clock.now()),
        });
        let (cell, seed) = CellHandle::new();
        found.forget_consumer();
        found.info = Some(Arc::clone(&info));
        found.enter(SlotState::Starting, now);
        found.is_starved = false;
        if found.home.is_none() {
            match self.homes.move_in() {
                Ok(home) => found.home = Some(home),
                Err(nothing_left) => {
                    // A failed start of this slot and nothing else: by a message, since the family is not asked while its
                    // orders are carried out.
                    found.is_starved = true;
                    let cause = nothing_left.cause();
                    context.notify(ConsumerDown {
                        slot,
                        incarnation,
                        cause,
                    });
                    return;
                }
            }
        }
        let Some((_, home)) = found.home.clone() else {
            return;
        };
        found.cell = Some(cell);
        self.starting_slots += 1;
        let berth = Berth {
            info,
            desk,
            seed,
            quiet: self.wiring.config.quiet_panics,
            up: context.address().recipient(),
            down: context.address().recipient(),
            exists: self.exists.clone(),
        };
        let wiring = Arc::clone(&self.wiring);
        let make = move || wiring.maker.make(berth);
        let make = move || faults::named(faults::Who::Consumer(slot, incarnation), make);
        if !home.run(make) {
            context.notify(ConsumerDown {
                slot,
                incarnation,
                cause: Cause::ArbiterEnded,
            });
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
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        if found.info.is_none() || found.state == SlotState::Gone {
            return;
        }
        found.forget_consumer();
        found.last_cause = Some(cause.clone());
        self.give_back(slot, incarnation, &cause);
        if cause == Cause::ArbiterEnded {
            self.leave_home(slot);
        }
        if self.ledger.phase(slot) == SlotPhase::Gone {
            self.slot_gone(slot);
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
        let is_guilty = |_, job: &Sealed<J>, number| {
            let begun = job.view().begun();
            costs_an_attempt && begun.has_begun(number) && (!knows_culprit || begun.is_culprit(number))
        };
        let held = self
            .ledger
            .down(now, slot, incarnation, cause, is_guilty, &mut self.effects);
        let held = held.unwrap_or(0);
        self.wiring.bus.tell(EventKind::ConsumerDown {
            slot,
            incarnation,
            cause: cause.clone(),
            held,
        });
    }

    /// A slot that was taken away has lost its last consumer.
    pub(super) fn slot_gone(&mut self, slot: SlotId) {
        let now = self.now();
        self.leave_home_for_good(slot);
        self.family.remove(slot.0, &mut self.orders);
        self.orders.clear();
        if let Some(found) = self.slots.get_mut(slot.0 as usize) {
            found.forget_consumer();
            found.enter(SlotState::Gone, now);
        }
    }

    /// The next consumer of the slot follows at once, after a wait, after a rest, or never: the family decides.
    fn restart(&mut self, slot: SlotId, context: &mut Context<Self>) {
        let now = self.now();
        let unit = self.random.f64();
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        found.restarts += 1;
        if std::mem::take(&mut found.worked) {
            self.family.worked(slot.0);
        }
        let exit = if std::mem::take(&mut found.is_starved) {
            Exit::Starved
        } else {
            Exit::Fault
        };
        let life = self.family.member(slot.0).map_or(0, Member::life);
        self.family.down(slot.0, life, exit, now, unit, &mut self.orders);
        self.carry_out_orders(context);
    }

    /// Carries out what the family decided.
    pub(super) fn carry_out_orders(&mut self, context: &mut Context<Self>) {
        let mut orders = std::mem::take(&mut self.orders);
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
        // Nothing was ordered meanwhile: a start answers by a message. The memory is used again.
        self.orders = orders;
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
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        if quarantine {
            found.enter(SlotState::Quarantined, now);
            self.wiring.bus.tell(EventKind::Quarantined {
                slot,
                cool_down: wait,
            });
        } else {
            found.enter(SlotState::BackingOff, now);
        }
        context.run_later(wait, move |this, context| {
            this.family.due(slot.0, life, &mut this.orders);
            this.carry_out_orders(context);
            this.turn(context);
        });
    }

    fn escalate(&mut self, slot: SlotId) {
        let now = self.now();
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
        found.enter(SlotState::Quarantined, now);
        let cause = found
            .last_cause
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let reason = format!("{slot} spent its restart budget; its last consumer {cause}");
        self.wiring.guardian.do_send(Notice::GiveUp(reason));
    }

    /// The home of this slot has ended; the next consumer moves in elsewhere.
    pub(super) fn leave_home(&mut self, slot: SlotId) {
        if let Some(found) = self.slots.get_mut(slot.0 as usize)
            && let Some((id, _)) = found.home.take()
        {
            self.homes.abandon(id);
        }
    }

    fn leave_home_for_good(&mut self, slot: SlotId) {
        if let Some(found) = self.slots.get_mut(slot.0 as usize)
            && let Some((id, _)) = found.home.take()
        {
            self.homes.move_out(id);
        }
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
