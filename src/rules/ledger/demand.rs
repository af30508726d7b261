//! Demand: how many jobs more the group can take.
//!
//! Credit goes back by halves of what the group can hold, as GenStage's `max_demand` and `min_demand` do it: a message for
//! each settled job would cost more than the job. With four slots of 1,000 the credit is topped up when it has fallen to
//! 2,000, then by 2,000 at once. Only when a consumer has nothing to do and the queue has no credit at all does a smaller
//! demand go out, so that a group of slow consumers is never idle while jobs wait.
//!
//! Urgent jobs come beyond that credit, up to [`BEYOND`] that wait: else they would stand in the queue while all windows are
//! full.

use super::{Ledger, OutOfBlock};
use crate::types::HeldCounts;

/// How many urgent jobs may wait for a consumer beyond what all windows hold. While there are more of them in the queue, one
/// of them is always here before a consumer has room.
pub(super) const BEYOND: usize = 64;

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// The credit to send to the queue now, if any. It counts as sent.
    pub fn demand(&mut self) -> Option<usize> {
        if self.gate.is_paused || self.gate.is_closed {
            return None;
        }
        let unplaced = self.offering.waiting.len()
            + self.offering.urgent.len()
            + self.suspects.waiting.len()
            + self.offering.offered.len()
            + self.blocks.unplaced();
        let wanted = self.sums.room.saturating_sub(unplaced);
        let allowed = wanted.min(self.hold_room());
        let missing = allowed.saturating_sub(self.credit.for_all);
        let starving = self.sums.idle > 0 && self.credit.for_all == 0 && unplaced == 0;
        if missing == 0 || (!starving && missing < self.capacity() / 2) {
            return None;
        }
        self.credit.for_all += missing;
        Some(missing)
    }

    /// The credit for urgent jobs alone to send to the queue now, beyond the other. It counts as sent.
    pub fn urgent_demand(&mut self) -> usize {
        if self.gate.is_paused || self.gate.is_closed || self.is_offering() {
            return 0;
        }
        let allowed = BEYOND.min(self.hold_room());
        let missing = allowed.saturating_sub(self.offering.urgent.len() + self.credit.for_urgent);
        self.credit.for_urgent += missing;
        missing
    }

    /// The next `jobs` leases use up credit for urgent jobs.
    pub fn leases_beyond(&mut self, jobs: usize) {
        self.credit.for_urgent = self.credit.for_urgent.saturating_sub(jobs);
        // Each lease takes of this one.
        self.credit.for_all += jobs;
    }

    /// The queue was attached anew: the credit that it had is void.
    pub fn credit_lost(&mut self) {
        (self.credit.for_all, self.credit.for_urgent) = (0, 0);
    }

    /// All rooms and everything that is out or on its way out, together: what the group holds when it is full. What waits for
    /// a key or a retry is no part of it: a long line must not make the demand for others rare.
    fn capacity(&self) -> usize {
        self.sums.room + self.leases().saturating_sub(self.waiting_leases())
    }

    /// Leases that no consumer can get now, whatever room there is.
    fn waiting_leases(&self) -> usize {
        self.sums.behind + self.shelved.len()
    }

    /// How many more entries may come to be held.
    fn hold_room(&self) -> usize {
        let for_slots = self.policy.hold.saturating_sub(self.sums.parked);
        let for_lines = self.policy.hold_waiting.saturating_sub(self.waiting_leases());
        for_slots.min(for_lines)
    }

    /// What is held, by what it waits for.
    pub fn held(&self) -> HeldCounts {
        HeldCounts {
            for_consumer: self.sums.parked,
            for_key: self.sums.behind,
            for_retry: self.shelved.len(),
            is_full: self.hold_room() == 0,
        }
    }

    /// Whether both limits are at most half used: a full hold that was told is over.
    pub fn hold_has_room_again(&self) -> bool {
        self.sums.parked <= self.policy.hold / 2 && self.waiting_leases() <= self.policy.hold_waiting / 2
    }
}
