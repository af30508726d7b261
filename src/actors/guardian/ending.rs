//! The end of a group: drain, failure and stop.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::watch;

use super::Guardian;
use crate::protocol::{Command, Handover, QueueCommand, QueueDoor, QueueReply, SealedFates};
use crate::words::{Cause, EventKind, GroupState, Role, Sealed};

impl<J: Send + Sync + 'static, O: Send + 'static> Guardian<J, O> {
    pub(super) fn drain(&mut self, everything: bool, context: &mut Context<Self>) {
        self.drains_everything = everything;
        self.desired.paused = false;
        self.set_state(GroupState::Draining);
        self.tell(EventKind::Draining);
        self.intake.close();
        let intake = Arc::clone(&self.intake);
        let flushed = async move { intake.flushed().await };
        context.spawn(flushed.into_actor(self).map(move |(), this, _| {
            this.desired.closed = !everything;
            this.desired.draining = true;
            this.tell_desired();
        }));
    }

    /// If the queue holds nothing, neither waiting nor leased, the drain is done.
    pub(super) fn check_drained(&mut self, context: &mut Context<Self>) {
        let Some(door) = self.doors.borrow().clone() else {
            return;
        };
        let counts = door
            .command
            .clone()
            .send(Command::new(QueueCommand::Counts))
            .into_actor(self);
        context.spawn(counts.map(|reply, this, _| {
            if let Ok(QueueReply::Counts(counts)) = reply
                && counts.unfinished() == 0
            {
                this.status.send_modify(|status| status.drained = true);
            }
        }));
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
        self.intake.close();
        self.end_role(Role::Supervisor, Cause::Killed);
        self.supervisor = None;
        let gone = self.consumers_gone();
        context.spawn(
            gone.into_actor(self)
                .map(move |(), this, context| this.collect(state, reason, context)),
        );
    }

    /// Gathers what was not finished. A durable queue keeps its jobs; a volatile one would lose them.
    pub(super) fn collect(&mut self, state: GroupState, reason: Option<String>, context: &mut Context<Self>) {
        let is_volatile = self
            .wiring
            .as_ref()
            .is_some_and(|wiring| wiring.capabilities.volatile);
        let (intake, doors) = (Arc::clone(&self.intake), self.doors.subscribe());
        let results = self.results.clone();
        let epoch = self.status.borrow().epoch;
        let unfinished = async move {
            let mut unfinished = Vec::new();
            if is_volatile {
                let last_word = async {
                    // What is on its way to the queue arrives before the question.
                    intake.flushed().await;
                    take_unfinished(doors).await
                };
                // Only a queue that does not answer, or dies of every question, lets this pass.
                unfinished = tokio::time::timeout(LAST_WORD, last_word)
                    .await
                    .unwrap_or_default();
            } else {
                // If there is no answer, what was leased is suspected at the next opening: that costs time and no job.
                let detached = ask(doors, || QueueCommand::Detach(epoch));
                let _ = tokio::time::timeout(LAST_WORD, detached).await;
            }
            if let Some(results) = results {
                // Outcomes that are on their way arrive before the producers are told that no more will come. Without an
                // answer the result queue has died, and what it had not read has arrived by itself.
                let dead = Handover::or_else(Vec::new(), |_| {});
                let _ = results.fates.send(SealedFates { dead }).await;
            }
            unfinished.extend(intake.take_rest());
            unfinished
        };
        context.spawn(unfinished.into_actor(self).map(move |unfinished, this, context| {
            this.mailboxes.end(&unfinished);
            this.tell(EventKind::Drained {
                unfinished: unfinished.len(),
            });
            *this.leftovers.lock().unwrap_or_else(PoisonError::into_inner) = unfinished;
            this.roles.clear();
            if let Some(wiring) = &this.wiring {
                wiring.bus.end();
            }
            this.status.send_modify(|status| {
                status.state = state;
                status.reason = reason;
                status.supervisor = None;
            });
            context.stop();
        }));
    }
}

/// How long the queue may take at the end of the group to hand out its jobs.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Asks the queue for all jobs that it holds: its present life, or the next one if it dies over the question.
async fn take_unfinished<J: Send + Sync + 'static>(
    doors: watch::Receiver<Option<QueueDoor<J>>>,
) -> Vec<Sealed<J>> {
    match ask(doors, || QueueCommand::TakeUnfinished).await {
        Some(QueueReply::Unfinished(jobs)) => jobs,
        // A queue that cannot hand jobs out keeps them.
        _ => Vec::new(),
    }
}

/// Asks the present life of the queue, or the next one if it dies over the question. `None` if there is no next one.
async fn ask<J: Send + Sync + 'static>(
    mut doors: watch::Receiver<Option<QueueDoor<J>>>,
    question: impl Fn() -> QueueCommand,
) -> Option<QueueReply<J>> {
    loop {
        let door = doors.borrow_and_update().clone();
        if let Some(door) = door
            && let Ok(reply) = door.command.clone().send(Command::new(question())).await
        {
            return Some(reply);
        }
        if doors.changed().await.is_err() {
            return None;
        }
    }
}
