//! Keys: of one key one job goes its way, the others stand behind it in the order of their leases.

use super::entries::State;
use super::{Effects, Ledger, OutOfBlock};
use crate::types::{KeyHash, Ticket};

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// A keyed entry arrives: it is free to go if no other one of its key is leased, else it stands behind.
    pub(super) fn stand_in_line(&mut self, key: KeyHash, ticket: Ticket, effects: &mut Effects<H, B>) {
        if self.goes_first(key) {
            self.wait_behind(ticket, effects);
        } else {
            self.stand_behind(key, ticket);
        }
    }

    /// Takes the key for a job that is free to go. False if another one of its key is leased.
    pub(super) fn goes_first(&mut self, key: KeyHash) -> bool {
        if self.planted.is(super::Plant::NoKeyLock) {
            return true;
        }
        self.lines.open(key)
    }

    /// The entry waits until all those of its key that came before it have ended.
    pub(super) fn stand_behind(&mut self, key: KeyHash, ticket: Ticket) {
        self.lines.stand_behind(key, ticket, &mut self.entries);
        self.entries.set_state(ticket, State::Behind);
        self.sums.behind += 1;
    }

    /// The first job of this key has ended: the next one is free to go.
    pub(super) fn leave_line(&mut self, key: Option<KeyHash>, effects: &mut Effects<H, B>) {
        let Some(key) = key else { return };
        if let Some(ticket) = self.lines.next(key, &self.entries) {
            self.sums.behind -= 1;
            self.entries.wait(ticket);
            self.wait_behind(ticket, effects);
            self.offering.news = true;
        }
    }
}
