//! Offers: entries that the strategy chooses consumers for, a batch at a time.

use super::demand::BEYOND;
use super::entries::State;
use super::expired::LEFT;
use super::slots::SlotPhase;
use super::{Effects, Ledger, OutOfBlock};
use crate::rules::strategies::{Choice, Share};
use crate::types::invariant::invariant;
use crate::types::{SlotId, Ticket};

/// Entries on offer, with their attempts, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The entry.
    pub ticket: Ticket,
    /// The attempt that its delivery would be.
    pub attempt: u32,
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Puts waiting jobs on offer, as many as there is room for: first entries into `offers`, the urgent ones in front, then jobs
    /// in blocks, see [`offered_in_blocks`](Self::offered_in_blocks). Nothing happens while an offer is open, so a strategy that is slow gets larger batches.
    pub fn offer(&mut self, offers: &mut Vec<Offer>) {
        if self.gate.is_paused || !self.offering.news || self.is_offering() {
            return;
        }
        if self.is_at_its_limit() {
            return;
        }
        let room = self.sums.room.min(self.may_go());
        if room == 0 && (self.offering.urgent.is_empty() || self.keeps_others_back()) {
            return;
        }
        if self.keeps_others_back() {
            return self.offer_suspect(offers);
        }
        self.offering.news = false;
        self.release_entries();
        self.hold_keys_back();
        let most = if room == 0 {
            0
        } else {
            room + self.offering.held_back
        };
        // Where nobody has room, a strategy may still know for whom it waits.
        let more = BEYOND.saturating_sub(self.sums.urgent_parked);
        let offering = &mut self.offering;
        let urgent = most.max(more).min(offering.urgent.len());
        let most = most.max(urgent);
        let plain = (most - urgent).min(offering.waiting.len());
        for ticket in offering
            .urgent
            .drain(..urgent)
            .chain(offering.waiting.drain(..plain))
        {
            let entry = self.entries.must(ticket);
            entry.state = State::Offered;
            let attempt = entry.attempt;
            offers.push(Offer { ticket, attempt });
            offering.offered.push(ticket);
        }
        self.offering.version = self.version;
        self.offer_blocks(most - urgent - plain);
    }

    /// Whether the strategy owes an answer.
    pub fn is_offering(&self) -> bool {
        !self.offering.offered.is_empty() || self.blocks.is_offering()
    }

    /// The strategy answered with a choice for each job: for the entries, then for the jobs in blocks. A missing choice is a
    /// hold. Returns the slots that it named and that do not exist, or were
    /// not live when it was asked: they are treated as holds.
    pub fn assigned(&mut self, choices: &[Choice], effects: &mut Effects<H, B>) -> Vec<SlotId> {
        self.assigned_shares(choices, &[], effects)
    }

    /// As [`assigned`](Self::assigned), with shares for jobs in blocks: ordered by part, as
    /// [`offered_in_blocks`](Self::offered_in_blocks) counts them.
    pub fn assigned_shares(
        &mut self,
        choices: &[Choice],
        shares: &[Share],
        effects: &mut Effects<H, B>,
    ) -> Vec<SlotId> {
        let offered = std::mem::take(&mut self.offering.offered);
        let roster_is_current = self.offering.version == self.version;
        let mut held = Vec::new();
        let mut bad = Vec::new();
        let mut choices = choices.iter().copied();
        for &ticket in &offered {
            match choices.next().unwrap_or(Choice::Hold) {
                _ if ticket == LEFT => {}
                Choice::Hold => held.push(ticket),
                // The group was paused while the strategy thought, or a suspect came; it is asked again after that.
                Choice::Slot(_)
                    if self.gate.is_paused || self.is_at_its_limit() || self.is_kept_back(ticket) =>
                {
                    held.push(ticket)
                }
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
        let held_in_blocks = self.assigned_blocks(&mut choices, shares, &mut bad, effects);
        // Jobs that were beyond the reach of this offer may find the room that the held ones left.
        let unseen = self.sums.room > 0
            && !self.keeps_others_back()
            && (!self.offering.waiting.is_empty()
                || !self.offering.urgent.is_empty()
                || self.blocks.unplaced() > held_in_blocks);
        let news = self.offering.news || unseen;
        let is_urgent = |ticket: &Ticket| self.entries.priority(*ticket).is_urgent();
        if self.sums.parked > self.sums.urgent_parked && held.iter().any(is_urgent) {
            // Nobody has room for an urgent job, and it waits for no consumer of its own: the next room is not for others.
            self.unpark_everywhere(effects);
        }
        self.put_in_front(&held);
        self.offering.news = news;
        self.offering.held_back = held.len() + held_in_blocks;
        self.offering.offered = offered;
        self.offering.offered.clear();
        bad
    }

    /// The strategy died before it answered: its batch is offered again to the next one.
    pub fn offer_lost(&mut self) {
        let mut offered = std::mem::take(&mut self.offering.offered);
        offered.retain(|ticket| *ticket != LEFT);
        self.put_in_front(&offered);
        self.offered_blocks_lost();
    }

    /// Hands the entry to the slot, or lets it wait there.
    fn place(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.take_off_limit(1);
        let found = invariant!(self.slots.get(slot.0 as usize), "it is live, so it is there");
        if self.suspects.alone == Some(ticket) {
            self.begin_alone(ticket, slot, effects);
        } else if found.parked.is_empty() && found.takes(self.is_suspect(ticket)) {
            self.hand(ticket, slot, effects);
        } else {
            self.park(ticket, slot, effects);
        }
    }
}
