//! The actor of a manual queue.

use std::fmt;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler};

use super::state::State;
use super::{SettleAnswers, Shared};
use crate::actors::Clock;
use crate::actors::queue::Wake;
use crate::protocol::{
    Attach, AttachError, Attached, Command, Demand, Later, Push, Pushed, QueueReply, Settle, SettleReply,
};
use crate::types::Moment;

/// One life of a [`ManualQueue`](super::ManualQueue).
pub struct ManualQueueActor<J: Send + Sync + 'static> {
    pub(super) shared: Arc<Shared<J>>,
    pub(super) clock: Clock,
}

impl<J: Send + Sync + 'static> fmt::Debug for ManualQueueActor<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualQueueActor").finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static> ManualQueueActor<J> {
    /// Does something; sets a timer for the next delay that ends, if the queue runs by itself.
    fn operate<R>(&self, context: &mut Context<Self>, work: impl FnOnce(&mut State<J>, Moment) -> R) -> R {
        let now = self.clock.now();
        let result = self.shared.change(|state| work(state, now));
        let mut state = self.shared.lock();
        if state.is_automatic {
            let due = state.delayed.next_due();
            state.shell.wake_at(context, now, due);
        }
        result
    }
}

impl<J: Send + Sync + 'static> Actor for ManualQueueActor<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.notify(Wake);
    }
}

impl<J: Send + Sync + 'static> Handler<Wake> for ManualQueueActor<J> {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        self.shared.lock().shell.woken(context);
        self.operate(context, |state, now| {
            if state.is_automatic {
                state.ripen(now);
            }
        });
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for ManualQueueActor<J> {
    type Result = Pushed<J>;

    fn handle(&mut self, push: Push<J>, context: &mut Context<Self>) -> Pushed<J> {
        self.operate(context, |state, _| state.push(push))
    }
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for ManualQueueActor<J> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, context: &mut Context<Self>) -> Self::Result {
        self.operate(context, |state, _| state.attach(attach))
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for ManualQueueActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, context: &mut Context<Self>) {
        self.operate(context, |state, _| state.shell.demand(demand));
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for ManualQueueActor<J> {
    type Result = Later<SettleReply>;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> Later<SettleReply> {
        let reply = self.operate(context, |state, now| {
            (state.answers != SettleAnswers::Never && !state.is_silent).then(|| state.settle(now, &settle))
        });
        match reply {
            Some(reply) => Later::now(reply),
            None => Later::new(std::future::pending()),
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for ManualQueueActor<J> {
    type Result = Later<QueueReply<J>>;

    fn handle(&mut self, command: Command<J>, context: &mut Context<Self>) -> Self::Result {
        let is_silent = self.shared.lock().is_silent;
        let reply = self.operate(context, |state, _| state.command(command.command));
        match is_silent {
            false => Later::now(reply),
            true => Later::new(std::future::pending()),
        }
    }
}
