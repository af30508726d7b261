//! Blocks: jobs that are leased, offered, handed out and acked many at a time.
//!
//! What happens to most jobs, and nothing else, happens to them in blocks: they are leased, the strategy chooses, they are
//! handed out in pieces (the jobs of one block that go to one slot), they are done. Whatever else happens to a job, it
//! happens to an entry of its own: a job that fails, that has to wait for a slot, or whose consumer dies, leaves its block
//! first ([`Ledger::single_out`]) and is as any other job from then on. So there is one set of rules for failures.
//!
//! ```text
//!            leased_block            offer             assigned                 done_in_block
//!   queue ────────────────▶ waiting ───────▶ offered ───────────▶ piece of a slot ──────────────▶ (gone)
//!                                                        │                │ failed, or the consumer died
//!                                        the slot is full ▼                ▼
//!                                               an entry, Parked    an entry, Out
//! ```
//! If order is kept, a job whose key is in flight leaves its block when it is leased and stands behind; the others keep their
//! keys in flight until they end, in the block or out of it.
//!
//! The delivery number of a job is that of its piece and its place in the block: a piece takes 64 numbers.

use std::collections::VecDeque;

use super::expired::LEFT;
use super::pieces::Piece;
use super::slots::SlotPhase;
use super::{Effects, HandedPiece, Ledger, OutOfBlock};
use crate::rules::strategies::{Choice, Share};
use crate::types::invariant::invariant;
use crate::types::{AckedPlaces, DeliveryNumber, KeyHash, LeaseId, Places, SlotId, Ticket};

/// A leased block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry<B> {
    /// The block itself; the ledger only keeps it. None: the place is free.
    block: Option<B>,
    lease: LeaseId,
    /// Its jobs that have not ended and have not left the block.
    left: Places,
    /// The keys of its jobs, by place, if their order is kept. Empty if they have none.
    keys: Vec<KeyHash>,
}

/// Some jobs of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Part {
    ticket: Ticket,
    places: Places,
}

/// Every leased block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Blocks<B> {
    /// The blocks, by ticket. Freed places are used again, last freed first.
    entries: Vec<Entry<B>>,
    free: Vec<u32>,
    /// Jobs in all blocks together.
    jobs: usize,
    /// Parts that can be offered, in order. Among them stand the entries that were leased after some of them: first in, first
    /// out holds for jobs alone and in blocks alike.
    waiting: VecDeque<Part>,
    /// Jobs in `waiting`, with those entries.
    waiting_jobs: usize,
    /// Parts that the strategy is choosing for, in order.
    offered: Vec<Part>,
    /// Jobs in `offered`.
    offered_jobs: usize,
    /// The slots that get something of the block that is being dealt out; empty between two blocks.
    dealt: Vec<SlotId>,
}

impl<B> Default for Blocks<B> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            jobs: 0,
            waiting: VecDeque::new(),
            waiting_jobs: 0,
            offered: Vec::new(),
            offered_jobs: 0,
            dealt: Vec::new(),
        }
    }
}

impl<B> Blocks<B> {
    pub(super) fn block(&self, ticket: Ticket) -> Option<&B> {
        self.entries.get(ticket.number() as usize)?.block.as_ref()
    }

