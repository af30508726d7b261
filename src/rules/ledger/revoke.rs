//! Revoking: leases that died at the queue, or have to be given back.
//!
//! | the job | its lease is lost | it has to be given back |
//! |---|---|---|
//! | waits, for whatever | is forgotten, without a verdict | the same |
//! | is with a consumer that has not begun it and cannot any more | the same | the same |
//! | is at work | is held until its consumer is done with it or dies, and nothing of that counts | goes on; unless it is done, it is forgotten when its consumer lets go of it |
//!
//! What is at work keeps its place in the window of its consumer and its key: a job of the same key must not begin beside it.
//! Whoever is forgotten leaves its line, which goes on in order; those that stand behind leave first, so that no revoked job
//! comes to its front.

use std::collections::BTreeSet;

use super::entries::{Hold, State};
use super::{Effects, Ledger, OutOfBlock};
use crate::types::{DeliveryNumber, Lane, LeaseId, Places, Revoked, SlotId, Ticket};

/// Jobs of a leased block that are revoked.
struct InBlock {
    ticket: Ticket,
    places: Places,
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The queue takes leases back. `takes` is asked of each delivery that is out whether its consumer has not begun it and
    /// cannot any more: then it is forgotten at once. With `is_lost` nothing that is said of the others counts from here on; else
    /// they may be settled as ever. Returns how many are forgotten, and which are still out.
    pub fn revoke(
        &mut self,
        what: &Revoked,
        is_lost: bool,
        takes: impl Fn(SlotId, &H, DeliveryNumber) -> bool,
        effects: &mut Effects<H, B>,
    ) -> (usize, Vec<LeaseId>) {
        let (mut forgotten, mut held) = (0, Vec::new());
        let what = &Meant::new(what);
        let hold = if is_lost { Hold::Lost } else { Hold::Draining };
        let (waiting, mut out): (Vec<Ticket>, Vec<Ticket>) = self
            .revoked_entries(what)
            .into_iter()
            .partition(|ticket| !matches!(self.state(*ticket), Some(State::Out(_))));
        let (left, slots) = self.leave_where_they_wait(&waiting, effects);
        for ticket in left {
            forgotten += 1;
            self.forget(ticket, effects);
        }
        for InBlock { ticket, places } in self.revoked_in_blocks(what) {
            forgotten += self.revoke_in_block(ticket, places, &mut out, effects);
        }
        for ticket in out {
            let Some((State::Out(slot), Some(job), number)) = self.delivery(ticket) else {
                continue;
            };
            if takes(slot, &job, number) {
                forgotten += 1;
                self.leave_slot(ticket, slot, effects);
                self.forget(ticket, effects);
                self.fill(slot, effects);
                self.note_emptied(slot, effects);
            } else {
                held.extend(self.lease(ticket));
                self.hold(ticket, hold);
            }
        }
        for slot in slots {
            self.fill(slot, effects);
        }
        self.offering.news = true;
        (forgotten, held)
    }

    /// Whether the lease of this entry is lost, so that nothing is to be said of it any more.
    pub fn is_lost(&self, ticket: Ticket) -> bool {
        self.entries
            .get(ticket)
            .is_some_and(|entry| entry.hold == Hold::Lost)
    }

    /// The entry of a delivery that was out in a block and had to leave it because it was revoked.
    pub fn revoked_there(&self, slot: SlotId, number: DeliveryNumber) -> Option<Ticket> {
        if self.sums.revoked == 0 {
            return None;
        }
        let held = self.held_by(slot).into_iter();
        held.filter(|(_, other)| *other == number)
            .map(|(ticket, _)| ticket)
            .next()
    }

    fn state(&self, ticket: Ticket) -> Option<State> {
        self.entries.get(ticket).map(|entry| entry.state)
    }

    fn delivery(&self, ticket: Ticket) -> Option<(State, Option<H>, DeliveryNumber)> {
        let entry = self.entries.get(ticket)?;
        Some((entry.state, entry.job.clone(), entry.number))
    }

    fn revoked_entries(&self, what: &Meant<'_>) -> Vec<Ticket> {
        let tickets = self.entries.iter().filter(|(ticket, lease, _)| {
            let job = self.job(*ticket);
            job.is_some_and(|job| what.means(job, *lease))
        });
        tickets.map(|(ticket, ..)| ticket).collect()
    }

    fn revoked_in_blocks(&self, what: &Meant<'_>) -> Vec<InBlock> {
        let mut revoked = Vec::new();
        for (ticket, block, lease, left) in self.blocks.iter() {
            let mut places = Places::NONE;
            for place in left.iter() {
                if what.means(&H::out_of(block, place), lease.of_place(place)) {
                    places.add(Places::only(place));
                }
            }
            if !places.is_empty() {
                revoked.push(InBlock { ticket, places });
            }
        }
        revoked
    }

