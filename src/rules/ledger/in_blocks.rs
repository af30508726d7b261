//! The way of jobs in blocks through the ledger: leased, offered, assigned, delivered, done.

use super::blocks::Part;
use super::pieces::Piece;
use super::slots::SlotPhase;
use super::{Effects, HandedPiece, Ledger, OutOfBlock};
use crate::rules::strategies::{Choice, Share};
use crate::types::invariant::invariant;
use crate::types::{AckedPlaces, DeliveryNumber, KeyHash, LeaseId, Places, SlotId, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The queue leased jobs of a block, all in their first attempt. `keys`: those of all jobs of the block, by place; none if
    /// they have none. A job that has to wait for another one of its key leaves the block. Returns the ticket of the block.
    pub fn leased_block(
        &mut self,
        block: B,
        lease: LeaseId,
        places: Places,
        keys: impl Iterator<Item = KeyHash>,
    ) -> Ticket {
        let most = if self.policy.order_by_key { Places::MOST } else { 0 };
        let ticket = self.blocks.add(block, lease, places, keys.take(most));
        let mut free = places;
        let has_keys = self.blocks.has_keys(ticket);
        for place in places.iter().filter(|_| has_keys) {
            if let Some(key) = self.blocks.key(ticket, place)
                && !self.goes_first(key)
            {
                free.remove(Places::only(place));
                let entry = self.leave_block(ticket, place);
                self.stand_behind(key, entry);
            }
        }
        if !free.is_empty() {
            self.blocks.waiting_jobs += free.len();
            self.blocks.waiting.push_back(Part { ticket, places: free });
        }
        self.offering.news = true;
        ticket
    }

    /// The jobs in blocks that are on offer, in order, behind the entries on offer.
    pub fn offered_in_blocks(&self) -> impl Iterator<Item = (Ticket, Places)> + '_ {
        self.blocks.offered.iter().map(|part| (part.ticket, part.places))
    }

    /// Entries that were leased after parts which do not wait any more can be offered. What the strategy holds is reached beyond.
    pub(super) fn release_entries(&mut self) {
        let all = self.offering.held_back > 0;
        self.blocks.take_entries(all, &mut self.offering.waiting);
    }

    /// Puts up to `most` jobs in blocks on offer, behind the entries, up to the first that was leased before an entry.
    pub(super) fn offer_blocks(&mut self, most: usize) {
        let blocks = &mut self.blocks;
        let mut left = most;
        while left > 0
            && let Some(part) = blocks.waiting.front_mut()
            && part.ticket.is_of_block()
        {
            let (ticket, places) = (part.ticket, part.places.take_first(left));
            if part.places.is_empty() {
                blocks.waiting.pop_front();
            }
            left -= places.len();
            blocks.offered.push(Part { ticket, places });
        }
        let offered = most - left;
        blocks.waiting_jobs -= offered;
        blocks.offered_jobs = offered;
    }

    /// The strategy answered for the jobs in blocks, in the order of the offer. Returns how many it held.
    pub(super) fn assigned_blocks(
        &mut self,
        choices: &mut impl Iterator<Item = Choice>,
        shares: &[Share],
        bad: &mut Vec<SlotId>,
        effects: &mut Effects<H, B>,
    ) -> usize {
        let roster_is_current = self.offering.version == self.version;
        let offered = std::mem::take(&mut self.blocks.offered);
        self.blocks.offered_jobs = 0;
        let mut dealt = std::mem::take(&mut self.blocks.dealt);
        let is_bad =
            roster_is_current && !self.gate.is_paused && !self.is_at_its_limit() && !self.keeps_others_back();
        let mut held = Vec::new();
        let mut shares = shares.iter().peekable();
        for (index, part) in (0..).zip(&offered) {
            let mut left = part.places;
            // The others were revoked while the strategy chose for them.
            let there = left.both(self.blocks.left(part.ticket));
            while let Some(share) = shares.next_if(|share| share.part <= index) {
                // A job that is given away twice goes to the first one.
                let places = share.places.both(left);
                if share.part < index || places.is_empty() {
                    continue;
                }
                let is_there = places.both(there);
                if is_there.is_empty() || self.is_dealt(share.slot, is_there, &mut dealt) {
                    left.remove(places);
                } else if is_bad {
                    bad.push(share.slot);
                }
            }
            let mut held_here = Places::NONE;
            for place in left.iter() {
                let only = Places::only(place);
                match choices.next() {
                    _ if !there.contains(place) => {}
                    Some(Choice::Slot(slot)) if self.is_dealt(slot, only, &mut dealt) => {}
                    Some(Choice::Slot(slot)) => {
                        held_here.add(only);
                        if is_bad {
                            bad.push(slot);
                        }
                    }
                    Some(Choice::Hold) | None => held_here.add(only),
                }
            }
            for slot in dealt.drain(..) {
                self.place_piece(part.ticket, slot, effects);
            }
            if !held_here.is_empty() {
                held.push(Part {
                    places: held_here,
                    ..*part
                });
            }
        }
        let held_jobs = held.iter().map(|part| part.places.len()).sum();
        self.blocks.put_in_front(held.into_iter());
        self.blocks.dealt = dealt;
        self.blocks.offered = offered;
        self.blocks.offered.clear();
        held_jobs
    }

    /// The strategy died: what it was choosing for is offered again.
    pub(super) fn offered_blocks_lost(&mut self) {
        let mut offered = std::mem::take(&mut self.blocks.offered);
        self.blocks.offered_jobs = 0;
        self.offering.news |= !offered.is_empty();
        for part in &mut offered {
            part.places = part.places.both(self.blocks.left(part.ticket));
        }
        offered.retain(|part| !part.places.is_empty());
        self.blocks.put_in_front(offered.into_iter());
    }

    /// Notes that these jobs go to the slot, if the slot is live.
    fn is_dealt(&mut self, slot: SlotId, places: Places, dealt: &mut Vec<SlotId>) -> bool {
        let is_paused = self.gate.is_paused || self.is_at_its_limit() || self.keeps_others_back();
        match self.slots.get_mut(slot.0 as usize) {
            Some(found) if found.phase == SlotPhase::Live && !is_paused => {
                if found.dealt.is_empty() {
                    dealt.push(slot);
                }
                found.dealt.add(places);
                true
            }
            _ => false,
        }
    }

    /// Jobs of pieces go back in front of the others: their consumer cannot begin them any more.
    pub(super) fn recall_pieces(
        &mut self,
        slot: SlotId,
        pieces: &[(Ticket, DeliveryNumber, Places)],
        effects: &mut Effects<H, B>,
    ) {
        let mut back = Vec::with_capacity(pieces.len());
        for &(ticket, first, places) in pieces {
            self.change(slot, effects, |found, _| {
                let places = found.take_from_piece(ticket, first, places);
                back.push(Part { ticket, places });
            });
        }
        back.retain(|part| !part.places.is_empty());
        self.offering.news |= !back.is_empty();
        self.blocks.put_in_front(back.into_iter());
    }

    /// Hands the slot what was dealt to it: as much as it has room for. The rest waits for it, one by one.
    fn place_piece(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        let first = DeliveryNumber(self.next_number);
        let (mut rest, mut places, mut dealt) = (Places::NONE, Places::NONE, 0);
        self.change(slot, effects, |found, _| {
            rest = std::mem::take(&mut found.dealt);
            dealt = rest.len();
            places = rest.take_first(found.room() as usize);
            if !places.is_empty() {
                found.pieces.push_back(Piece {
                    ticket,
                    places,
                    first,
                });
                found.in_pieces += places.len() as u32;
            }
        });
        self.take_off_limit(dealt);
        if !places.is_empty() {
            self.next_number += Places::MOST as u64;
            let block = self.blocks.block(ticket).cloned();
            effects.pieces.push(HandedPiece {
                block: invariant!(block, "a block stays while a job of it is out"),
                ticket,
                places,
                slot,
                first,
            });
        }
        for place in rest.iter() {
            let entry = self.leave_block(ticket, place);
            self.park(entry, slot, effects);
        }
    }

    /// Jobs of a piece were done. `first` is the number of the piece. Returns which of them count: the others were settled
    /// before, or the consumer was given up on.
    pub fn done_in_block(
        &mut self,
        slot: SlotId,
        ticket: Ticket,
        first: DeliveryNumber,
        places: Places,
        effects: &mut Effects<H, B>,
    ) -> Places {
        let mut done = Places::NONE;
        let (mut waits_here, mut retires) = (false, false);
        self.change(slot, effects, |found, _| {
            done = found.take_from_piece(ticket, first, places);
            found.counters.acked += done.len() as u64;
            waits_here = !found.parked.is_empty();
            retires = found.phase == SlotPhase::Retiring;
        });
        if done.is_empty() {
            return done;
        }
        self.offering.news = true;
        let lease = self.blocks.leave(ticket, done);
        effects.acked.push(AckedPlaces { lease, places: done });
        if self.blocks.has_keys(ticket) {
            for place in done.iter() {
                self.leave_line(self.blocks.key(ticket, place), effects);
            }
        }
        if waits_here {
            self.fill(slot, effects);
        }
        if retires {
            self.note_emptied(slot, effects);
        }
        done
    }
}
