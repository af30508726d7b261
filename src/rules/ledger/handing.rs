//! Handing out: an entry goes to its slot, or waits for room there.

use super::entries::{State, Suspicion};
use super::slots::SlotPhase;
use super::{Effects, Handed, Ledger, OutOfBlock};
use crate::types::invariant::invariant;
use crate::types::{DeliveryNumber, SlotId, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Hands an entry to a slot that takes it.
    pub(super) fn hand(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        let number = DeliveryNumber(self.next_number);
        let entry = self.entries.must(ticket);
        self.next_number += 1;
        entry.state = State::Out(slot);
        entry.number = number;
        entry.has_its_turn = false;
        let attempt = entry.attempt;
        let job = invariant!(entry.job.clone(), "an entry holds its job");
        let alone = (entry.suspicion != Suspicion::None).then_some(ticket);
        self.remember_handed(ticket, slot);
        effects.deliver.push(Handed {
            job,
            ticket,
            slot,
            number,
            attempt,
        });
        self.change(slot, effects, |found, entries| {
            found.chain.push(entries, ticket);
            found.alone = alone;
        });
    }

    /// Lets an entry wait for this slot, behind all others of its priority.
    pub(super) fn park(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.count_parked(ticket, |count| *count += 1);
        self.entries.set_state(ticket, State::Parked(slot));
        let priority = self.entries.priority(ticket);
        self.change(slot, effects, |found, entries| {
            let ahead = |other: &Ticket| entries.priority(*other) >= priority;
            let index = match priority.is_urgent() {
                true => found.parked.partition_point(ahead),
                false => found.parked.len(),
            };
            found.parked.insert(index, ticket);
        });
    }

    /// Counts an entry that is parked, or no more.
    pub(super) fn count_parked(&mut self, ticket: Ticket, count: impl Fn(&mut usize)) {
        count(&mut self.sums.parked);
        if self.entries.priority(ticket).is_urgent() {
            count(&mut self.sums.urgent_parked);
        }
    }

    /// Hands out what waits for this slot, as far as it is taken.
    pub(super) fn fill(&mut self, slot: SlotId, effects: &mut Effects<H, B>) {
        while !self.gate.is_paused
            && !self.keeps_others_back()
            && let Some(found) = self.slots.get(slot.0 as usize)
            && let Some(&ticket) = found.parked.front()
            && found.takes(self.is_suspect(ticket))
        {
            self.count_parked(ticket, |count| *count -= 1);
            self.change(slot, effects, |found, _| {
                found.parked.pop_front();
            });
            self.hand(ticket, slot, effects);
        }
    }

    /// What waited for this slot can go anywhere.
    pub(super) fn unpark_all(&mut self, slot: SlotId, effects: &mut Effects<H, B>) {
        let mut parked: Vec<Ticket> = Vec::new();
        self.change(slot, effects, |found, _| {
            parked = std::mem::take(&mut found.parked).into()
        });
        for ticket in &parked {
            self.count_parked(*ticket, |count| *count -= 1);
        }
        self.put_in_front(&parked);
    }

    /// What waits for any slot can go anywhere.
    pub(super) fn unpark_everywhere(&mut self, effects: &mut Effects<H, B>) {
        for index in 0..self.slots.len() {
            self.unpark_all(SlotId(u32::try_from(index).unwrap_or(u32::MAX)), effects);
        }
    }

    pub(super) fn is_suspect(&self, ticket: Ticket) -> bool {
        self.entries
            .get(ticket)
            .is_some_and(|entry| entry.suspicion != Suspicion::None)
    }

    pub(super) fn note_emptied(&self, slot: SlotId, effects: &mut Effects<H, B>) {
        if let Some(found) = self.slots.get(slot.0 as usize)
            && found.phase == SlotPhase::Retiring
            && found.load() == 0
        {
            effects.emptied.push(slot);
        }
    }
}
