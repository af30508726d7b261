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

use crate::types::invariant::invariant;
use crate::types::{KeyHash, LeaseId, Places, SlotId, Ticket};

/// A leased block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entry<B> {
    /// The block itself; the ledger only keeps it. None: the place is free.
    pub(super) block: Option<B>,
    pub(super) lease: LeaseId,
    /// Its jobs that have not ended and have not left the block.
    pub(super) left: Places,
    /// The keys of its jobs, by place, if their order is kept. Empty if they have none.
    pub(super) keys: Vec<KeyHash>,
}

/// Some jobs of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) ticket: Ticket,
    pub(super) places: Places,
}

/// Every leased block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Blocks<B> {
    /// The blocks, by ticket. Freed places are used again, last freed first.
    pub(super) entries: Vec<Entry<B>>,
    pub(super) free: Vec<u32>,
    /// Jobs in all blocks together.
    pub(super) jobs: usize,
    /// Parts that can be offered, in order. Among them stand the entries that were leased after some of them: first in, first
    /// out holds for jobs alone and in blocks alike.
    pub(super) waiting: VecDeque<Part>,
    /// Jobs in `waiting`, with those entries.
    pub(super) waiting_jobs: usize,
    /// Parts that the strategy is choosing for, in order.
    pub(super) offered: Vec<Part>,
    /// Jobs in `offered`.
    pub(super) offered_jobs: usize,
    /// The slots that get something of the block that is being dealt out; empty between two blocks.
    pub(super) dealt: Vec<SlotId>,
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
    pub(super) fn left(&self, ticket: Ticket) -> Places {
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

    pub(super) fn add(
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
    pub(super) fn take_entries(&mut self, all: bool, entries: &mut VecDeque<Ticket>) {
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

    pub(super) fn put_in_front(&mut self, parts: impl DoubleEndedIterator<Item = Part>) {
        for part in parts.rev() {
            self.waiting_jobs += part.places.len();
            self.waiting.push_front(part);
        }
    }
}
