//! Urgent jobs overtake: one of a higher priority goes before all of a lower one that have not begun.
//!
//! | where those are | how it passes them |
//! |---|---|
//! | in the queue | the queue leases it first, and beyond its credit while all windows are full |
//! | in the ledger, or parked for a slot | it stands in front of them |
//! | with a consumer that moves on | it gets the next room, and the shell takes it up next |
//! | with consumers of which none moves | they are taken back, and the first consumer that says a word gets it |
//!
//! One that stands behind another job of its key waits for it all the same.

use super::{Ledger, OutOfBlock, Plant, Recalled};
use crate::types::{DeliveryNumber, Priority, SlotId, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Whether a bug is planted that lets an urgent job wait for what its consumer held before.
    pub fn puts_urgent_behind(&self) -> bool {
        self.planted.is(Plant::UrgentGoesBehind)
    }

    /// Whether an urgent job is leased.
    pub fn has_urgent(&self) -> bool {
        self.entries.urgent() > 0
    }

    /// Whether nothing is handed out now, whatever room there is.
    pub fn is_held_up(&self) -> bool {
        self.gate.is_paused || self.is_offering() || self.keeps_others_back()
    }

    /// How urgent the most urgent job is that waits while no consumer has room.
    pub fn urgent_without_room(&self) -> Option<Priority> {
        let first = self.offering.urgent.front().filter(|_| self.sums.room == 0);
        first.map(|ticket| self.entries.priority(*ticket))
    }

    /// How urgent the most urgent job is that waits for this very slot.
    pub fn urgent_parked_at(&self, slot: SlotId) -> Option<Priority> {
        let first = self.slots.get(slot.0 as usize)?.parked.front()?;
        Some(self.entries.priority(*first)).filter(|priority| priority.is_urgent())
    }

    /// How urgent the most urgent delivery is that the consumer of this slot holds, of those for which `counts`.
    pub fn urgent_held_at(
        &self,
        slot: SlotId,
        counts: impl Fn(&H, DeliveryNumber) -> bool,
    ) -> Option<Priority> {
        if !self.has_urgent() {
            return None;
        }
        let held = self.held_by(slot).into_iter();
        held.filter_map(|(ticket, number)| {
            let entry = self.entries.get(ticket)?;
            let counts = entry.priority.is_urgent() && counts(entry.job.as_ref()?, number);
            counts.then_some(entry.priority)
        })
        .max()
    }

    /// Whether the consumer of this slot holds something that is less urgent.
    pub fn holds_less_urgent(&self, slot: SlotId, urgent: Priority) -> bool {
        !self.less_urgent_at(slot, urgent).is_empty()
    }

    /// As [`recallable`](Self::recallable), only what is less urgent.
    pub fn less_urgent_at(&self, slot: SlotId, urgent: Priority) -> Recalled {
        let mut held = self.recallable(slot);
        held.entries
            .retain(|ticket| self.entries.priority(*ticket) < urgent);
        held
    }

    /// Puts an urgent entry among the others: in front of its equals, or behind them.
    pub(super) fn wait_urgently(&mut self, ticket: Ticket, in_front: bool) {
        let entries = &self.entries;
        let priority = entries.priority(ticket);
        let index = self.offering.urgent.partition_point(|other| {
            let other = entries.priority(*other);
            other > priority || (other == priority && !in_front)
        });
        self.offering.urgent.insert(index, ticket);
    }

    /// Takes an entry that was leased just now out of those that wait. False if it does not wait.
    pub(super) fn leaves_waiting(&mut self, ticket: Ticket) -> bool {
        if self.offering.waiting.back() == Some(&ticket) {
            self.offering.waiting.pop_back();
            return true;
        }
        if self.blocks.strike_entries(|other| other == ticket) > 0 {
            return true;
        }
        let index = self.offering.urgent.iter().position(|other| *other == ticket);
        index
            .and_then(|index| self.offering.urgent.remove(index))
            .is_some()
    }
}
