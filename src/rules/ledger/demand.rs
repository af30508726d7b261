//! Demand: how many jobs more the group can take.
//!
//! Credit goes back by halves of what the group can hold, as GenStage's `max_demand` and `min_demand` do it: a message for
//! each settled job would cost more than the job. With four slots of 1,000 the credit is topped up when it has fallen to
//! 2,000, then by 2,000 at once. Only when a consumer has nothing to do and the queue has no credit at all does a smaller
//! demand go out, so that a group of slow consumers is never idle while jobs wait.

use super::Ledger;

impl Ledger {
    /// The credit to send to the queue now, if any. It counts as sent.
    pub fn demand(&mut self) -> Option<usize> {
        if self.paused || self.closed {
            return None;
        }
        let unplaced = self.waiting.len() + self.suspects.len() + self.offered.len() + self.blocks.unplaced();
        let wanted = self.room.saturating_sub(unplaced);
        let held = self.blocked + self.shelved.len();
        let allowed = wanted.min(self.policy.hold.saturating_sub(held));
        let missing = allowed.saturating_sub(self.credit);
        let starving = self.idle > 0 && self.credit == 0 && unplaced == 0;
        if missing == 0 || (!starving && missing < self.capacity() / 2) {
            return None;
        }
        self.credit += missing;
        Some(missing)
    }

    /// The queue was attached anew: the credit that it had is void.
    pub fn credit_lost(&mut self) {
        self.credit = 0;
    }

    /// All rooms and everything that is out, together: what the group holds when it is full.
    fn capacity(&self) -> usize {
        self.room + self.in_flight()
    }
}