    /// Every block, with its lease and its jobs that are left.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &B, LeaseId, Places)> {
        (0_u32..).zip(&self.entries).filter_map(|(number, entry)| {
            let block = entry.block.as_ref()?;
            Some((Ticket::of_block(number), block, entry.lease, entry.left))
        })
    }

    /// The jobs that are left in a block.
    fn left(&self, ticket: Ticket) -> Places {
        let entry = self.entries.get(ticket.number() as usize);
        entry.map_or(Places::NONE, |entry| entry.left)
    }

    /// These jobs wait no more, and nobody chooses for them; they still are in the block.
    pub(super) fn strike(&mut self, ticket: Ticket, places: Places) {
        for part in self.waiting.iter_mut().filter(|part| part.ticket == ticket) {
            self.waiting_jobs -= part.places.both(places).len();
            part.places.remove(places);
        }
        self.waiting
            .retain(|part| !part.ticket.is_of_block() || !part.places.is_empty());
        let left = self.left(ticket);
        for part in self.offered.iter_mut().filter(|part| part.ticket == ticket) {
            let mut rest = part.places.both(left);
            self.offered_jobs -= rest.both(places).len();
            rest.remove(places);
            // The answer counts the places, so they stay. The ticket may be that of another block by then.
            if rest.is_empty() {
                part.ticket = LEFT;
            }
        }
    }

    /// Jobs in all blocks together.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// Jobs that nobody holds.
    pub(super) fn unplaced(&self) -> usize {
        self.waiting_jobs + self.offered_jobs
    }

    /// Whether the strategy is choosing for a job of a block.
    pub(super) fn is_offering(&self) -> bool {
        !self.offered.is_empty()
    }

    fn add(
        &mut self,
        block: B,
        lease: LeaseId,
        places: Places,
        keys: impl Iterator<Item = KeyHash>,
    ) -> Ticket {
        self.jobs += places.len();
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry {
                block: None,
                lease,
                left: Places::NONE,
                keys: Vec::new(),
            });
            self.entries.len() as u32 - 1
        });
        let entry = invariant!(self.entries.get_mut(number as usize), "a free place is a place");
        (entry.block, entry.lease, entry.left) = (Some(block), lease, places);
        // Memory that the last block left is used again.
        entry.keys.clear();
        entry.keys.extend(keys);
        Ticket::of_block(number)
    }

    /// The key of a job, if its order is kept.
    pub(super) fn key(&self, ticket: Ticket, place: u8) -> Option<KeyHash> {
        let entry = self.entries.get(ticket.number() as usize)?;
        entry.keys.get(usize::from(place)).copied()
    }

    pub(super) fn has_keys(&self, ticket: Ticket) -> bool {
        let entry = self.entries.get(ticket.number() as usize);
        entry.is_some_and(|entry| !entry.keys.is_empty())
    }

    /// These jobs are in the block no more. Returns the lease of the block.
    pub(super) fn leave(&mut self, ticket: Ticket, places: Places) -> LeaseId {
        let number = ticket.number();
        let entry = invariant!(
            self.entries.get_mut(number as usize),
            "a ticket is given for an entry, and entries stay"
        );
        let gone = entry.left.both(places);
        entry.left.remove(gone);
        self.jobs -= gone.len();
        let lease = entry.lease;
        if entry.left.is_empty() && !gone.is_empty() {
            entry.block = None;
            self.free.push(number);
        }
        lease
    }

    /// Whether a part waits.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// An entry stands behind the parts that wait.
    pub(super) fn let_behind(&mut self, ticket: Ticket) {
        let places = Places::NONE;
        self.waiting.push_back(Part { ticket, places });
        self.waiting_jobs += 1;
    }

    /// Takes out the entries in front of all parts; with `all`, also those behind some.
    fn take_entries(&mut self, all: bool, entries: &mut VecDeque<Ticket>) {
        let is_entry = |part: &Part| !part.ticket.is_of_block();
        while let Some(part) = self.waiting.front().copied().filter(is_entry) {
            self.waiting.pop_front();
            self.waiting_jobs -= 1;
            entries.push_back(part.ticket);
        }
        if all {
            let behind = self.waiting.iter().filter(|part| is_entry(part));
            entries.extend(behind.map(|part| part.ticket));
            self.strike_entries(|_| true);
        }
    }

    /// These entries wait no more. Returns how many there were.
    pub(super) fn strike_entries(&mut self, leaves: impl Fn(Ticket) -> bool) -> usize {
        let before = self.waiting.len();
        self.waiting
            .retain(|part| part.ticket.is_of_block() || !leaves(part.ticket));
        let struck = before - self.waiting.len();
        self.waiting_jobs -= struck;
        struck
    }

    fn put_in_front(&mut self, parts: impl DoubleEndedIterator<Item = Part>) {
        for part in parts.rev() {
            self.waiting_jobs += part.places.len();
            self.waiting.push_front(part);
        }
    }
}

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
