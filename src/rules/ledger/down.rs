//! Death: a consumer ended, and everything that it held goes to others at once.

use std::time::Duration;

use super::effects::EntryNews;
use super::settle::Ended;
use super::slots::SlotPhase;
use super::{Effects, Ledger, OutOfBlock};
use crate::types::{Cause, DeliveryNumber, Incarnation, Moment, SlotId, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The deliveries that a slot's consumer holds, with their running numbers, in the order of delivery.
    pub fn held_by(&self, slot: SlotId) -> Vec<(Ticket, DeliveryNumber)> {
        let Some(found) = self.slots.get(slot.0 as usize) else {
            return Vec::new();
        };
        let tickets = found.chain.clone().take(&self.entries);
        tickets
            .into_iter()
            .filter_map(|ticket| self.entries.get(ticket).map(|entry| (ticket, entry.number)))
            .collect()
    }

    /// The consumer of this incarnation ended. Its deliveries go in front, in their order: the guilty ones (those that
    /// had begun) cost an attempt, and end as poison when it was the last; the others were bystanders and cost none.
    ///
    /// Returns how many deliveries it held, or `None` if this incarnation is not the current one or not live: then
    /// nothing changes.
    pub fn down(
        &mut self,
        now: Moment,
        slot: SlotId,
        incarnation: Incarnation,
        cause: &Cause,
        guilty: impl Fn(Ticket, &H, DeliveryNumber) -> bool,
        effects: &mut Effects<H, B>,
    ) -> Option<usize> {
        let found = self.slots.get_mut(slot.0 as usize)?;
        if found.incarnation != incarnation || !matches!(found.phase, SlotPhase::Live | SlotPhase::Retiring) {
            return None;
        }
        let retiring = found.phase == SlotPhase::Retiring;
        let mut held = Vec::new();
        self.set_stuck(slot, false, effects);
        self.change(slot, effects, |found, entries| {
            held = found.chain.take(entries);
            found.alone = None;
            found.phase = if retiring {
                SlotPhase::Gone
            } else {
                SlotPhase::Empty
            };
            found.window.died();
        });
        self.membership_changed();
        let held = self.left_of(held, cause);
        let front = self.after_death(&held, (slot, incarnation), (now, cause), guilty, effects);
        // What was parked for this slot was chosen after what it held, so it goes behind it.
        self.unpark_all(slot, effects);
        if self.put_at_back(&front) {
            return Some(held.len());
        }
        self.come_back(&front, effects);
        Some(held.len())
    }

    /// What follows for each delivery that the consumer held. Returns those that go to others at once, in their order.
    fn after_death(
        &mut self,
        held: &[Ticket],
        (slot, incarnation): (SlotId, Incarnation),
        (now, cause): (Moment, &Cause),
        guilty: impl Fn(Ticket, &H, DeliveryNumber) -> bool,
        effects: &mut Effects<H, B>,
    ) -> Vec<Ticket> {
        let is_guilty = |ticket: &Ticket| {
            let entry = self.entries.get(*ticket);
            let job = entry.and_then(|entry| Some((entry.job.as_ref()?, entry.number)));
            job.is_some_and(|(job, number)| guilty(*ticket, job, number))
        };
        let guilty: Vec<bool> = held.iter().map(is_guilty).collect();
        let is_unclear = guilty.iter().filter(|guilty| **guilty).count() > 1;
        let mut front = Vec::with_capacity(held.len());
        for (&ticket, is_guilty) in held.iter().zip(guilty) {
            if self.is_lost(ticket) {
                self.forget(ticket, effects);
            } else if is_guilty {
                self.survived(ticket, is_unclear);
                let ended = Ended {
                    ticket,
                    slot,
                    incarnation,
                    cause: cause.clone(),
                    now,
                };
                front.extend(self.again(ended, Duration::ZERO, effects));
            } else {
                let returned = EntryNews::Returned(slot, incarnation);
                effects
                    .tell
                    .extend(self.job(ticket).cloned().map(|job| (job, returned)));
                if self.is_suspect_of_process(ticket) {
                    self.not_begun(ticket, effects);
                }
                front.push(ticket);
            }
        }
        front
    }
}
