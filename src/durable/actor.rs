//! The queue actor: the messages of the protocol, answered when the disk has them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use tokio::sync::oneshot;

use super::core::{Core, Pushing, Then, lock};
use super::engine::Change;
use super::wake::Wake;
use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, Demand, Fates, Push, Pushed, QueueCommand, QueueReply,
    Settle, SettleReply, Tell,
};
use crate::words::{Epoch, Moment};

/// News that are kept at most while nobody is attached.
const MOST_NEWS: usize = 65_536;

/// The actor of a [`DurableQueue`](super::DurableQueue). Everything that must outlive it is in the core.
pub struct DurableActor<J: Send + Sync + 'static> {
    core: Arc<Core<J>>,
    /// The supervisor. Set by an attach, replaced by the next one.
    link: Option<Link<J>>,
    /// How many jobs the supervisor still takes.
    credit: usize,
    /// The one timer, if something becomes due by itself. It may be early: then it is set again.
    timer: Option<(Moment, SpawnHandle)>,
}

/// Where batches and news go.
struct Link<J: Send + Sync + 'static> {
    epoch: Epoch,
    batches: Recipient<Batch<J>>,
    tell: Recipient<Tell>,
    fates: Recipient<Fates<J>>,
}

/// An answer that comes when the disk has what it is about. If it never comes (the writing thread is gone), the sender is
/// told as if the actor had died.
pub struct Later<R>(Pin<Box<dyn Future<Output = Option<R>>>>);

impl<R: 'static> Later<R> {
    fn now(answer: R) -> Self {
        Self(Box::pin(std::future::ready(Some(answer))))
    }

    fn of(answer: oneshot::Receiver<R>) -> Self {
        Self(Box::pin(async move { answer.await.ok() }))
    }
}

impl<J: Send + Sync + 'static, M> MessageResponse<DurableActor<J>, M> for Later<M::Result>
where
    M: Message,
    M::Result: 'static,
{
    fn handle(self, _: &mut Context<DurableActor<J>>, sender: Option<OneshotSender<M::Result>>) {
        let Some(sender) = sender else { return };
        // Not a future of the actor: it shall answer also if the actor dies meanwhile.
        actix_rt::spawn(async move {
            if let Some(answer) = self.0.await {
                // An error means that nobody waits any more.
                let _ = sender.send(answer);
            }
        });
    }
}

/// An answer and the call that gives it, for when the disk has it.
fn later<R: Send + 'static>(answer: R) -> (Then, Later<R>) {
    let (tell, told) = oneshot::channel();
    let then = Box::new(move || {
        // An error means that nobody waits any more.
        let _ = tell.send(answer);
    });
    (then, Later::of(told))
}

impl<J: Send + Sync + 'static> DurableActor<J> {
    pub(super) fn new(core: Arc<Core<J>>) -> Self {
        Self {
            core,
            link: None,
            credit: 0,
            timer: None,
        }
    }

    /// Does one operation on the index, whose answer is given when the disk has its changes.
    fn operate<R: Send + 'static>(
        &mut self,
        context: &mut Context<Self>,
        work: impl FnOnce(&mut super::state::State<J>, Moment, &mut Vec<Change>) -> R,
    ) -> Later<R> {
        let done = self.core.operate(|state, now, changes| {
            let (then, told) = later(work(state, now, changes));
            (told, Some(then))
        });
        self.after(context);
        match done {
            Ok(told) => told,
            Err(_) => self.writer_gone(context),
        }
    }

    /// The thread has ended, so nothing can be promised any more: the actor ends too, and its restart budget with it.
    fn writer_gone<R: 'static>(&mut self, context: &mut Context<Self>) -> Later<R> {
        tracing::error!("the thread that writes the queue has ended");
        actix::ActorContext::terminate(context);
        Later(Box::pin(std::future::ready(None)))
    }

    /// After every operation: passes on the news and sets the timer.
    fn after(&mut self, context: &mut Context<Self>) {
        let (now, due) = {
            let mut state = lock(&self.core.state);
            let (now, due) = (state.clock.now(), state.next_due());
            let news = &mut state.news;
            match &self.link {
                Some(link) => {
                    if !news.events.is_empty() {
                        let events = std::mem::take(&mut news.events);
                        link.tell.do_send(Tell { events });
                    }
                    if !news.dead.is_empty() {
                        let dead = std::mem::take(&mut news.dead);
                        link.fates.do_send(Fates { dead });
                    }
                }
                None => {
                    drop_oldest(&mut news.events);
                    drop_oldest(&mut news.dead);
                }
            }
            (now, due)
        };
        self.set_timer(context, now, due);
    }

    fn set_timer(&mut self, context: &mut Context<Self>, now: Moment, due: Option<Moment>) {
        /// What timers can tell apart.
        const SHORTEST: Duration = Duration::from_millis(1);
        /// Whatever is later is looked at again then.
        const LONGEST: Duration = Duration::from_secs(24 * 3600);

        if let (Some(due), Some((set, _))) = (due, self.timer)
            && set <= due
        {
            return;
        }
        if let Some((_, handle)) = self.timer.take() {
            context.cancel_future(handle);
        }
        if let Some(due) = due {
            let wait = due.since(now).clamp(SHORTEST, LONGEST);
            let handle = context.run_later(wait, |queue, context| {
                queue.timer = None;
                queue.wake(context);
            });
            self.timer = Some((due, handle));
        }
    }

    fn wake(&mut self, context: &mut Context<Self>) {
        let woken = self.core.operate(|state, now, changes| {
            state.wake(now, changes);
            ((), None)
        });
        if woken.is_err() {
            drop(self.writer_gone::<()>(context));
            return;
        }
        self.after(context);
        self.flush(context);
    }

    /// Leases as many ready jobs as there is credit for. They are handed on when the disk knows that they are leased: a job
    /// that ends the whole process has used up an attempt.
    fn flush(&mut self, context: &mut Context<Self>) {
        let Some(link) = self.link.as_ref().filter(|_| self.credit > 0) else {
            return;
        };
        let (epoch, batches, credit) = (link.epoch, link.batches.clone(), self.credit);
        let mut needed = Vec::new();
        let leased = self.core.operate(|state, now, changes| {
            let jobs = state.lease(now, epoch, credit, changes, &mut needed);
            let count = jobs.len();
            let hand_on: Then = Box::new(move || {
                // If the supervisor is gone, the jobs come back when the next one attaches.
                batches.do_send(Batch::new(epoch, jobs));
            });
            (count, (count > 0).then_some(hand_on))
        });
        match leased {
            Ok(count) => self.credit = self.credit.saturating_sub(count),
            Err(_) => drop(self.writer_gone::<()>(context)),
        }
        self.core.load(needed);
        self.after(context);
    }
}

