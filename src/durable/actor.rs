//! The queue actor: the messages of the protocol, answered when the disk has them.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use super::core::{Core, LookFailure, Pushing, Then, lock};
use super::engine::Change;
use super::state::State;
use crate::actors::queue::Wake;
use crate::protocol::{
    Attach, AttachError, Attached, Command, Demand, Later, Push, Pushed, QueueCommand, QueueReply, Settle,
    SettleReply,
};
use crate::types::{JobPage, Moment};

/// The actor of a [`DurableQueue`](super::DurableQueue). Everything that must outlive it is in the core.
pub struct DurableActor<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
}

/// An answer and the call that gives it, for when the disk has it.
fn later<R: Send + 'static>(answer: R) -> (Then, Later<R>) {
    let (tell, told) = oneshot::channel();
    let then = Box::new(move || {
        // An error means that nobody waits any more.
        let _ = tell.send(answer);
    });
    (then, Later::new(async move { told.await.ok() }))
}

impl<J: Send + Sync + 'static> DurableActor<J> {
    pub(super) fn new(core: Arc<Core<J>>) -> Self {
        lock(&core.state).shell.new_life();
        Self { core }
    }

    /// Does one operation on the index, whose answer is given when the disk has its changes.
    fn operate<R: Send + 'static>(
        &self,
        context: &mut Context<Self>,
        work: impl FnOnce(&mut State<J>, Moment, &mut Vec<Change>) -> R,
    ) -> Later<R> {
        let done = self.core.operate(|state, now, changes| {
            let (then, told) = later(work(state, now, changes));
            (told, Some(then))
        });
        self.set_timer(context);
        done.unwrap_or_else(|_| writer_gone(context))
    }

    fn set_timer(&self, context: &mut Context<Self>) {
        let mut state = lock(&self.core.state);
        let (now, due) = (state.now(), state.next_due());
        state.shell.wake_at(context, now, due);
    }

    /// Leases as many ready jobs as there is credit for. They are handed on when the disk knows that they are leased: a job
    /// that ends the whole process has used up an attempt.
    fn flush(&self, context: &mut Context<Self>) {
        let mut needed = Vec::new();
        let leased = self.core.operate(|state, now, changes| {
            let jobs = state.lease(now, changes, &mut needed);
            let hand_out = (!jobs.is_empty()).then(|| Box::new(state.shell.hand_out_later(jobs)) as Then);
            ((), hand_out)
        });
        self.core.load(needed);
        self.set_timer(context);
        if leased.is_err() {
            drop(writer_gone::<()>(context));
        }
    }
}

/// The thread has ended, so nothing can be promised any more: the actor ends too, and its restart budget with it.
fn writer_gone<R: 'static>(context: &mut impl ActorContext) -> Later<R> {
    tracing::error!("the thread that writes the queue has ended");
    context.terminate();
    Later::new(std::future::ready(None))
}

impl<J: Send + Sync + 'static> Actor for DurableActor<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let waker = context.address().recipient().downgrade();
        lock(&self.core.state).shell.woken_by(waker);
        context.notify(Wake);
    }
}

impl<J: Send + Sync + 'static> Handler<Wake> for DurableActor<J> {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        lock(&self.core.state).shell.woken(context);
        let woken = self.core.operate(|state, now, changes| {
            state.wake(now, changes);
            ((), None)
        });
        match woken {
            Ok(()) => self.flush(context),
            Err(_) => drop(writer_gone::<()>(context)),
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for DurableActor<J> {
    type Result = Later<Pushed<J>>;

    fn handle(&mut self, message: Push<J>, context: &mut Context<Self>) -> Self::Result {
        if message.runs.peek().is_none_or(Vec::is_empty) {
            return Later::now(Pushed { refused: Vec::new() });
        }
        let (answer, told) = oneshot::channel();
        match self.core.push(Pushing::new(message.runs, answer)) {
            Err(_) => writer_gone(context),
            Ok(()) => Later::new(async move {
                let refused = told.await.ok()?.refused();
                Some(Pushed { refused })
            }),
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for DurableActor<J> {
    type Result = Later<Result<Attached, AttachError>>;

    fn handle(&mut self, attach: Attach<J>, context: &mut Context<Self>) -> Self::Result {
        self.operate(context, |state, _, changes| state.attach(attach, changes))
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for DurableActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, context: &mut Context<Self>) {
        lock(&self.core.state).shell.demand(demand);
        self.flush(context);
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for DurableActor<J> {
    type Result = Later<SettleReply>;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> Self::Result {
        let reply = self.operate(context, |state, now, changes| state.settle(now, &settle, changes));
        // A retry may be ready at once.
        self.flush(context);
        reply
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for DurableActor<J> {
    type Result = Later<QueueReply<J>>;

    fn handle(&mut self, message: Command<J>, context: &mut Context<Self>) -> Self::Result {
        if let QueueCommand::Jobs(query) = message.command {
            let core = Arc::clone(&self.core);
            return Later::new(async move {
                match core.look(query).await {
                    Ok(page) => Some(QueueReply::Jobs(Ok(page))),
                    Err(LookFailure::File(error)) => Some(QueueReply::Jobs(Err(error.to_string().into()))),
                    Err(LookFailure::Gone) => None,
                }
            });
        }
        let reply = self.operate(context, |state, now, changes| match message.command {
            QueueCommand::Close => state.shell.close(),
            QueueCommand::Counts => QueueReply::Counts(state.counts()),
            QueueCommand::DeadLetters { most } => QueueReply::DeadLetters(state.dead_letters(most)),
            // Answered above: it is the thread that reads.
            QueueCommand::Jobs(_) => QueueReply::Jobs(Ok(JobPage::default())),
            QueueCommand::Requeue(which) => QueueReply::Requeued(state.requeue(now, &which, changes)),
            QueueCommand::Purge(which) => QueueReply::Purged(state.purge(&which, changes)),
            QueueCommand::Goodbye { epoch, .. } => {
                state.goodbye(epoch, changes);
                QueueReply::Done
            }
            QueueCommand::TakeUnfinished => {
                QueueReply::Unsupported("the jobs stay on disk for the next group over this queue")
            }
        });
        self.flush(context);
        reply
    }
}
