//! The link to the strategy: which life of it this is, what it is asked, and the roster that goes back and forth with it.

use std::time::Duration;

use actix::{Recipient, dev::RecipientRequest};

use super::JobLedger;
use crate::protocol::{Assign, Assigned};
use crate::rules::hang_detector;
use crate::rules::ledger::Offer;
use crate::rules::strategies::{AssignJob, Choice, Share};
use crate::types::invariant::invariant;
use crate::types::{Key, Moment, Places, Priority, Roster, SlotId};

pub(super) struct StrategyLink {
    strategy: Recipient<Assign>,
    /// Counts the lives of the strategy, so that a late answer of an earlier life is known as such.
    life: u64,
    /// Whether the strategy looks at jobs. Its answers say so; a new life is asked as if it did.
    looks_at_jobs: bool,
    /// When the open question was asked.
    asked: Option<Moment>,
    /// The roster while it is not with the strategy. `None` also after the strategy died with it.
    roster: Option<Roster>,
    /// Slots whose seat in the roster is out of date, and for each slot whether it is among them.
    outdated: Vec<SlotId>,
    is_outdated: Vec<bool>,
    /// Memory that is used again for each question.
    offers: Vec<Offer>,
    questions: Vec<AssignJob>,
}

impl StrategyLink {
    pub(super) fn new(strategy: Recipient<Assign>) -> Self {
        Self {
            strategy,
            life: 0,
            looks_at_jobs: true,
            asked: None,
            roster: None,
            outdated: Vec::new(),
            is_outdated: Vec::new(),
            offers: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// The strategy was restarted.
    pub(super) fn replaced(&mut self, strategy: Recipient<Assign>) {
        self.strategy = strategy;
        self.life += 1;
        self.looks_at_jobs = true;
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// When the open question was asked, if one is open.
    pub(super) fn asked(&self) -> Option<Moment> {
        self.asked
    }

    /// The watch stood still: that time does not count as a wait for the answer.
    pub(super) fn forgive(&mut self, now: Moment, stood: Duration) {
        if let Some(asked) = &mut self.asked {
            *asked = hang_detector::forgiven(*asked, now, stood);
        }
    }

    /// There is one slot more.
    pub(super) fn add_slot(&mut self) {
        self.is_outdated.push(false);
    }

    /// The seat of this slot has changed. A strategy may name slots that there are not; nothing happens for those.
    #[inline]
    pub(super) fn outdate(&mut self, slot: SlotId) {
        if let Some(is_outdated) = self.is_outdated.get_mut(slot.0 as usize)
            && !*is_outdated
        {
            *is_outdated = true;
            self.outdated.push(slot);
        }
    }

    /// Puts what waits on offer and asks the strategy for all of it, if something waits.
    pub(super) fn ask<J>(
        &mut self,
        now: impl FnOnce() -> Moment,
        ledger: &mut JobLedger<J>,
    ) -> Option<RecipientRequest<Assign>> {
        self.offers.clear();
        ledger.offer(&mut self.offers);
        if !ledger.is_offering() {
            return None;
        }
        let assign = Assign {
            jobs: self.questions(ledger),
            parts: self.parts(ledger),
            roster: self.current_roster(ledger),
        };
        self.asked = Some(now());
        Some(self.strategy.send(assign))
    }

    fn questions<J>(&mut self, ledger: &JobLedger<J>) -> Vec<AssignJob> {
        let mut questions = std::mem::take(&mut self.questions);
        questions.clear();
        for offer in &self.offers {
            let job = invariant!(ledger.job(offer.ticket), "what is on offer is leased");
            questions.push(AssignJob {
                id: job.id(),
                key: job.key_hash(),
                priority: job.priority(),
                attempt: offer.attempt,
            });
        }
        if !self.looks_at_jobs {
            return questions;
        }
        for (ticket, places) in ledger.offered_in_blocks() {
            let block = invariant!(ledger.block(ticket), "what is on offer is leased");
            questions.extend(places.iter().map(|place| AssignJob {
                id: block.id(place),
                key: block.key(place).map(Key::hashed),
                priority: Priority(0),
                attempt: 1,
            }));
        }
        questions
    }

    /// The jobs in blocks that are on offer, for a strategy that does not look at them.
    fn parts<J>(&self, ledger: &JobLedger<J>) -> Vec<Places> {
        if self.looks_at_jobs {
            return Vec::new();
        }
        ledger.offered_in_blocks().map(|(_, places)| places).collect()
    }

    /// The roster as it is now. Only what changed since the last question is brought up to date.
    fn current_roster<J>(&mut self, ledger: &JobLedger<J>) -> Roster {
        let known = self
            .roster
            .take()
            .filter(|roster| roster.version() == ledger.version());
        let mut roster = known.unwrap_or_else(|| Roster::new(ledger.seats(), ledger.version()));
        for slot in self.outdated.drain(..) {
            if let Some(is_outdated) = self.is_outdated.get_mut(slot.0 as usize) {
                *is_outdated = false;
            }
            if let Some(index) = roster.position(slot)
                && let Some(seat) = ledger.seat(slot)
            {
                roster.update(index, &seat);
            }
        }
        roster
    }

    /// The strategy answered. Returns what it chose.
    pub(super) fn answered(&mut self, assigned: Assigned) -> (Vec<Choice>, Vec<Share>) {
        self.asked = None;
        self.questions = assigned.jobs;
        self.looks_at_jobs = assigned.looks_at_jobs;
        self.roster = Some(assigned.roster);
        // A strategy can place a job in the roster that the ledger parks or holds; noting every slot that it named brings
        // those seats up to date again.
        for choice in &assigned.choices {
            if let Choice::Slot(slot) = choice {
                self.outdate(*slot);
            }
        }
        for share in &assigned.shares {
            self.outdate(share.slot);
        }
        (assigned.choices, assigned.shares)
    }

    /// The open question is not answered any more.
    pub(super) fn lost(&mut self) {
        self.asked = None;
        self.roster = None;
    }

    /// The strategy is about to be replaced: its successor has as long.
    pub(super) fn ask_later(&mut self, now: Moment) {
        self.asked = Some(now);
    }
}
