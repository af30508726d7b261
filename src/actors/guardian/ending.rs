//! The end of a group: drain, failure and stop.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::watch;

use super::Guardian;
use crate::actors::fair_time::within_fair_time;
use crate::protocol::{Command, DeadLetteredRefs, Handover, QueueAddr, QueueCommand, QueueReply};
use crate::types::{Cause, EventKind, GroupState, JobRef, Role};

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    pub(super) fn drain(&mut self, everything: bool, deadline: Duration, context: &mut Context<Self>) {
        // The timer is the group's own, so that whoever waits for the drain needs none: a thread without a runtime has none.
        context.run_later(deadline, |this, context| {
            this.end(GroupState::Stopped, None, context)
        });
        self.drains_everything = everything;
        self.desired.paused = false;
        self.set_state(GroupState::Draining);
        self.tell(EventKind::Draining);
        self.root.intake.close();
        let intake = Arc::clone(&self.root.intake);
        let flushed = async move { intake.flushed().await };
        context.spawn(flushed.into_actor(self).map(move |(), this, _| {
            this.desired.closed = !everything;
            this.desired.draining = true;
            this.tell_desired();
        }));
    }

    /// If the queue holds nothing, neither waiting nor leased, the drain is done.
    pub(super) fn check_drained(&mut self, context: &mut Context<Self>) {
        let Some(address) = self.root.addresses.borrow().clone() else {
            return;
        };
        let counts = address
            .command
            .clone()
            .send(Command::new(QueueCommand::Counts))
            .into_actor(self);
        context.spawn(counts.map(|reply, this, _| {
            if let Ok(QueueReply::Counts(counts)) = reply
                && counts.unfinished() == 0
            {
                this.dismiss_consumers();
            }
        }));
    }

    /// Nothing is left to do: the consumers have their last word and go, and the supervisor says when the last one has gone.
    pub(super) fn dismiss_consumers(&mut self) {
        if !std::mem::replace(&mut self.has_dismissed, true) {
            self.desired.consumers = 0;
            self.tell_desired();
        }
    }

    pub(super) fn give_up(&mut self, reason: String, context: &mut Context<Self>) {
        self.tell(EventKind::GroupFailed {
            reason: reason.clone(),
        });
        self.end(GroupState::Failed, Some(reason), context);
    }

    /// Ends the group: first the door, then the supervisor with all consumers, then the queue hands out what is left.
    pub(super) fn end(&mut self, state: GroupState, reason: Option<String>, context: &mut Context<Self>) {
        if std::mem::replace(&mut self.ending, true) {
            return;
        }
        self.root.intake.close();
        self.end_role(Role::Supervisor, Cause::Killed);
        self.supervisor = None;
        let gone = self.consumers_gone();
        context.spawn(
            gone.into_actor(self)
                .map(move |(), this, context| this.collect(state, reason, context)),
        );
    }

    /// Waits until everything that is on its way has arrived; then the jobs are gathered.
    fn collect(&mut self, state: GroupState, reason: Option<String>, context: &mut Context<Self>) {
        let is_volatile = self.root.is_volatile;
        let (intake, addresses) = (Arc::clone(&self.root.intake), self.root.addresses.subscribe());
        let results = self.results.clone();
        let epoch = self.root.status.borrow().epoch;
        let arrived = async move {
            let arrived = async {
                // Jobs reach the queue, and their senders hear its answer.
                intake.flushed().await;
                // So do settles: the queue answers in turn. One that keeps its jobs is told that nobody has them any more; if
                // it does not answer, what was leased is suspected at the next opening: that costs time and no job.
                let question = if is_volatile {
                    QueueCommand::Counts
                } else {
                    QueueCommand::Goodbye {
                        epoch,
                        within: LAST_WORD,
                    }
                };
                ask(addresses, question).await.is_some() && is_volatile
            };
            // Only a queue that does not answer, or dies of every question, lets this pass.
            let answers = within_fair_time(LAST_WORD, arrived).await.unwrap_or_default();
            if let Some(results) = results {
                // Outcomes that are on their way arrive before the producers are told that no more will come. Without an
                // answer the result queue has died, and what it had not read has arrived by itself.
                let dead = Handover::or_else(Vec::new(), |_| {});
                let _ = results.dead_lettered.send(DeadLetteredRefs { dead }).await;
            }
            answers
        };
        context.spawn(arrived.into_actor(self).map(move |answers, this, context| {
            this.gather(answers, state, reason, context);
        }));
    }

    /// Gathers what was not finished. A durable queue keeps its jobs; a volatile one would lose them. From the moment in which
    /// a queue lets go of its jobs until they can be had, nothing is waited for: the arbiter may end in every wait.
    fn gather(
        &mut self,
        answers: bool,
        state: GroupState,
        reason: Option<String>,
        context: &mut Context<Self>,
    ) {
        let rest = self.root.is_volatile.then(|| self.root.rest_of_queue()).flatten();
        match rest {
            Some(rest) => {
                self.root.mailboxes.tell_dead(rest.dead);
                self.conclude(state, reason, rest.unfinished, context);
            }
            // Its actor alone can say; there the answer is the only copy for a moment.
            None if answers => {
                let addresses = self.root.addresses.subscribe();
                let question = ask(addresses, QueueCommand::TakeUnfinished);
                let reply = async move { within_fair_time(LAST_WORD, question).await.ok().flatten() };
                context.spawn(reply.into_actor(self).map(move |reply, this, context| {
                    let unfinished = match reply {
                        Some(QueueReply::Unfinished(jobs)) => jobs,
                        // A queue that cannot hand jobs out keeps them.
                        _ => Vec::new(),
                    };
                    this.conclude(state, reason, unfinished, context);
                }));
            }
            None => self.conclude(state, reason, Vec::new(), context),
        }
    }

    fn conclude(
        &mut self,
        state: GroupState,
        reason: Option<String>,
        mut unfinished: Vec<JobRef<J>>,
        context: &mut Context<Self>,
    ) {
        unfinished.extend(self.root.intake.take_rest());
        self.roles.clear();
        self.root.conclude(state, reason, unfinished);
        context.stop();
    }
}

/// How long the queue may take at the end of the group to answer a question.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Asks the queue: its present life, or the next one if it dies over the question.
async fn ask<J: Send + Sync + 'static>(
    mut addresses: watch::Receiver<Option<QueueAddr<J>>>,
    question: QueueCommand,
) -> Option<QueueReply<J>> {
    loop {
        let address = addresses.borrow_and_update().clone();
        if let Some(address) = address
            && let Ok(reply) = address.command.clone().send(Command::new(question.clone())).await
        {
            return Some(reply);
        }
        addresses.changed().await.ok()?;
    }
}
