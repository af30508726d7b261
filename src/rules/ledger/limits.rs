//! Limits: how many jobs may go to consumers now, whatever room those have.
//!
//! | what | where it is held back | what it costs |
//! |---|---|---|
//! | the rate of the group | in the queue: no more is demanded than may go | a delivery, whatever attempt it is |
//! | the rate of a key | in the ledger, as a retry that is not due: a queue knows no keys | the same |
//! | a circuit that is tried | in the queue | one job at a time |
//!
//! A limit looks at what is handed out, not at what is leased: so a job that is tried again, or that waited behind another one
//! of its key, goes by it as well. Urgent jobs have no credit of their own under the rate of a group: they stand in front in the
//! queue, and nothing of theirs would be held back otherwise.

use super::entries::State;
use super::{Ledger, OutOfBlock};
use crate::rules::rate::{KeyRateLimit, RateLimit};
use crate::types::{Moment, Ticket};

/// The limits of a group. Without any, nothing in here is ever asked for the time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Limits {
    rate: Option<RateLimit>,
    keys: Option<KeyRateLimit>,
    /// Whether one job at a time is handed out, to see whether it can be done.
    probes: bool,
    /// The present moment, as the supervisor told it last. Only for those who have a limit.
    now: Moment,
}

impl<H: OutOfBlock<B>, B: Clone> Ledger<H, B> {
    /// Sets the limits of the group and of each key.
    pub fn set_limits(&mut self, rate: Option<RateLimit>, keys: Option<KeyRateLimit>) {
        self.limits.rate = rate;
        self.limits.keys = keys;
    }

    /// Whether there are limits that depend on the time.
    pub fn has_rates(&self) -> bool {
        self.limits.rate.is_some() || self.has_key_rate()
    }

    /// Whether there is a limit for each key.
    pub fn has_key_rate(&self) -> bool {
        self.limits.keys.is_some()
    }

    /// It is so late now. Only limits of rates look at it.
    pub fn pass_time(&mut self, now: Moment) {
        self.limits.now = now;
    }

    /// Hands out one job at a time, or as many as there is room for again.
    pub fn set_probing(&mut self, probes: bool) {
        self.limits.probes = probes;
        self.credit.may_sink();
        self.offering.news = true;
    }

    /// Whether fewer may go than there is room for, whatever is demanded.
    pub(super) fn is_limited(&self) -> bool {
        self.limits.rate.is_some() || self.limits.probes
    }

    /// Whether none may go now. What the strategy held is offered beyond what may go, so its answer may name more.
    pub(super) fn is_at_its_limit(&self) -> bool {
        self.is_limited() && self.may_go() == 0
    }

    /// How many jobs may go now.
    pub(super) fn may_go(&self) -> usize {
        let Limits {
            rate, probes, now, ..
        } = &self.limits;
        let by_rate = rate.as_ref().map_or(usize::MAX, |rate| rate.available(*now));
        if !probes {
            return by_rate;
        }
        let is_busy = self.sums.parked > 0 || self.slots.iter().any(|slot| slot.load() > 0);
        by_rate.min(usize::from(!is_busy))
    }

    /// So many go, or wait for the very consumer that they go to.
    pub(super) fn take_off_limit(&mut self, jobs: usize) {
        let now = self.limits.now;
        if let Some(rate) = &mut self.limits.rate {
            rate.take(now, jobs);
        }
    }

    /// When more may go than now.
    pub(super) fn next_of_limit(&self) -> Option<Moment> {
        self.limits.rate.as_ref()?.next(self.limits.now)
    }

    /// Entries whose key has gone too often wait until they may go. Each has its moment from then on.
    pub(super) fn hold_keys_back(&mut self) {
        let Limits {
            keys: Some(keys),
            now,
            ..
        } = &mut self.limits
        else {
            return;
        };
        let (entries, shelved) = (&mut self.entries, &mut self.shelved);
        let mut may_go = |ticket: &Ticket| {
            let entry = entries.must(*ticket);
            let key = entry.job.as_ref().and_then(H::key);
            let Some(key) = key.filter(|_| !entry.has_its_turn) else {
                return true;
            };
            entry.has_its_turn = true;
            let when = keys.reserve(key, *now);
            if when > *now {
                entry.state = State::Shelved(when);
                shelved.insert((when, *ticket));
            }
            when <= *now
        };
        self.offering.urgent.retain(&mut may_go);
        self.offering.waiting.retain(&mut may_go);
    }
}
