//! Expiry: a job whose time has run out before it began leaves the ledger, wherever it waits.

use std::collections::BTreeSet;

use super::entries::{NONE, State};
use super::{Effects, Ledger, OutOfBlock};
use crate::types::invariant::invariant;
use crate::types::{DeadReason, Rejection, SlotId, Ticket, Verdict};

/// The place of an entry that left while the strategy was choosing for it; the choice for it counts for nothing.
pub(super) const LEFT: Ticket = Ticket(NONE);

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The time of these jobs has run out and none of them ever began: those that wait are rejected. One that is with a
    /// consumer stays: there it is seen whether it begins. Suspects of a process stay, since they may have begun before.
    pub fn expired(&mut self, tickets: &[Ticket], effects: &mut Effects<H, B>) {
        let may_expire = |ticket: &&Ticket| !self.is_suspect_of_process(**ticket);
        let tickets: Vec<Ticket> = tickets.iter().filter(may_expire).copied().collect();
        let (left, slots) = self.leave_where_they_wait(&tickets, effects);
        for ticket in left {
            self.end_expired(ticket, effects);
        }
        for slot in slots {
            self.fill(slot, effects);
        }
    }

    /// Entries leave whatever list they wait in; those that are with a consumer stay. Returns who left, and the slots for which
    /// one of them waited.
    pub(super) fn leave_where_they_wait(
        &mut self,
        tickets: &[Ticket],
        effects: &mut Effects<H, B>,
    ) -> (Vec<Ticket>, BTreeSet<SlotId>) {
        let (mut waiting, mut left, mut slots) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for &ticket in tickets {
            let Some(entry) = self.entries.get(ticket) else {
                continue;
            };
            match entry.state {
                State::Out(_) => continue,
                // What the queue answers to the begin finds it gone.
                State::Beginning(..) => {}
                State::Waiting => drop(waiting.insert(ticket)),
                State::Offered => {
                    let offered = self
                        .offering
                        .offered
                        .iter_mut()
                        .filter(|offered| **offered == ticket);
                    offered.for_each(|offered| *offered = LEFT);
                }
                State::Behind => self.leave_from_behind(ticket),
                State::Parked(slot) => {
                    self.unpark(ticket, slot, effects);
                    slots.insert(slot);
                }
                State::Shelved(until) => drop(self.shelved.remove(&(until, ticket))),
            }
            left.push(ticket);
        }
        if !waiting.is_empty() {
            let lines = [
                &mut self.offering.urgent,
                &mut self.offering.waiting,
                &mut self.suspects.waiting,
            ];
            for line in lines {
                line.retain(|ticket| !waiting.contains(ticket));
            }
            self.blocks.strike_entries(|ticket| waiting.contains(&ticket));
        }
        self.offering.news |= !left.is_empty();
        (left, slots)
    }

    /// The job ends without an attempt.
    pub(super) fn end_expired(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        let rejection = Rejection {
            reason: DeadReason::Expired,
            record: None,
        };
        self.end(ticket, Verdict::Reject(Box::new(rejection)), effects);
    }

    /// It leaves the line of its key from the middle, so nobody follows it.
    fn leave_from_behind(&mut self, ticket: Ticket) {
        let key = invariant!(
            self.entries.must(ticket).key.take(),
            "it stands behind others of its key"
        );
        self.lines.leave(key, ticket, &mut self.entries);
        self.sums.behind -= 1;
    }

    fn unpark(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.count_parked(ticket, |count| *count -= 1);
        self.change(slot, effects, |found, _| {
            found.parked.retain(|parked| *parked != ticket)
        });
    }
}
