//! Orders of the group's handles: what the group shall be is kept here and told to every life of the supervisor.

use actix::{Context, Handler};

use super::Guardian;
use crate::protocol::Order;
use crate::types::{Cause, EventKind, GroupState, SlotId, Weight};

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<Order> for Guardian<J, O> {
    type Result = ();

    fn handle(&mut self, order: Order, context: &mut Context<Self>) {
        if self.ending {
            return;
        }
        match order {
            // The drain is over but for the last words of the consumers.
            Order::Scale(_) if self.has_dismissed => {}
            Order::Scale(to) => {
                let from = std::mem::replace(&mut self.desired.consumers, to);
                self.root.intake.own_waits().set_consumers(to);
                self.tell(EventKind::Scaled { from, to });
            }
            Order::Weigh(slot, weight) => self.weigh(slot, weight),
            Order::Pause => self.pause(true),
            Order::Resume => self.pause(false),
            Order::Drain { everything, deadline } => self.drain(everything, deadline, context),
            Order::EndRole(role) => return self.end_role(role, Cause::Killed),
            Order::Stop => return self.end(GroupState::Stopped, None, context),
        }
        self.tell_desired();
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    pub(super) fn set_state(&self, state: GroupState) {
        self.root.status.send_modify(|status| status.state = state);
    }

    pub(super) fn tell_desired(&self) {
        if let Some(supervisor) = &self.supervisor {
            supervisor.do_send(self.desired.clone());
        }
    }

    pub(super) fn weigh(&mut self, slot: SlotId, weight: Weight) {
        self.desired.weights.insert(slot, weight);
        self.tell(EventKind::Weighted { slot, weight });
    }

    pub(super) fn pause(&mut self, paused: bool) {
        let state = self.root.status.borrow().state;
        if state != GroupState::Draining && self.desired.paused != paused {
            self.desired.paused = paused;
            self.set_state(if paused {
                GroupState::Paused
            } else {
                GroupState::Running
            });
            self.tell(if paused {
                EventKind::Paused
            } else {
                EventKind::Resumed
            });
        }
    }
}
