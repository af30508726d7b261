//! The turn: after each message, what the ledger decided is carried out.

use actix::Context;

use super::Supervisor;
use crate::protocol::{ConsumerAddr, Deliver, DeliverBatch, Notice, Parcel};
use crate::types::{EventKind, JobId, JobRef, Key, Run, SlotId, Ticket};

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Ends the handling of a message: everything that follows from it goes out.
    pub(super) fn turn(&mut self, context: &mut Context<Self>) {
        self.follow_circuit();
        if self.ledger.has_rates() {
            let now = self.now();
            self.ledger.pass_time(now);
        }
        self.tell_effects();
        // First the outcomes, then the settles: a supervisor that dies in between makes an outcome come twice, never not at
        // all. (Both leave in one turn, so in fact nothing comes in between; the order is for those who change this.)
        self.outgoing.send(&self.group.mailboxes);
        self.hold_back(context);
        self.bury();
        self.forget_ended();
        self.send_settles(context);
        self.note_released();
        self.gather_deliveries();
        self.send_deliveries();
        self.end_emptied();
        self.demand();
        self.tell_hold();
        self.ask_strategy(context);
        self.wake_when_due(context);
        self.keep_recalling(context);
        self.keep_watching(context);
        self.tell_idle();
    }

    pub(super) fn job_id(&self, ticket: Ticket) -> Option<JobId> {
        self.ledger.job(ticket).map(JobRef::id)
    }

    /// Events of retried and returned jobs are told.
    fn tell_effects(&mut self) {
        for (job, kind) in self.effects.tell.drain(..) {
            self.group.bus.tell(kind.event(job.id()));
        }
        for slot in self.effects.touched.drain(..) {
            self.strategy.outdate(slot);
        }
    }

    /// The time of jobs whose lease has ended is kept no more.
    fn forget_ended(&mut self) {
        for (lease, job) in self.effects.ended.drain(..) {
            self.expiring.strike(lease, &job);
            if !self.replies.holds(lease) {
                self.histories.forget(lease);
            }
        }
    }

    /// Turns the ledger's deliveries into parcels, by slot.
    fn gather_deliveries(&mut self) {
        let mut alone = std::mem::take(&mut self.effects.deliver);
        for handed in alone.drain(..) {
            let parcel = Parcel::one(&handed.job, handed.ticket, handed.number, handed.attempt);
            self.put_out(handed.slot, parcel);
        }
        self.effects.deliver = alone;
        let mut pieces = std::mem::take(&mut self.effects.pieces);
        for handed in pieces.drain(..) {
            let run = Run {
                block: handed.block,
                places: handed.places,
            };
            let parcel = Parcel {
                run,
                ticket: handed.ticket,
                first: handed.first,
                attempt: 1,
            };
            self.put_out(handed.slot, parcel);
        }
        self.effects.pieces = pieces;
    }

    fn put_out(&mut self, slot: SlotId, parcel: Parcel<J>) {
        if self.group.bus.wants_jobs() {
            for job in parcel.run.views() {
                self.group.bus.tell(EventKind::Delivered {
                    job: job.id(),
                    key: job.key().map(Key::hashed),
                    attempt: parcel.attempt,
                    slot,
                    incarnation: self.ledger.incarnation(slot),
                    number: parcel.first.at(job.place()),
                });
            }
        }
        let found = self.slots.get_mut(slot);
        found.outgoing.push(parcel);
        if found.outgoing.len() == 1 {
            self.slots.note_sending(slot);
        }
    }

    fn send_deliveries(&mut self) {
        while let Some(slot) = self.slots.next_sending() {
            self.send_to(slot);
        }
    }

    /// Sends a slot's deliveries. If its consumer has just died, they go nowhere; its death notice, which is on its way,
    /// brings them back.
    fn send_to(&mut self, slot: SlotId) {
        let is_complete = self.is_complete(slot);
        let found = self.slots.get_mut(slot);
        let parcels = renew(&mut found.outgoing);
        let has_urgent = self.ledger.has_urgent()
            && !self.ledger.puts_urgent_behind()
            && parcels
                .iter()
                .any(|parcel| parcel.run.block.priority().is_urgent());
        let sent: usize = parcels.iter().map(|parcel| parcel.run.len()).sum();
        if self
            .ledger
            .seat(slot)
            .is_some_and(|seat| seat.load as usize == sent)
        {
            let now = self.group.clock.now();
            found.busy_since = now;
            if let Some(info) = &found.info {
                found.watch.heard(now, info.heartbeat.progress(), true);
                found.moves.heard(now, info.heartbeat.moved(), true);
            }
        }
        match (&found.address, &found.info, &self.settles) {
            (Some(ConsumerAddr::Shell(shell)), Some(info), _) => {
                info.heartbeat.set_complete(is_complete);
                shell.do_send(DeliverBatch { parcels, has_urgent });
            }
            (Some(ConsumerAddr::Actor(actor)), Some(info), Some(settles)) => {
                for delivery in parcels
                    .iter()
                    .flat_map(|parcel| Deliver::all_of(parcel, info, settles))
                {
                    if crate::protocol::faults::is_met_on_the_way(delivery.seen()) {
                        let _ = delivery.begin();
                    }
                    actor.do_send(delivery);
                }
            }
            _ => {}
        }
    }

    /// Consumers of retired slots that hold nothing any more can go.
    fn end_emptied(&mut self) {
        if self.effects.emptied.is_empty() {
            return;
        }
        let now = self.now();
        for slot in std::mem::take(&mut self.effects.emptied) {
            let found = self.slots.get_mut(slot);
            match (&found.info, &found.address, &mut found.cell) {
                // It has a last word; the watch sees to it that this does not take too long.
                (Some(info), Some(ConsumerAddr::Shell(shell)), _) => {
                    info.heartbeat.ask_to_stop();
                    shell.do_send(DeliverBatch::nothing());
                    found.stopping.get_or_insert(now);
                }
                (_, _, Some(cell)) => {
                    cell.end(crate::types::Cause::Killed);
                    // If it does not end, its thread is blocked; the watch finds that.
                    found.ending.get_or_insert(now);
                }
                _ => continue,
            }
            self.slots.note_leaving();
        }
    }

    /// Tells once that the hold is full, and once that at most half of it is used again: a group that stands still at its
    /// limit would else tell it with every job.
    fn tell_hold(&mut self) {
        let held = self.ledger.held();
        if held.is_full && !self.told.hold_is_full {
            self.told.hold_is_full = true;
            self.group.bus.tell(EventKind::HoldFull { held });
        } else if self.told.hold_is_full && self.ledger.hold_has_room_again() {
            self.told.hold_is_full = false;
            self.group.bus.tell(EventKind::HoldHasRoom);
        }
    }

    pub(super) fn tell_idle(&self) {
        if self.desired.draining
            && self.ledger.leases() == 0
            && self.replies.len() == 0
            && self.queue.is_settled()
        {
            self.group.guardian.do_send(Notice::Idle);
        }
        // Also if a queue has handed something out again meanwhile: nobody is left to do it.
        if self.desired.draining && self.desired.consumers == 0 && !self.slots.have_consumers() {
            self.group.guardian.do_send(Notice::NoConsumers);
        }
    }
}

/// Takes what is in the list. The next lot is about as large; growing to it step by step would copy it several times.
pub(super) fn renew<T>(list: &mut Vec<T>) -> Vec<T> {
    let room = list.len();
    std::mem::replace(list, Vec::with_capacity(room))
}