    /// Jobs of a block are revoked: those that wait are forgotten, the others leave the block, as entries that are `out`. Returns
    /// how many are forgotten.
    fn revoke_in_block(
        &mut self,
        ticket: Ticket,
        places: Places,
        out: &mut Vec<Ticket>,
        effects: &mut Effects<H, B>,
    ) -> usize {
        let mut gone = places;
        for (slot, first, with_it) in self.pieces_of(ticket) {
            let with_it = with_it.both(places);
            gone.remove(with_it);
            for place in with_it.iter() {
                // From here on it is an entry that is out, as any other that is revoked.
                let entry = self.single_out(slot, ticket, first.at(place), effects);
                out.extend(entry.ok());
            }
        }
        if !gone.is_empty() {
            self.blocks.strike(ticket, gone);
            self.leave_block_for_ever(ticket, gone, effects);
        }
        gone.len()
    }

    fn pieces_of(&self, ticket: Ticket) -> Vec<(SlotId, DeliveryNumber, Places)> {
        let mut found = Vec::new();
        for (slot, held) in (0_u32..).map(SlotId).zip(&self.slots) {
            let pieces = held.pieces.iter().filter(|piece| piece.ticket == ticket);
            found.extend(pieces.map(|piece| (slot, piece.first, piece.places)));
        }
        found
    }

    /// These jobs of a block end without a word.
    fn leave_block_for_ever(&mut self, ticket: Ticket, places: Places, effects: &mut Effects<H, B>) {
        self.blocks.leave(ticket, places);
        if self.blocks.has_keys(ticket) {
            for place in places.iter() {
                self.leave_line(self.blocks.key(ticket, place), effects);
            }
        }
    }

    /// The entry ends without a word to the queue.
    pub(super) fn forget(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        let entry = self.entries.must(ticket);
        let (lease, key) = (entry.lease, entry.key);
        self.note_released(ticket, effects);
        self.suspects.alone = self.suspects.alone.filter(|alone| *alone != ticket);
        let job = self.entries.remove(ticket).map(|job| (lease, job));
        effects.ended.extend(job);
        self.leave_line(key, effects);
        self.offering.news = true;
    }

    /// Entries that were with a consumer come back: those that are revoked are forgotten, the others go in front.
    pub(super) fn come_back(&mut self, tickets: &[Ticket], effects: &mut Effects<H, B>) {
        if self.sums.revoked == 0 {
            return self.put_in_front(tickets);
        }
        let (revoked, others): (Vec<_>, Vec<_>) =
            tickets.iter().partition(|ticket| self.is_revoked(**ticket));
        for ticket in revoked {
            self.forget(ticket, effects);
        }
        self.put_in_front(&others);
    }

    pub(super) fn is_revoked(&self, ticket: Ticket) -> bool {
        self.entries
            .get(ticket)
            .is_some_and(|entry| entry.hold != Hold::Kept)
    }

    fn hold(&mut self, ticket: Ticket, hold: Hold) {
        let entry = self.entries.must(ticket);
        let before = entry.hold;
        // What is lost does not come back.
        if before != Hold::Lost {
            entry.hold = hold;
        }
        self.sums.revoked += usize::from(before == Hold::Kept);
    }

    /// An entry is about to leave. If it was revoked, whoever waits for that is told.
    #[inline]
    pub(super) fn note_released(&mut self, ticket: Ticket, effects: &mut Effects<H, B>) {
        if self.sums.revoked == 0 {
            return;
        }
        if let Some(entry) = self.entries.get(ticket).filter(|entry| entry.hold != Hold::Kept) {
            effects.released.push(entry.lease);
            self.sums.revoked -= 1;
        }
    }

    /// A consumer is done with a delivery whose lease is lost.
    pub(super) fn lost_ended(&mut self, ticket: Ticket, slot: SlotId, effects: &mut Effects<H, B>) {
        self.leave_slot(ticket, slot, effects);
        self.forget(ticket, effects);
        self.fill(slot, effects);
        self.note_emptied(slot, effects);
    }
}

/// Which leases are meant, for a look at each.
enum Meant<'a> {
    All,
    Lane(&'a Lane),
    Leases(BTreeSet<LeaseId>),
}

impl<'a> Meant<'a> {
    fn new(what: &'a Revoked) -> Self {
        match what {
            Revoked::All => Self::All,
            Revoked::Lane(lane) => Self::Lane(lane),
            Revoked::Leases(leases) => Self::Leases(leases.iter().copied().collect()),
        }
    }

    fn means<B, H: OutOfBlock<B>>(&self, job: &H, lease: LeaseId) -> bool {
        match self {
            Self::All => true,
            Self::Lane(lane) => job.lane() == Some(*lane),
            Self::Leases(leases) => leases.contains(&lease),
        }
    }
}
