//! Recall: what stands with a consumer that does not move, and has not begun, goes to those with room.
//!
//! | the consumer | another one has room | what is taken back |
//! |---|---|---|
//! | moves on, and holds no more than its window | – | nothing |
//! | moves on, and holds more than its window, which shrank | yes | the last ones, as many as are too many |
//! | has not moved for long | yes | all that it has not begun, and what is parked for it |
//! | has not moved for long | no | nothing: it could go nowhere |
//!
//! It costs no attempt. A delivery that comes to its consumer's hand late is known by its number, as every late word is. Order
//! by key holds: the key of a job that goes back stays taken, so what stands behind it waits on.
//!
//! A consumer from which something was taken back is *stuck* until it says a word: it has no room, and its seat says so, so that
//! a strategy does not send the same jobs there again.

use super::entries::State;
use super::slots::{Slot, SlotPhase};
use super::{Effects, Ledger, OutOfBlock, Plant, Stale};
use crate::types::{DeliveryNumber, Places, SlotId, Ticket};

/// What is taken back from one slot: deliveries that their consumer can no longer begin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Recalled {
    /// Entries, in the order of delivery.
    pub entries: Vec<Ticket>,
    /// Jobs of blocks, in the order of delivery: the block, the number of the piece, and which of its jobs.
    pub pieces: Vec<(Ticket, DeliveryNumber, Places)>,
}

impl Recalled {
    /// Whether nothing is taken back.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.pieces.is_empty()
    }
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Whether a bug is planted that takes this delivery back though it has begun. Only every eighth one: a job that is at work
    /// for long would else go round and round.
    pub fn recalls_begun(&self, number: DeliveryNumber) -> bool {
        self.planted.is(Plant::RecallsBegun) && number.0.is_multiple_of(8)
    }

    /// Whether something is with a consumer, or parked for one, that another one has room for, and nothing else waits for that
    /// room. Only then it is worth a look who moves.
    pub fn may_recall(&self) -> bool {
        self.sums.room > 0
            && !self.gate.is_paused
            && !self.is_offering()
            && !self.keeps_others_back()
            && self.offering.waiting.is_empty()
            && self.offering.urgent.is_empty()
            && self.blocks.unplaced() == 0
            && self.leases() > self.sums.behind + self.shelved.len()
    }

    /// How much room there is beside these slots.
    pub fn room_beside(&self, slots: &[SlotId]) -> usize {
        let theirs = slots.iter().filter_map(|slot| self.slots.get(slot.0 as usize));
        self.sums
            .room
            .saturating_sub(theirs.map(|slot| slot.room() as usize).sum())
    }

    /// Whether the consumer of this slot holds something, or something waits for it, and nothing was taken back from it since
    /// its last word.
    pub fn can_recall_from(&self, slot: SlotId) -> bool {
        let found = self.slots.get(slot.0 as usize);
        found.is_some_and(|found| {
            matches!(found.phase, SlotPhase::Live | SlotPhase::Retiring)
                && !found.stuck
                && (found.load() > 0 || !found.parked.is_empty())
        })
    }

    /// By how much the consumer of this slot holds more than its window.
    pub fn excess(&self, slot: SlotId) -> usize {
        let found = self.slots.get(slot.0 as usize);
        found.map_or(0, |found| {
            found.load().saturating_sub(found.window.size()) as usize
        })
    }

    /// Whether something was taken back from the consumer of this slot, and it has not said a word since.
    pub fn is_stuck(&self, slot: SlotId) -> bool {
        self.slots.get(slot.0 as usize).is_some_and(|found| found.stuck)
    }

    /// Whether a consumer is stuck.
    pub fn has_stuck(&self) -> bool {
        self.sums.stuck > 0
    }

    /// What of the deliveries of this slot could be taken back if it has not begun, in the order of delivery. A suspect stays:
    /// it is alone there so that one sees what becomes of it.
    pub fn recallable(&self, slot: SlotId) -> Recalled {
        let Some(found) = self.slots.get(slot.0 as usize) else {
            return Recalled::default();
        };
        let mut entries = found.chain.clone().take(&self.entries);
        entries.retain(|ticket| !self.is_suspect(*ticket));
        let pieces = found.pieces.iter();
        Recalled {
            entries,
            pieces: pieces
                .map(|piece| (piece.ticket, piece.first, piece.places))
                .collect(),
        }
    }

    /// The number of the delivery of an entry that is out.
    pub fn number_of(&self, ticket: Ticket) -> Option<DeliveryNumber> {
        self.entries.get(ticket).map(|entry| entry.number)
    }

    /// These deliveries go back: their consumer does not move and cannot begin them any more. What is parked for it goes back
    /// as well, and nothing more is sent to it until it says a word.
    pub fn recalled(&mut self, slot: SlotId, recalled: &Recalled, effects: &mut Effects<H, B>) {
        let parked = self
            .slots
            .get(slot.0 as usize)
            .map_or(0, |found| found.parked.len());
        if recalled.is_empty() && parked == 0 {
            return;
        }
        self.set_stuck(slot, true, effects);
        // What was parked was chosen after what it held, so it goes behind it.
        self.unpark_all(slot, effects);
        self.take_back(slot, recalled, effects);
        self.note_emptied(slot, effects);
    }

    /// These deliveries go back: there are more than the window of their consumer holds.
    pub fn take_back(&mut self, slot: SlotId, recalled: &Recalled, effects: &mut Effects<H, B>) {
        let mut front = Vec::with_capacity(recalled.entries.len());
        for &ticket in &recalled.entries {
            if self.entries.get(ticket).map(|entry| entry.state) == Some(State::Out(slot)) {
                self.leave_slot(ticket, slot, effects);
                front.push(ticket);
            }
        }
        self.come_back(&front, effects);
        self.recall_pieces(slot, &recalled.pieces, effects);
        self.fill(slot, effects);
    }

    /// The consumer looked at a delivery that it must not begin. If nobody took it back (the source delivered the job twice,
    /// and the other delivery has begun), it goes back now.
    ///
    /// # Errors
    /// [`Stale`] if the delivery is over, as it is after a recall.
    pub fn not_begun_there(
        &mut self,
        ticket: Ticket,
        number: DeliveryNumber,
        effects: &mut Effects<H, B>,
    ) -> Result<(), Stale> {
        let entry = self.entries.get(ticket).ok_or(Stale)?;
        let (State::Out(slot), true) = (entry.state, entry.number == number) else {
            return Err(Stale);
        };
        if self.is_suspect_of_process(ticket) && !self.is_lost(ticket) {
            self.not_begun(ticket, effects);
        }
        self.leave_slot(ticket, slot, effects);
        self.come_back(&[ticket], effects);
        self.fill(slot, effects);
        self.note_emptied(slot, effects);
        Ok(())
    }

    /// Notes whether the slot is stuck.
    pub(super) fn set_stuck(&mut self, slot: SlotId, stuck: bool, effects: &mut Effects<H, B>) {
        let was_stuck = self.is_stuck(slot);
        if was_stuck == stuck {
            return;
        }
        self.sums.stuck = if stuck {
            self.sums.stuck + 1
        } else {
            self.sums.stuck - 1
        };
        self.offering.news = true;
        self.change(slot, effects, |found: &mut Slot, _| found.stuck = stuck);
    }

    pub(super) fn leave_slot(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.change(slot, effects, |found, entries| {
            found.chain.remove(entries, ticket);
            found.alone = found.alone.filter(|alone| *alone != ticket);
        });
    }
}
