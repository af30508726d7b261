//! The turn: after each message, what the ledger decided is carried out.

use actix::Context;

use super::Supervisor;
use crate::protocol::{Deliver, DeliverBatch, Door, Notice, Parcel, PieceParcel};
use crate::words::{EventKind, JobId, Sealed, SlotId, Ticket};

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Ends the handling of a message: everything that follows from it goes out.
    pub(super) fn turn(&mut self, context: &mut Context<Self>) {
        self.tell_effects();
        // First the outcomes, then the settles: a supervisor that dies in between makes an outcome come twice, never not at
        // all. (Both leave in one turn, so in fact nothing comes in between; the order is for those who change this.)
        self.outgoing.send(&self.wiring.mailboxes);
        self.bury();
        self.forget_ended();
        self.send_settles(context);
        self.gather_deliveries();
        self.gather_pieces();
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
        self.ledger.job(ticket).map(Sealed::id)
    }

    /// Events of retried and returned jobs are told.
    fn tell_effects(&mut self) {
        for (job, kind) in self.effects.tell.drain(..) {
            self.wiring.bus.tell(kind.event(job.id()));
        }
        for slot in self.effects.touched.drain(..) {
            self.strategy.outdate(slot);
        }
    }

    /// Turns the ledger's pieces of blocks into parcels, by slot.
    fn gather_pieces(&mut self) {
        let wants_jobs = self.wiring.bus.wants_jobs();
        for handed in self.effects.pieces.drain(..) {
            let slot = self.slots.get_mut(handed.slot);
            let piece = PieceParcel {
                block: handed.block,
                ticket: handed.ticket,
                places: handed.places,
                first: handed.first,
            };
            if wants_jobs {
                for parcel in piece.parcels() {
                    self.wiring.bus.tell(EventKind::Delivered {
                        job: parcel.job.id(),
                        key: parcel.job.key_hash(),
                        attempt: parcel.attempt,
                        slot: handed.slot,
                        incarnation: self.ledger.incarnation(handed.slot),
                        number: parcel.number,
                    });
                }
            }
            let is_first = slot.outgoing.is_empty() && slot.outgoing_pieces.is_empty();
            slot.outgoing_pieces.push(piece);
            if is_first {
                self.slots.note_sending(handed.slot);
            }
        }
    }

    /// The time of jobs whose lease has ended is kept no more.
    fn forget_ended(&mut self) {
        for (lease, job) in self.effects.ended.drain(..) {
            self.expiring.strike(lease, &job);
        }
    }

    /// Turns the ledger's deliveries into parcels, by slot.
    fn gather_deliveries(&mut self) {
        let wants_jobs = self.wiring.bus.wants_jobs();
        for handed in self.effects.deliver.drain(..) {
            let job = handed.job;
            let slot = self.slots.get_mut(handed.slot);
            if wants_jobs {
                self.wiring.bus.tell(EventKind::Delivered {
                    job: job.id(),
                    key: job.key_hash(),
                    attempt: handed.attempt,
                    slot: handed.slot,
                    incarnation: self.ledger.incarnation(handed.slot),
                    number: handed.number,
                });
            }
            let is_first = slot.outgoing.is_empty();
            slot.outgoing.push(Parcel {
                job,
                ticket: handed.ticket,
                number: handed.number,
                attempt: handed.attempt,
            });
            if is_first {
                self.slots.note_sending(handed.slot);
            }
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
        let (parcels, pieces) = (renew(&mut found.outgoing), renew(&mut found.outgoing_pieces));
        let in_pieces: usize = pieces.iter().map(|piece| piece.places.len()).sum();
        let sent = parcels.len() + in_pieces;
        if self
            .ledger
            .seat(slot)
            .is_some_and(|seat| seat.load as usize == sent)
        {
            let now = self.wiring.clock.now();
            found.busy_since = now;
            if let Some(info) = &found.info {
                found.watch.heard(now, info.board.progress(), true);
                found.moves.heard(now, info.board.moved(), true);
            }
        }
        match (&found.door, &found.info, &self.desk) {
            (Some(Door::Shell(shell)), Some(info), _) => {
                info.board.set_complete(is_complete);
                shell.do_send(DeliverBatch { parcels, pieces });
            }
            (Some(Door::Actor(actor)), Some(info), Some(desk)) => {
                let in_pieces = pieces.iter().flat_map(PieceParcel::parcels);
                for parcel in parcels.into_iter().chain(in_pieces) {
                    let Some(delivery) = Deliver::new(parcel, info, desk) else {
                        continue;
                    };
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
            if let Some(cell) = &mut found.cell {
                cell.end(crate::words::Cause::Killed);
                // If it does not end, its thread is blocked; the watch finds that.
                found.ending.get_or_insert(now);
                self.slots.note_ending();
            }
        }
    }

    /// Tells once that the hold is full, and once that at most half of it is used again: a group that stands still at its
    /// limit would else tell it with every job.
    fn tell_hold(&mut self) {
        let held = self.ledger.held();
        if held.is_full && !self.told.hold_is_full {
            self.told.hold_is_full = true;
            self.wiring.bus.tell(EventKind::HoldFull { held });
        } else if self.told.hold_is_full && self.ledger.hold_has_room_again() {
            self.told.hold_is_full = false;
            self.wiring.bus.tell(EventKind::HoldHasRoom);
        }
    }

    pub(super) fn tell_idle(&self) {
        if self.desired.draining && self.ledger.leases() == 0 && self.queue.is_settled() {
            self.wiring.guardian.do_send(Notice::Idle);
        }
    }
}

/// Takes what is in the list. The next lot is about as large; growing to it step by step would copy it several times.
pub(super) fn renew<T>(list: &mut Vec<T>) -> Vec<T> {
    let room = list.len();
    std::mem::replace(list, Vec::with_capacity(room))
}