fn drop_oldest<T>(news: &mut Vec<T>) {
    if news.len() > MOST_NEWS {
        let surplus = news.len() - MOST_NEWS / 2;
        news.drain(..surplus);
        tracing::warn!(
            surplus,
            "nobody is attached to the queue: the oldest news are dropped"
        );
    }
}

impl<J: Send + Sync + 'static> Actor for DurableActor<J> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let actor = context.address().recipient().downgrade();
        lock(&self.core.state).actor = Some(actor);
        self.wake(context);
    }
}

impl<J: Send + Sync + 'static> Handler<Wake> for DurableActor<J> {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Context<Self>) {
        self.after(context);
        self.flush(context);
    }
}

impl<J: Send + Sync + 'static> Handler<Push<J>> for DurableActor<J> {
    type Result = Later<Pushed<J>>;

    fn handle(&mut self, message: Push<J>, context: &mut Context<Self>) -> Self::Result {
        if message.loads.peek().is_none_or(Vec::is_empty) {
            return Later::now(Pushed { refused: Vec::new() });
        }
        let (answer, told) = oneshot::channel();
        let loads = message.loads;
        match self.core.push(Pushing::new(loads, answer)) {
            Err(_) => self.writer_gone(context),
            Ok(()) => Later(Box::pin(async move {
                let refused = told.await.ok()?.refused();
                Some(Pushed { refused })
            })),
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Attach<J>> for DurableActor<J> {
    type Result = Later<Result<Attached, AttachError>>;

    fn handle(&mut self, message: Attach<J>, context: &mut Context<Self>) -> Self::Result {
        let epoch = message.epoch;
        let known = {
            let state = lock(&self.core.state);
            (state.epoch, state.is_attached)
        };
        if epoch < known.0 {
            return Later::now(Err(AttachError::Superseded(known.0)));
        }
        self.link = Some(Link {
            epoch,
            batches: message.batches,
            tell: message.tell,
            fates: message.fates,
        });
        self.credit = 0;
        let is_new = (epoch, true) != known;
        self.operate(context, |state, _, changes| {
            let returned = if is_new { state.take_back(changes) } else { 0 };
            if is_new {
                state.attached(epoch, changes);
            }
            Ok(Attached { returned })
        })
    }
}

impl<J: Send + Sync + 'static> Handler<Demand> for DurableActor<J> {
    type Result = ();

    fn handle(&mut self, demand: Demand, context: &mut Context<Self>) {
        if self.link.as_ref().is_some_and(|link| link.epoch == demand.epoch) {
            self.credit = self.credit.saturating_add(demand.credit);
            self.flush(context);
        }
    }
}

impl<J: Send + Sync + 'static> Handler<Settle> for DurableActor<J> {
    type Result = Later<SettleReply>;

    fn handle(&mut self, settle: Settle, context: &mut Context<Self>) -> Self::Result {
        let reply = self.operate(context, |state, now, changes| {
            state.settle(now, settle.epoch, &settle.items, changes)
        });
        // A retry may be ready at once.
        self.flush(context);
        reply
    }
}

impl<J: Send + Sync + 'static> Handler<Command<J>> for DurableActor<J> {
    type Result = Later<QueueReply<J>>;

    fn handle(&mut self, message: Command<J>, context: &mut Context<Self>) -> Self::Result {
        let reply = self.operate(context, |state, now, changes| match message.command {
            QueueCommand::Close => {
                state.closed = true;
                QueueReply::Done
            }
            QueueCommand::Counts => QueueReply::Counts(state.counts()),
            QueueCommand::DeadLetters { most } => QueueReply::DeadLetters(state.dead_letters(most)),
            QueueCommand::Requeue(which) => QueueReply::Requeued(state.requeue(now, &which, changes)),
            QueueCommand::Purge(which) => QueueReply::Purged(state.purge(&which, changes)),
            QueueCommand::Detach(epoch) => {
                state.detach_from(epoch, changes);
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
