//! Singling out: a job that was not simply done leaves its block, and is an entry from then on.

use super::entries::{State, Suspicion};
use super::{Effects, Ledger, OutOfBlock, Stale};
use crate::types::invariant::invariant;
use crate::types::{DeliveryNumber, Places, SlotId, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Of which piece a delivery is: its number, and the place of the job.
    ///
    /// # Errors
    /// [`Stale`] if no such delivery is out.
    pub fn piece_of(
        &self,
        slot: SlotId,
        ticket: Ticket,
        number: DeliveryNumber,
    ) -> Result<(DeliveryNumber, u8), Stale> {
        let found = self.slots.get(slot.0 as usize).ok_or(Stale)?;
        let mut pieces = found.pieces.iter().filter(|piece| piece.ticket == ticket);
        pieces
            .find_map(|piece| piece.place_of(number).map(|place| (piece.first, place)))
            .ok_or(Stale)
    }

    /// A job that is out leaves its block, since it was not simply done: from here on it is an entry that is out.
    ///
    /// # Errors
    /// [`Stale`] if no such delivery is out.
    pub fn single_out(
        &mut self,
        slot: SlotId,
        ticket: Ticket,
        number: DeliveryNumber,
        effects: &mut Effects<H, B>,
    ) -> Result<Ticket, Stale> {
        let (first, place) = self.piece_of(slot, ticket, number)?;
        let entry = self.leave_block(ticket, place);
        self.set_out(entry, slot, number);
        self.change(slot, effects, |found, entries| {
            found.take_from_piece(ticket, first, Places::only(place));
            found.chain.push(entries, entry);
        });
        Ok(entry)
    }

    /// Everything that a slot's consumer holds of blocks leaves them: its consumer has died, and each job has to be asked
    /// whether it was its fault. The order of delivery stays.
    pub fn single_out_all(&mut self, slot: SlotId, effects: &mut Effects<H, B>) {
        let pieces = match self.slots.get_mut(slot.0 as usize) {
            Some(found) if !found.pieces.is_empty() => std::mem::take(&mut found.pieces),
            _ => return,
        };
        let mut out = Vec::new();
        for piece in pieces {
            for place in piece.places.iter() {
                let entry = self.leave_block(piece.ticket, place);
                self.set_out(entry, slot, piece.first.at(place));
                out.push(entry);
            }
        }
        self.change(slot, effects, |found, entries| {
            found.in_pieces = 0;
            out.extend(found.chain.take(entries));
            out.sort_by_key(|ticket| entries.get(*ticket).map(|entry| entry.number));
            for ticket in out {
                found.chain.push(entries, ticket);
            }
        });
    }

    pub(super) fn leave_block(&mut self, ticket: Ticket, place: u8) -> Ticket {
        let block = invariant!(
            self.blocks.block(ticket),
            "a block stays while a job of it is waiting or out"
        );
        let job = H::out_of(block, place);
        let key = self.blocks.key(ticket, place);
        let lease = self.blocks.leave(ticket, Places::only(place)).of_place(place);
        let priority = job.priority();
        self.entries.add(job, lease, 1, key, priority, Suspicion::None)
    }

    fn set_out(&mut self, ticket: Ticket, slot: SlotId, number: DeliveryNumber) {
        let entry = invariant!(self.entries.get_mut(ticket), "it was made just now");
        entry.number = number;
        entry.state = State::Out(slot);
    }
}
