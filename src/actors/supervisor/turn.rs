//! The turn: after each message, what the ledger decided is carried out.

use std::sync::Arc;

use actix::Context;

use super::Supervisor;
use crate::protocol::{Deliver, DeliverBatch, Door, Handover, Notice, Outcomes, Parcel, PieceParcel};
use crate::rules::ledger::SingledOut;
use crate::words::{EventKind, Sealed, SlotId, Ticket};

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Ends the handling of a message: everything that follows from it goes out.
    pub(super) fn turn(&mut self, context: &mut Context<Self>) {
        self.tell_effects();
        // First the outcomes, then the settles: a supervisor that dies in between makes an outcome come twice, never not at
        // all. (Both leave in one turn, so in fact nothing comes in between; the order is for those who change this.)
        self.send_outcomes();
        self.bury();
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

    pub(super) fn job_id(&self, ticket: Ticket) -> Option<crate::words::JobId> {
        self.jobs
            .get(ticket.0 as usize)
            .and_then(Option::as_ref)
            .map(|job| job.id())
    }

    /// Jobs that left their block get a place of their own; events of retried and returned jobs are told; then the jobs
    /// whose lease has ended are forgotten. Tickets are used again, so whoever makes the ledger end leases and single jobs
    /// out in one message calls this in between.
    pub(super) fn tell_effects(&mut self) {
        for SingledOut {
            block,
            place,
            ticket,
            lease,
        } in self.effects.singled.drain(..)
        {
            let found = self.blocks.get(block.number() as usize).and_then(Option::as_ref);
            if let Some(block) = found {
                let job = Sealed::in_block(Arc::clone(block), place);
                if self.wiring.shelf.is_some() {
                    self.histories.begin(lease, &job);
                }
                keep_at(&mut self.jobs, ticket.0, job);
            }
        }
        for ticket in self.effects.ended_blocks.drain(..) {
            if let Some(block) = self.blocks.get_mut(ticket.number() as usize) {
                *block = None;
            }
        }
        for (ticket, kind) in std::mem::take(&mut self.effects.tell) {
            if let Some(job) = self.job_id(ticket) {
                self.wiring.bus.tell(kind.event(job));
            }
        }
        for ticket in self.effects.ended.drain(..) {
            let job = self.jobs.get_mut(ticket.0 as usize).and_then(Option::take);
            if let Some(job) = job {
                self.expiring.strike(ticket, &job);
            }
        }
        for slot in self.effects.touched.drain(..) {
            if let Some(found) = self.slots.get_mut(slot.0 as usize)
                && !found.is_outdated
            {
                found.is_outdated = true;
                self.outdated.push(slot);
            }
        }
    }

    /// Turns the ledger's pieces of blocks into parcels, by slot.
    fn gather_pieces(&mut self) {
        let wants_jobs = self.wiring.bus.wants_jobs();
        for handed in self.effects.pieces.drain(..) {
            let Some(Some(block)) = self.blocks.get(handed.ticket.number() as usize) else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(handed.slot.0 as usize) else {
                continue;
            };
            let piece = PieceParcel {
                block: Arc::clone(block),
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
            if slot.outgoing.is_empty() && slot.outgoing_pieces.is_empty() {
                self.sending.push(handed.slot);
            }
            slot.outgoing_pieces.push(piece);
        }
    }

    fn send_outcomes(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        let mailboxes = self.wiring.mailboxes.clone();
        let outcomes = Handover::or_else(outcomes, move |outcomes| mailboxes.deposit(outcomes));
        self.results.outcomes.do_send(Outcomes { outcomes });
    }

    /// Turns the ledger's deliveries into parcels, by slot.
    fn gather_deliveries(&mut self) {
        let wants_jobs = self.wiring.bus.wants_jobs();
        for handed in self.effects.deliver.drain(..) {
            let Some(Some(job)) = self.jobs.get(handed.ticket.0 as usize) else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(handed.slot.0 as usize) else {
                continue;
            };
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
            if slot.outgoing.is_empty() {
                self.sending.push(handed.slot);
            }
            slot.outgoing.push(Parcel {
                job: job.clone(),
                ticket: handed.ticket,
                number: handed.number,
                attempt: handed.attempt,
            });
        }
    }

    fn send_deliveries(&mut self) {
        while let Some(slot) = self.sending.pop() {
            self.send_to(slot);
        }
    }

    /// Sends a slot's deliveries. If its consumer has just died, they go nowhere; its death notice, which is on its way,
    /// brings them back.
    fn send_to(&mut self, slot: SlotId) {
        let is_complete = self.is_complete(slot);
        let Some(found) = self.slots.get_mut(slot.0 as usize) else {
            return;
        };
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
            if let Some(found) = self.slots.get_mut(slot.0 as usize)
                && let Some(cell) = &mut found.cell
            {
                cell.end(crate::words::Cause::Killed);
                // If it does not end, its thread is blocked; the watch finds that.
                found.ending.get_or_insert(now);
                self.ending_slots += 1;
            }
        }
    }

    /// Tells once that the hold is full, and once that at most half of it is used again: a group that stands still at its
    /// limit would else tell it with every job.
    fn tell_hold(&mut self) {
        let held = self.ledger.held();
        if held.is_full && !self.told_full {
            self.told_full = true;
            self.wiring.bus.tell(EventKind::HoldFull { held });
        } else if self.told_full && self.ledger.hold_has_room_again() {
            self.told_full = false;
            self.wiring.bus.tell(EventKind::HoldHasRoom);
        }
    }

    pub(super) fn tell_idle(&self) {
        if self.desired.draining && self.ledger.leases() == 0 && self.unanswered.is_empty() {
            self.wiring.guardian.do_send(Notice::Idle);
        }
    }
}

/// Takes what is in the list. The next lot is about as large; growing to it step by step would copy it several times.
pub(super) fn renew<T>(list: &mut Vec<T>) -> Vec<T> {
    let room = list.len();
    std::mem::replace(list, Vec::with_capacity(room))
}

/// Puts `what` at this place of a list that grows as needed.
pub(super) fn keep_at<T>(list: &mut Vec<Option<T>>, place: u32, what: T) {
    let index = place as usize;
    if index >= list.len() {
        list.resize_with(index + 1, || None);
    }
    if let Some(found) = list.get_mut(index) {
        *found = Some(what);
    }
}
