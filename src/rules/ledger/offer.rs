//! Offers: entries that the strategy chooses consumers for, a batch at a time.

use super::entries::State;
use super::slots::SlotPhase;
use super::{Effects, Ledger};
use crate::rules::strategies::Choice;
use crate::words::{SlotId, Ticket};

/// Entries on offer, with their attempts, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The entry.
    pub ticket: Ticket,
    /// The attempt that its delivery would be.
    pub attempt: u32,
}

impl Ledger {
    /// Puts waiting entries on offer, in order, into `offers`: as many as there is room for. Nothing happens while an offer
    /// is open, so a strategy that is slow gets larger batches.
    pub fn offer(&mut self, offers: &mut Vec<Offer>) {
        if self.paused || !self.news || self.room == 0 || !self.offered.is_empty() {
            return;
        }
        self.news = false;
        let count = (self.room + self.held_back).min(self.waiting.len());
        for ticket in self.waiting.drain(..count) {
            if let Some(entry) = self.entries.get_mut(ticket) {
                entry.state = State::Offered;
                offers.push(Offer {
                    ticket,
                    attempt: entry.attempt,
                });
                self.offered.push(ticket);
            }
        }
        self.offered_version = self.version;
    }

    /// Whether the strategy owes an answer.
    pub fn is_offering(&self) -> bool {
        !self.offered.is_empty()
    }

    /// The strategy answered. A missing choice is a hold. Returns the slots that it named and that do not exist, or were
    /// not live when it was asked: they are treated as holds.
    pub fn assigned(&mut self, choices: &[Choice], effects: &mut Effects) -> Vec<SlotId> {
        let offered = std::mem::take(&mut self.offered);
        let roster_is_current = self.offered_version == self.version;
        let mut held = Vec::new();
        let mut bad = Vec::new();
        let choices = choices.iter().copied().chain(std::iter::repeat(Choice::Hold));
        for (&ticket, choice) in offered.iter().zip(choices) {
            match choice {
                Choice::Hold => held.push(ticket),
                // The group was paused while the strategy thought; it is asked again after that.
                Choice::Slot(_) if self.paused => held.push(ticket),
                Choice::Slot(slot) if self.phase(slot) == SlotPhase::Live => {
                    self.place(ticket, slot, effects)
                }
                Choice::Slot(slot) => {
                    held.push(ticket);
                    if roster_is_current {
                        bad.push(slot);
                    }
                }
            }
        }
        // Entries that were beyond the reach of this offer may find the room that the held ones left.
        let unseen = self.room > 0 && !self.waiting.is_empty();
        let news = self.news || unseen;
        self.put_in_front(&held);
        self.news = news;
        self.held_back = held.len();
        self.offered = offered;
        self.offered.clear();
        bad
    }

    /// The strategy died before it answered: its batch is offered again to the next one.
    pub fn offer_lost(&mut self) {
        let offered = std::mem::take(&mut self.offered);
        self.put_in_front(&offered);
    }

    /// Hands the entry to the slot, or lets it wait there.
    fn place(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects) {
        let Some(found) = self.slots.get(slot.0 as usize) else {
            return;
        };
        if found.parked.is_empty() && found.takes(self.is_suspect(ticket)) {
            self.hand(ticket, slot, effects);
        } else {
            self.park(ticket, slot, effects);
        }
    }
}
