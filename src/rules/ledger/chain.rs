//! The chain of deliveries that a slot holds, in the order of delivery.
//!
//! A chain through the entries costs a few instructions per delivery and lets a death find everything that the consumer
//! held without looking at anybody else's deliveries.

use super::entries::{Entries, NONE};
use crate::types::Ticket;

/// Both ends of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl Chain {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn push<H>(&mut self, entries: &mut Entries<H>, ticket: Ticket) {
        if let Some(entry) = entries.get_mut(ticket) {
            entry.before = self.last;
            entry.after = NONE;
        }
        match entries.get_mut(Ticket(self.last)) {
            Some(last) => last.after = ticket.0,
            None => self.first = ticket.0,
        }
        self.last = ticket.0;
        self.len += 1;
    }

    pub(super) fn remove<H>(&mut self, entries: &mut Entries<H>, ticket: Ticket) {
        let entry = entries.must(ticket);
        let (before, after) = (entry.before, entry.after);
        match entries.get_mut(Ticket(before)) {
            Some(entry) => entry.after = after,
            None => self.first = after,
        }
        match entries.get_mut(Ticket(after)) {
            Some(entry) => entry.before = before,
            None => self.last = before,
        }
        self.len = self.len.saturating_sub(1);
    }

    /// All tickets of the chain in order; the chain is empty afterwards.
    pub(super) fn take<H>(&mut self, entries: &Entries<H>) -> Vec<Ticket> {
        let mut tickets = Vec::with_capacity(self.len as usize);
        let mut next = self.first;
        while let Some(entry) = entries.get(Ticket(next)) {
            tickets.push(Ticket(next));
            next = entry.after;
        }
        *self = Self::default();
        tickets
    }
}
