//! The supervisor's side of the strategy protocol.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, MailboxError, WrapFuture};

use super::Supervisor;
use crate::protocol::{Assign, Assigned, StrategyUp};
use crate::rules::strategies::{AssignJob, Choice};
use crate::words::invariant::invariant;
use crate::words::{EventKind, Key, Places, Priority, Roster};

/// How long to wait before a strategy that gave no answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// The strategy was restarted: what it was asked is asked again.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<StrategyUp> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, StrategyUp(strategy): StrategyUp, context: &mut Context<Self>) {
        self.strategy = strategy;
        self.strategy_life += 1;
        self.strategy_looks = true;
        self.question_lost();
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Asks for all waiting jobs at once, unless a question is open.
    pub(super) fn ask_strategy(&mut self, context: &mut Context<Self>) {
        if self.asked.is_some() {
            return;
        }
        self.offers.clear();
        self.ledger.offer(&mut self.offers);
        if !self.ledger.is_offering() {
            return;
        }
        let roster = self.current_roster();
        let assign = Assign {
            jobs: self.questions(),
            parts: self.parts(),
            roster,
        };
        self.asked = Some(self.now());
        let life = self.strategy_life;
        let answer = self.strategy.send(assign).into_actor(self);
        context.spawn(answer.map(move |answer, this, context| {
            if life == this.strategy_life {
                this.strategy_answered(answer, context);
            }
        }));
    }

    fn questions(&mut self) -> Vec<AssignJob> {
        let mut questions = std::mem::take(&mut self.questions);
        questions.clear();
        for offer in &self.offers {
            let job = invariant!(self.ledger.job(offer.ticket), "what is on offer is leased");
            questions.push(AssignJob {
                id: job.id(),
                key: job.key_hash(),
                priority: job.priority(),
                attempt: offer.attempt,
            });
        }
        if !self.strategy_looks {
            return questions;
        }
        for (ticket, places) in self.ledger.offered_in_blocks() {
            let block = invariant!(self.ledger.block(ticket), "what is on offer is leased");
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
    fn parts(&self) -> Vec<Places> {
        if self.strategy_looks {
            return Vec::new();
        }
        self.ledger
            .offered_in_blocks()
            .map(|(_, places)| places)
            .collect()
    }

    /// The roster as it is now. Only what changed since the last question is brought up to date.
    fn current_roster(&mut self) -> Roster {
        let known = self
            .roster
            .take()
            .filter(|roster| roster.version() == self.ledger.version());
        let mut roster = known.unwrap_or_else(|| Roster::new(self.ledger.seats(), self.ledger.version()));
        for slot in self.outdated.drain(..) {
            if let Some(found) = self.slots.get_mut(slot.0 as usize) {
                found.is_outdated = false;
            }
            if let Some(index) = roster.position(slot)
                && let Some(seat) = self.ledger.seat(slot)
            {
                roster.update(index, &seat);
            }
        }
        roster
    }

    fn strategy_answered(&mut self, answer: Result<Assigned, MailboxError>, context: &mut Context<Self>) {
        let Ok(assigned) = answer else {
            // The strategy has died, and `StrategyUp` follows; or only its answer was lost (a panic in a `ResponseFuture`
            // ends no actor), and the same one is asked again.
            self.question_lost();
            context.run_later(ASK_AGAIN, |this, context| this.turn(context));
            return;
        };
        self.asked = None;
        self.questions = assigned.jobs;
        self.strategy_looks = assigned.looks_at_jobs;
        let bad = self
            .ledger
            .assigned_shares(&assigned.choices, &assigned.shares, &mut self.effects);
        // A strategy can place a job in the roster that the ledger parks or holds; noting every slot that it named as
        // touched brings those seats up to date again.
        self.roster = Some(assigned.roster);
        self.effects
            .touched
            .extend(assigned.choices.iter().filter_map(|choice| match choice {
                Choice::Slot(slot) => Some(*slot),
                Choice::Hold => None,
            }));
        self.effects
            .touched
            .extend(assigned.shares.iter().map(|share| share.slot));
        for slot in bad {
            self.bad_choices += 1;
            self.wiring.bus.tell(EventKind::BadChoice { slot });
        }
        self.turn(context);
    }

    pub(super) fn question_lost(&mut self) {
        self.asked = None;
        self.roster = None;
        self.ledger.offer_lost();
    }
}
