//! Steering: the supervisor becomes what the group shall be, and says how it is.

use std::rc::Rc;
use std::time::Duration;

use actix::{Context, Handler};

use super::Supervisor;
use super::slot::SlotActor;
use crate::actors::fair_time::within_fair_time;
use crate::protocol::{AskHealth, ConsumerAddr, DeliverBatch, Desired, Later, QueueReply, SupervisorHealth};
use crate::types::{Cause, CircuitState, EventKind, QueueCounts, SlotHealth, SlotId, SlotState, Weight};

/// How long a look at the health of a group waits for the queue to say what it holds.
const COUNT_WITHIN: Duration = Duration::from_secs(1);

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Desired> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, desired: Desired, context: &mut Context<Self>) {
        self.desired = desired;
        self.steer(context);
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<AskHealth> for Supervisor<J, O> {
    type Result = Later<Option<SupervisorHealth>>;

    fn handle(&mut self, _: AskHealth, context: &mut Context<Self>) -> Self::Result {
        self.take_settles();
        // Every message ends with a turn: what the ledger decided must be carried out before tickets are used again.
        self.turn(context);
        let (asked, last) = (self.queue.count(), Rc::clone(&self.told.queue));
        let clock = self.group.clock;
        let health = SupervisorHealth {
            slots: self.slot_healths(),
            leased: self.ledger.leases() + self.replies.len(),
            held: self.ledger.held(),
            circuit: self.circuit.state(),
            bad_choices: self.told.bad_choices,
            stale_settles: self.told.stale_settles,
            refused_settles: self.told.refused_settles,
            queue: None,
        };
        Later::new(async move {
            // Not a question of the supervisor's: nothing of the group waits for a queue that says nothing.
            let answer = within_fair_time(COUNT_WITHIN, asked).await;
            let counts = match answer {
                Ok(Ok(QueueReply::Counts(counts))) => Some(counts),
                // It cannot count.
                Ok(Ok(_)) => Some(QueueCounts::default()),
                Ok(Err(_)) | Err(_) => None,
            };
            let counted = counts.map(|counts| (counts, clock.now()));
            last.set(counted.or(last.get()));
            let queue = last.get();
            Some(Some(SupervisorHealth { queue, ..health }))
        })
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Makes the group what is desired, step by step where steps take time.
    pub(super) fn steer(&mut self, context: &mut Context<Self>) {
        self.ledger.set_closed(self.desired.closed);
        self.pause_or_resume();
        self.scale(context);
        self.tell_complete();
        for (slot, weight) in self.desired.weights.clone() {
            self.ledger.set_weight(slot, weight);
        }
    }

    /// The group does jobs, unless somebody or its circuit paused it.
    pub(super) fn pause_or_resume(&mut self) {
        let pauses = self.desired.paused || self.circuit.state() == CircuitState::Open;
        if self.ledger.is_paused() != pauses {
            // It takes the credit back: jobs that come while the group is paused stay in the queue, where they can expire and
            // be overtaken by more urgent ones.
            self.ledger.set_paused(pauses, &mut self.effects);
        }
    }

    fn scale(&mut self, context: &mut Context<Self>) {
        let stays = |slot: &SlotActor<J, O>| !matches!(slot.state, SlotState::Retiring | SlotState::Gone);
        let staying = self.slots.iter().filter(|(_, found)| stays(found));
        let staying: Vec<SlotId> = staying.map(|(slot, _)| slot).collect();
        for _ in staying.len()..self.desired.consumers {
            self.add_slot(context);
        }
        // The last ones go first.
        for slot in staying.iter().skip(self.desired.consumers).rev() {
            self.retire(*slot);
        }
    }

    fn add_slot(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        let next = self.slots.next();
        let weight = self.desired.weights.get(&next).copied().unwrap_or_default();
        self.ledger.add_slot(weight);
        self.strategy.add_slot();
        self.slots.add(now);
        self.carry_out_orders(context);
    }

    fn retire(&mut self, slot: SlotId) {
        let now = self.now();
        let found = self.slots.get_mut(slot);
        let is_live = found.state == SlotState::Live;
        self.ledger.retire(slot, &mut self.effects);
        if is_live {
            // It ends when it holds nothing any more; `Effects::emptied` says when.
            found.enter(SlotState::Retiring, now);
            self.tell_complete_to(slot);
        } else {
            if let Some(info) = &found.info {
                let incarnation = info.incarnation;
                self.group.bus.tell(EventKind::ConsumerDown {
                    slot,
                    incarnation,
                    cause: Cause::Killed,
                    held: 0,
                });
            }
            self.slots.remove(slot, now);
        }
    }

    /// Whether this slot gets nothing more for now, so that its consumer need not wait for it.
    pub(super) fn is_complete(&self, slot: SlotId) -> bool {
        self.desired.draining || self.ledger.is_paused() || self.ledger.gets_nothing_more(slot)
    }

    /// Consumers that hold deliveries back learn whether they wait in vain. Those that will hold some later learn it with them.
    pub(super) fn tell_complete(&self) {
        for (slot, _) in self.slots.iter() {
            self.tell_complete_to(slot);
        }
    }

    fn tell_complete_to(&self, slot: SlotId) {
        let SlotActor {
            info: Some(info),
            address: Some(ConsumerAddr::Shell(shell)),
            ..
        } = self.slots.get(slot)
        else {
            return;
        };
        let is_complete = self.is_complete(slot);
        let was_complete = info.heartbeat.is_complete();
        info.heartbeat.set_complete(is_complete);
        if is_complete && !was_complete {
            // It sleeps; what it shall look at is on the heartbeat by now.
            shell.do_send(DeliverBatch::nothing());
        }
    }

    fn slot_healths(&self) -> Vec<SlotHealth> {
        self.slots
            .iter()
            .map(|(id, slot)| {
                let seat = self.ledger.seat(id);
                let counters = self.ledger.counters(id);
                SlotHealth {
                    slot: id,
                    state: slot.state,
                    incarnation: self.ledger.incarnation(id),
                    weight: seat.map_or(Weight::default(), |seat| seat.weight),
                    in_flight: seat.map_or(0, |seat| seat.load),
                    window: self.ledger.window(id),
                    acked: counters.acked,
                    failed: counters.failed,
                    restarts: slot.restarts,
                    last_cause: slot.last_cause.clone(),
                }
            })
            .collect()
    }
}
