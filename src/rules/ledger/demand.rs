//! Demand: how many jobs more the group can take.
//!
//! Credit goes back by halves of what the group can hold, as GenStage's `max_demand` and `min_demand` do it: a message for
//! each settled job would cost more than the job. With four slots of 1,000 the credit is topped up when it has fallen to
//! 2,000, then by 2,000 at once. Only when a consumer has nothing to do and the queue has no credit at all does a smaller
//! demand go out, so that a group of slow consumers is never idle while jobs wait.
//!
//! Urgent jobs come beyond that credit, up to [`BEYOND`] that wait: else they would stand in the queue while all windows are
//! full.
//!
//! What the queue is told is no addition but a total since it was attached. Both sides count the same jobs, the queue when it
//! hands them out, the ledger when they arrive, so a smaller total takes credit back that is not used up: at a pause, a drain,
//! a scale down. Jobs that are under way at that moment arrive, and are counted as all others; whatever crosses on the way,
//! the queue never hands out more than the greatest total that it was told, and after the next total both agree again. There
//! is no race that one of the two could see.

use super::{Ledger, OutOfBlock, SlotPhase};
use crate::types::HeldCounts;

/// How many urgent jobs may wait for a consumer beyond what all windows hold. While there are more of them in the queue, one
/// of them is always here before a consumer has room.
pub(super) const BEYOND: usize = 64;

/// How many jobs the queue may have handed out in all since it was attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Of all jobs.
    pub total: u64,
    /// Of urgent jobs alone, beyond that.
    pub urgent_total: u64,
}

/// The credit of the queue. Begins anew when the queue is attached anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Credit {
    granted: Totals,
    /// How many have arrived.
    arrived: Totals,
    /// Whether there is a reason to take credit back. Set by a pause, a drain and a slot that is taken away; cleared by the
    /// next look.
    may_sink: bool,
}

impl Credit {
    /// What is granted and has not arrived.
    fn for_all(&self) -> usize {
        let left = self.granted.total.saturating_sub(self.arrived.total);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    fn for_urgent(&self) -> usize {
        let left = self
            .granted
            .urgent_total
            .saturating_sub(self.arrived.urgent_total);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// Makes what has not arrived as much as this. Also where more arrived than is granted, as after a total that sank while
    /// jobs were under way.
    fn set_for_all(&mut self, jobs: usize) {
        self.granted.total = self.arrived.total.saturating_add(jobs as u64);
    }

    fn set_for_urgent(&mut self, jobs: usize) {
        self.granted.urgent_total = self.arrived.urgent_total.saturating_add(jobs as u64);
    }

    pub(super) fn may_sink(&mut self) {
        self.may_sink = true;
    }
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// What the queue may hand out now; without `grows`, it may be less than before and not more. It counts as told.
    pub fn demand(&mut self, grows: bool) -> Totals {
        if grows && !self.gate.is_paused && !self.gate.is_closed {
            self.grant();
            self.grant_urgent();
        }
        if std::mem::take(&mut self.credit.may_sink) {
            self.sink();
        }
        self.credit.granted
    }

    fn unplaced(&self) -> usize {
        self.offering.waiting.len()
            + self.offering.urgent.len()
            + self.suspects.waiting.len()
            + self.offering.offered.len()
            + self.blocks.unplaced()
    }

    fn grant(&mut self) {
        let unplaced = self.unplaced();
        let room = self.sums.room.min(self.may_go());
        let allowed = room.saturating_sub(unplaced).min(self.hold_room());
        let granted = self.credit.for_all();
        let missing = allowed.saturating_sub(granted);
        let starving = self.sums.idle > 0 && granted == 0 && unplaced == 0;
        // A limit lets few go at once, and they shall go when they may.
        let is_enough = starving || self.is_limited() || missing >= self.capacity() / 2;
        if missing > 0 && is_enough {
            self.credit.set_for_all(allowed);
        }
    }

    /// Grants credit for urgent jobs alone, beyond the other.
    fn grant_urgent(&mut self) {
        if self.is_offering() || self.is_limited() {
            return;
        }
        let allowed = BEYOND
            .min(self.hold_room())
            .saturating_sub(self.offering.urgent.len());
        if allowed > self.credit.for_urgent() {
            self.credit.set_for_urgent(allowed);
        }
    }

    /// Takes back what the group cannot take any more. The room of a consumer that is being replaced will be there again.
    fn sink(&mut self) {
        if self.gate.is_paused || self.gate.is_closed {
            self.credit.set_for_all(0);
            self.credit.set_for_urgent(0);
            return;
        }
        let empty = self.slots.iter().filter(|slot| slot.phase == SlotPhase::Empty);
        let to_come: usize = empty.map(|slot| slot.window.size() as usize).sum();
        let room = (self.sums.room + to_come).min(self.may_go());
        let allowed = room.saturating_sub(self.unplaced());
        if self.credit.for_all() > allowed {
            self.credit.set_for_all(allowed);
        }
    }

    /// A batch of so many jobs arrived; so many of them, which are urgent, came beyond the credit for all.
    pub fn arrived(&mut self, jobs: usize, beyond: usize) {
        self.credit.arrived.total += jobs.saturating_sub(beyond) as u64;
        self.credit.arrived.urgent_total += beyond as u64;
    }

    /// The queue is attached anew: the credit that it had is void, and both sides count from zero.
    pub fn credit_lost(&mut self) {
        (self.credit.granted, self.credit.arrived) = Default::default();
    }

    /// The most jobs that a group of so many consumers can have leased at once.
    pub fn ceiling(&self, consumers: usize) -> usize {
        let windows = consumers.saturating_mul(self.policy.window.max as usize);
        let held = self.policy.hold.saturating_add(self.policy.hold_waiting);
        windows.saturating_add(held).saturating_add(BEYOND)
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
