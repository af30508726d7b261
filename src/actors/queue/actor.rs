//! The queue actor over a store.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message};

use super::core::{QueueCore, State};
use super::shell::Wake;
use crate::actors::Clock;
use crate::protocol::{
    Attach, AttachError, Attached, Command, Demand, Push, Pushed, QueueCommand, QueueReply, Settle,
    SettleReply,
};
use crate::rules::store::Store;
use crate::types::{Moment, Run, SettleItem, Verdict};

/// Jobs that wait for the end of the poll before they are handed on, at most. The mailbox is emptied in one poll, however
/// long that takes; without this bound a busy producer could keep the consumers waiting.
const MOST_UNFLUSHED: usize = 256;

/// The queue actor. Everything that must outlive it is in the [`QueueCore`]; kill it and make another one over the same
/// core, and nothing is lost.
///
/// ```text
/// Push, Push, Push ─▶ [ store ] ─ at the end of the poll ─▶ one Batch, as large as the credit
/// ```
pub struct StoreQueue<J: Send + Sync + 'static, S: Store<J>> {
    core: Arc<QueueCore<J, S>>,
    clock: Clock,
    /// Jobs pushed since the last flush.
    unflushed: usize,
    /// Whether a flush is on its way to the end of this poll.
    flush_queued: bool,
}

/// To itself, once for all messages of a poll: hand on what is ready.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl<J: Send + Sync + 'static, S: Store<J>> StoreQueue<J, S> {
    /// An actor over this core. If there was one before, the clock of the first one goes on.
    pub fn new(core: Arc<QueueCore<J, S>>, clock: Clock) -> Self {
        core.lock().shell.new_life();
        Self {
            clock: core.clock_or(clock),
            core,
            unflushed: 0,
            flush_queued: false,
        }
    }

    /// Does one operation on the core, then passes on what it told and sets the timer. Says also whether jobs can be handed
    /// out.
    fn operate<R>(
        &mut self,
        context: &mut Context<Self>,
        work: impl FnOnce(&mut State<J, S>, Moment) -> R,
    ) -> (R, bool) {
        let now = self.clock.now();
        let mut state = self.core.lock();
        let result = work(&mut state, now);
        state.settle_account();
        state.shell.tell();
        let due = state.next_due();
        state.shell.wake_at(context, now, due);
        (result, state.most() > 0)
    }

    /// The moment for which the timer is set, if it is.
    #[cfg(test)]
    pub(super) fn timer(&self) -> Option<Moment> {
        self.core.lock().shell.timer()
    }

    /// Hands ready jobs on at the end of this poll, with everything else that this poll brings.
    fn flush_soon(&mut self, context: &mut Context<Self>) {
        if !self.flush_queued {
            self.flush_queued = true;
            context.notify(Flush);
        }
    }

    /// Hands ready jobs on, as many as there is credit for.
    fn flush(&mut self, context: &mut Context<Self>) {
        self.unflushed = 0;
        self.operate(context, State::hand_out);
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Actor for StoreQueue<J, S> {
    type Context = Context<Self>;

    /// The store may hold jobs that wait for their time, from an earlier actor or an earlier process.
    fn started(&mut self, context: &mut Context<Self>) {
        self.operate(context, State::wake);
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Push<J>> for StoreQueue<J, S> {
    type Result = Pushed<J>;

    fn handle(&mut self, mut message: Push<J>, context: &mut Context<Self>) -> Pushed<J> {
        let runs = message.runs.take().unwrap_or_default();
        self.unflushed += runs.iter().map(Run::len).sum::<usize>();
        let (refused, has_credit) = self.operate(context, |state, now| state.push(now, runs));
        if self.unflushed >= MOST_UNFLUSHED {
            self.flush(context);
        } else if has_credit {
            self.flush_soon(context);
        }
        Pushed { refused }
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Attach<J>> for StoreQueue<J, S> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<J>, context: &mut Context<Self>) -> Self::Result {
        self.operate(context, |state, now| state.attach(now, attach)).0
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Demand> for StoreQueue<J, S> {
    type Result = ();

    fn handle(&mut self, demand: Demand, context: &mut Context<Self>) {
        self.unflushed = 0;
        self.operate(context, |state, now| {
            state.shell.demand(demand);
            state.hand_out(now);
        });
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Settle> for StoreQueue<J, S> {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> SettleReply {
        let (reply, has_credit) = self.operate(context, |state, now| state.settle(now, &settle));
        let retries = |item: &SettleItem| matches!(item.verdict, Verdict::Retry(_));
        if has_credit && settle.items.iter().any(retries) {
            self.flush_soon(context);
        }
        reply
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Command<J>> for StoreQueue<J, S> {
    type Result = QueueReply<J>;

    fn handle(&mut self, message: Command<J>, context: &mut Context<Self>) -> QueueReply<J> {
        let requeues = matches!(message.command, QueueCommand::Requeue(_));
        let (reply, has_credit) = self.operate(context, |state, now| state.command(now, message.command));
        if has_credit && requeues {
            self.flush_soon(context);
        }
        reply
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Flush> for StoreQueue<J, S> {
    type Result = ();

    fn handle(&mut self, _: Flush, context: &mut Context<Self>) {
        self.flush_queued = false;
        self.flush(context);
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Wake> for StoreQueue<J, S> {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        self.core.lock().shell.woken(context);
        self.operate(context, State::wake);
        self.flush(context);
    }
}
