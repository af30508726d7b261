//! The actor: the queue protocol on this side of the link.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler};

use super::client::{UNAVAILABLE, refused};
use super::{Shared, State};
use crate::actors::Clock;
use crate::actors::queue::Wake;
use crate::protocol::{
    Attach, AttachError, Attached, Command, Demand, Later, Push, Pushed, QueueCommand, QueueReply, Settle,
    SettleReply,
};
use crate::rules::store::Refusal;
use crate::types::{DeadLetter, Moment};

/// How long a word takes to the broker.
const WAY: Duration = Duration::from_millis(1);

/// One life of a [`RemoteQueue`](super::RemoteQueue).
pub struct RemoteQueueActor<J: Send + Sync + 'static> {
    shared: Arc<Shared<J>>,
    clock: Clock,
}

impl<J: Send + Sync + 'static> RemoteQueueActor<J> {
    pub(super) fn new(shared: Arc<Shared<J>>, clock: Clock) -> Self {
        Self { shared, clock }
    }

    fn operate<R>(&self, context: &mut Context<Self>, work: impl FnOnce(&mut State<J>, Moment) -> R) -> R {
        let now = self.clock.now();
        let mut state = self.shared.lock();
        let result = work(&mut state, now);
        state.go_on(now);
        let due = state.next_due(now);
        state.shell.wake_at(context, now, due);
        result
    }
}

impl<J: Send + Sync + 'static> fmt::Debug for RemoteQueueActor<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueueActor").finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static> Actor for RemoteQueueActor<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let wake = context.address().recipient().downgrade();
        self.operate(context, |state, _| state.shell.woken_by(wake));
    }
}

impl<J: Send + Sync + 'static> Handler<Wake> for RemoteQueueActor<J> {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        self.shared.lock().shell.woken(context);
        self.operate(context, |_, _| ());
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for RemoteQueueActor<J> {
    type Result = Later<Pushed<J>>;

    fn handle(&mut self, mut push: Push<J>, context: &mut Context<Self>) -> Later<Pushed<J>> {
        self.operate(context, |state, now| {
            let jobs = push.take_jobs();
            if state.shell.is_closed() {
                return Later::now(refused(jobs, Refusal::Closed));
            }
            if !state.client.has_link() {
                return Later::now(refused(jobs, UNAVAILABLE));
            }
            let answered = state.client.push(jobs, now.after(WAY));
            Later::new(async move { answered.await.ok() })
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for RemoteQueueActor<J> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, context: &mut Context<Self>) -> Self::Result {
        self.operate(context, |state, now| {
            let is_same = state.shell.is_attached(attach.epoch);
            // What an earlier supervisor said last arrives before its leases end, on the same link.
            state.arrive(now);
            let State { shell, broker, .. } = state;
            let attached = shell.attach(attach, || broker.requeue_all().len());
            if is_same && attached.is_ok() {
                // The leases of the last link have died with it.
                state.tell_that_all_is_lost();
            }
            attached
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for RemoteQueueActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, context: &mut Context<Self>) {
        self.operate(context, |state, _| state.shell.demand(demand));
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for RemoteQueueActor<J> {
    type Result = Later<SettleReply>;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> Later<SettleReply> {
        self.operate(context, |state, now| {
            if !state.client.has_link() {
                return Later::now(SettleReply::LinkDown);
            }
            let answered = state.client.settle(settle, now.after(WAY));
            Later::new(async move { answered.await.ok() })
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for RemoteQueueActor<J> {
    type Result = QueueReply<J>;

    fn handle(&mut self, command: Command<J>, context: &mut Context<Self>) -> QueueReply<J> {
        self.operate(context, |state, now| match command.command {
            QueueCommand::Close => state.shell.close(),
            QueueCommand::Counts => QueueReply::Counts(state.broker.counts(now)),
            QueueCommand::Goodbye { epoch, .. } => {
                state.arrive(now);
                if state.shell.goodbye(epoch) {
                    state.broker.requeue_all();
                }
                QueueReply::Done
            }
            QueueCommand::TakeUnfinished => {
                state.arrive(now);
                QueueReply::Unfinished(state.broker.take_unfinished())
            }
            QueueCommand::DeadLetters { most } => state.broker.dead_letters(most),
            QueueCommand::Requeue(which) => {
                let back = state.broker.take_dead(&which);
                let ids = back.iter().map(DeadLetter::id).collect();
                back.into_iter().for_each(|letter| state.broker.keep(letter.job));
                QueueReply::Requeued(ids)
            }
            QueueCommand::Jobs(_) => QueueReply::Unsupported("a broker lists no jobs"),
            QueueCommand::Purge(which) => QueueReply::Purged(state.broker.take_dead(&which).len()),
        })
    }
}
