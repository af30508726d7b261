//! The supervisor's side of the strategy protocol.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, MailboxError, WrapFuture};

use super::Supervisor;
use crate::protocol::{Assigned, StrategyUp};
use crate::types::EventKind;

/// How long to wait before a strategy that gave no answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// The strategy was restarted: what it was asked is asked again.
impl<J: Send + Sync + 'static, O: Send + 'static> Handler<StrategyUp> for Supervisor<J, O> {
    type Result = ();

    fn handle(&mut self, StrategyUp(strategy): StrategyUp, context: &mut Context<Self>) {
        self.strategy.replaced(strategy);
        self.question_lost();
        self.turn(context);
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Asks for all waiting jobs at once, unless a question is open.
    pub(super) fn ask_strategy(&mut self, context: &mut Context<Self>) {
        if self.strategy.asked().is_some() {
            return;
        }
        let clock = self.group.clock;
        let Some(question) = self.strategy.ask(|| clock.now(), &mut self.ledger) else {
            return;
        };
        let life = self.strategy.life();
        let answer = question.into_actor(self);
        context.spawn(answer.map(move |answer, this, context| {
            if life == this.strategy.life() {
                this.strategy_answered(answer, context);
            }
        }));
    }

    fn strategy_answered(&mut self, answer: Result<Assigned, MailboxError>, context: &mut Context<Self>) {
        let Ok(assigned) = answer else {
            // The strategy has died, and `StrategyUp` follows; or only its answer was lost (a panic in a `ResponseFuture`
            // ends no actor), and the same one is asked again.
            self.question_lost();
            context.run_later(ASK_AGAIN, |this, context| this.turn(context));
            return;
        };
        let (choices, shares) = self.strategy.answered(assigned);
        let bad = self.ledger.assigned_shares(&choices, &shares, &mut self.effects);
        for slot in bad {
            self.told.bad_choices += 1;
            self.group.bus.tell(EventKind::BadChoice { slot });
        }
        self.turn(context);
    }

    fn question_lost(&mut self) {
        self.strategy.lost();
        self.ledger.offer_lost();
    }
}
