//! Lines of keys: of one key one entry goes its way, the others stand behind it in the order of their leases.

use std::collections::VecDeque;

use super::entries::State;
use super::{Effects, Ledger};
use crate::words::{KeyHash, Ticket};

impl Ledger {
    /// A keyed entry arrives: it is free to go if no other one of its key is leased, else it stands behind.
    pub(super) fn stand_in_line(&mut self, key: KeyHash, ticket: Ticket, effects: &mut Effects) {
        if self.planted.is(super::Plant::NoKeyLock) {
            return self.waiting.push_back(ticket);
        }
        if let Some(line) = self.keys.get_mut(&key) {
            line.push_back(ticket);
            self.entries.set_state(ticket, State::Behind);
            self.behind += 1;
        } else {
            self.keys.insert(key, VecDeque::new());
            self.wait_behind(ticket, effects);
        }
    }

    /// The first entry of this key has ended: the next one is free to go.
    pub(super) fn leave_line(&mut self, key: Option<KeyHash>, effects: &mut Effects) {
        let Some(key) = key else { return };
        let next = self.keys.get_mut(&key).and_then(|line| line.pop_front());
        match next {
            Some(ticket) => {
                self.behind -= 1;
                self.entries.wait(ticket);
                self.wait_behind(ticket, effects);
                self.news = true;
            }
            None => {
                self.keys.remove(&key);
            }
        }
    }
}
