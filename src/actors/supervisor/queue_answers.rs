//! What the queue is told of its leases, and what it answers.
//!
//! | the answer | what follows |
//! |---|---|
//! | applied | nothing; a suspect whose begin it was goes out |
//! | some refused | told and counted, unless the verdict was sent twice: then an earlier life of the queue may have applied it. A lease that was to go on is lost |
//! | the link is down | told and counted; the verdicts are not sent again, their leases are lost, and their jobs come again |
//! | none, since the queue died | sent again to its next life |
//! | none for 5 s | told; a drain does not wait for it any longer |

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::Supervisor;
use super::queue_link::{ANSWER_LOOK, Answered};
use super::turn::renew;
use crate::protocol::{Settle, SettleReply};
use crate::rules::store::{RefusedSettle, SettleRefusal};
use crate::types::{EventKind, LeaseId, Revoked, SettleItem, Verdict};

impl<J: Send + Sync + 'static, O: Send + 'static> Supervisor<J, O> {
    /// Tells the queue what became of its leases, and remembers it until the queue has answered.
    pub(super) fn send_settles(&mut self, context: &mut Context<Self>) {
        if self.effects.settle.is_empty() && self.effects.acked.is_empty() {
            return;
        }
        let settle = Settle {
            epoch: self.epoch,
            items: Arc::new(renew(&mut self.effects.settle)),
            acked: Arc::new(renew(&mut self.effects.acked)),
        };
        let begins = self.effects.beginning.take();
        let number = self.queue.remember(settle.clone(), begins);
        self.send_settle(number, settle, context);
        if self.queue.plans_look() {
            self.look_for_answers(context);
        }
    }

    pub(super) fn send_settle(&mut self, number: u64, settle: Settle, context: &mut Context<Self>) {
        let answer = self.queue.send(settle).into_actor(self);
        context.spawn(answer.map(move |answer, this, context| {
            // Without an answer the queue has died; what it did not answer is sent again when it is back.
            if let Ok(reply) = answer {
                this.settle_answered(number, &reply, context);
            }
        }));
    }

    fn settle_answered(&mut self, number: u64, reply: &SettleReply, context: &mut Context<Self>) {
        let Answered {
            begins,
            was_sent_before,
            settle,
        } = self.queue.answered(number);
        match reply {
            SettleReply::Applied { refused } if refused.is_empty() => {
                if let Some(ticket) = begins {
                    self.ledger.begun(ticket, &mut self.effects);
                    return self.turn(context);
                }
            }
            SettleReply::Applied { .. } if was_sent_before => {}
            SettleReply::Applied { refused } => {
                self.refused(refused);
                let refused: BTreeSet<LeaseId> = refused.iter().map(|refused| refused.lease).collect();
                self.lose(settle.as_ref(), |lease| refused.contains(&lease));
                return self.turn(context);
            }
            SettleReply::LinkDown => {
                let verdicts = settle.as_ref().map_or(0, Settle::len);
                self.told.refused_settles += verdicts as u64;
                self.group.bus.tell(EventKind::SettlesLost { verdicts });
                self.lose(settle.as_ref(), |_| true);
                return self.turn(context);
            }
        }
        self.answer_drained();
        self.tell_idle();
    }

    /// Leases that were to go on after these verdicts have died at the queue.
    fn lose(&mut self, settle: Option<&Settle>, is_lost: impl Fn(LeaseId) -> bool) {
        let goes_on = |item: &&SettleItem| {
            matches!(
                item.verdict,
                Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_)
            ) && is_lost(item.lease)
        };
        let items = settle.iter().flat_map(|settle| settle.items.iter());
        let leases: Vec<LeaseId> = items.filter(goes_on).map(|item| item.lease).collect();
        if !leases.is_empty() {
            self.revoke(&Revoked::Leases(leases), true);
        }
    }

    fn refused(&mut self, refused: &[RefusedSettle]) {
        self.told.refused_settles += refused.len() as u64;
        let mut whys = refused.iter().map(|refused| refused.why);
        let stale = whys.by_ref().filter(|why| *why == SettleRefusal::Stale).count();
        let unknown = refused.len() - stale;
        self.group.bus.tell(EventKind::SettlesRefused { stale, unknown });
    }

    /// Looks after a while what the queue has not answered, and then again as long as there is something.
    fn look_for_answers(&mut self, context: &mut Context<Self>) {
        context.run_later(ANSWER_LOOK, |this, context| {
            let verdicts = this.queue.look();
            if verdicts > 0 {
                this.group.bus.tell(EventKind::SettlesUnanswered { verdicts });
                this.tell_idle();
            }
            if this.queue.looks_again() {
                this.look_for_answers(context);
            }
        });
    }
}
