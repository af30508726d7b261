//! The queue actor over a store.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};

use super::core::{QueueCore, State};
use crate::actors::Clock;
use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, Demand, Fates, Push, Pushed, QueueCommand, QueueReply,
    Settle, SettleReply, Tell,
};
use crate::rules::store::{LeasedRun, Store};
use crate::words::{Epoch, Load, Moment, SettleItem, Verdict};

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
    /// The supervisor. Set by an attach, replaced by the next one. A new actor has none until it is attached again.
    link: Option<Link<J>>,
    /// How many jobs the supervisor still takes. Grows by demands, shrinks by batches, void after an attach.
    credit: usize,
    /// Jobs pushed since the last flush.
    unflushed: usize,
    /// Whether a flush is on its way to the end of this poll.
    flush_queued: bool,
    /// The one timer, if something becomes due by itself, and the moment for which it is set. It may be early: then it
    /// is set again.
    timer: Option<(Moment, SpawnHandle)>,
}

/// Where batches and news go.
struct Link<J: Send + Sync + 'static> {
    epoch: Epoch,
    batches: Recipient<Batch<J>>,
    tell: Recipient<Tell>,
    fates: Recipient<Fates<J>>,
}

/// To itself, once for all messages of a poll: hand on what is ready.
#[derive(Message)]
#[rtype(result = "()")]
struct Flush;

impl<J: Send + Sync + 'static, S: Store<J>> StoreQueue<J, S> {
    /// An actor over this core. If there was one before, the clock of the first one goes on.
    pub fn new(core: Arc<QueueCore<J, S>>, clock: Clock) -> Self {
        Self {
            clock: core.clock_or(clock),
            core,
            link: None,
            credit: 0,
            unflushed: 0,
            flush_queued: false,
            timer: None,
        }
    }

    /// Does one operation on the core, then passes on what it told and sets the timer.
    fn operate<R>(&mut self, ctx: &mut Context<Self>, work: impl FnOnce(&mut State<J, S>, Moment) -> R) -> R {
        let now = self.clock.now();
        let done = self.core.operate(|state| work(state, now));
        if done.news {
            self.pass_on_news();
        }
        self.set_timer(ctx, now, done.due);
        done.result
    }

    /// Sends the news to whoever is there to take them; the rest stays in the core.
    fn pass_on_news(&self) {
        let (events, dead) = self.link.as_ref().map_or((false, false), |link| {
            (link.tell.connected(), link.fates.connected())
        });
        let news = self.core.take_news(events, dead);
        let Some(link) = &self.link else { return };
        if !news.events.is_empty() {
            link.tell.do_send(Tell { events: news.events });
        }
        if !news.dead.is_empty() {
            link.fates.do_send(Fates { dead: news.dead });
        }
    }

    /// Keeps at most one timer. One that is early is left alone, since it costs less than to replace it each time.
    fn set_timer(&mut self, ctx: &mut Context<Self>, now: Moment, due: Option<Moment>) {
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
            ctx.cancel_future(handle);
        }
        if let Some(due) = due {
            let wait = due.since(now).clamp(SHORTEST, LONGEST);
            let handle = ctx.run_later(wait, |queue, ctx| queue.timer_fired(ctx));
            self.timer = Some((due, handle));
        }
    }

    fn timer_fired(&mut self, ctx: &mut Context<Self>) {
        self.timer = None;
        self.operate(ctx, |state, now| state.wake(now));
        self.flush(ctx);
    }

    /// The moment for which the timer is set, if it is.
    #[cfg(test)]
    pub(super) fn timer(&self) -> Option<Moment> {
        self.timer.map(|(moment, _)| moment)
    }

    /// Hands ready jobs on at the end of this poll, with everything else that this poll brings.
    fn flush_soon(&mut self, ctx: &mut Context<Self>) {
        if self.credit > 0 && !self.flush_queued {
            self.flush_queued = true;
            ctx.notify(Flush);
        }
    }

    /// Hands ready jobs on, as many as there is credit for.
    fn flush(&mut self, ctx: &mut Context<Self>) {
        self.unflushed = 0;
        let Some(epoch) = self.link.as_ref().map(|link| link.epoch) else {
            return;
        };
        if self.credit == 0 {
            return;
        }
        let credit = self.credit;
        for run in self.operate(ctx, |state, now| state.lease(now, epoch, credit)) {
            let batch = match run {
                LeasedRun::Jobs(jobs) => Batch::new(epoch, jobs),
                LeasedRun::Blocks(blocks) => Batch {
                    blocks,
                    ..Batch::new(epoch, Vec::new())
                },
            };
            let in_blocks: usize = batch.blocks.iter().map(|leased| leased.places.len()).sum();
            self.credit = self.credit.saturating_sub(batch.jobs.len() + in_blocks);
            if let Some(link) = &self.link {
                // If the supervisor is gone, the jobs come back when the next one attaches.
                link.batches.do_send(batch);
            }
        }
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Actor for StoreQueue<J, S> {
    type Context = Context<Self>;

    /// The store may hold jobs that wait for their time, from an earlier actor or an earlier process.
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.operate(ctx, |state, now| state.wake(now));
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Push<J>> for StoreQueue<J, S> {
    type Result = Pushed<J>;

    fn handle(&mut self, mut message: Push<J>, ctx: &mut Context<Self>) -> Pushed<J> {
        let loads = message.loads.take().unwrap_or_default();
        self.unflushed += loads.iter().map(Load::len).sum::<usize>();
        let refused = self.operate(ctx, |state, now| state.push(now, loads));
        if self.unflushed < MOST_UNFLUSHED {
            self.flush_soon(ctx);
        } else {
            self.flush(ctx);
        }
        Pushed { refused }
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Attach<J>> for StoreQueue<J, S> {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, message: Attach<J>, ctx: &mut Context<Self>) -> Self::Result {
        let epoch = message.epoch;
        let attached = self.operate(ctx, |state, now| state.attach(now, epoch))?;
        self.link = Some(Link {
            epoch,
            batches: message.batches,
            tell: message.tell,
            fates: message.fates,
        });
        self.credit = 0;
        self.pass_on_news();
        Ok(attached)
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Demand> for StoreQueue<J, S> {
    type Result = ();

    fn handle(&mut self, demand: Demand, ctx: &mut Context<Self>) {
        if self.link.as_ref().is_some_and(|link| link.epoch == demand.epoch) {
            self.credit = self.credit.saturating_add(demand.credit);
            self.flush(ctx);
        }
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Settle> for StoreQueue<J, S> {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, ctx: &mut Context<Self>) -> SettleReply {
        let reply = self.operate(ctx, |state, now| state.settle(now, &settle));
        let retries = |item: &SettleItem| matches!(item.verdict, Verdict::Retry(_));
        if settle.items.iter().any(retries) {
            self.flush_soon(ctx);
        }
        reply
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Command<J>> for StoreQueue<J, S> {
    type Result = QueueReply<J>;

    fn handle(&mut self, message: Command<J>, ctx: &mut Context<Self>) -> QueueReply<J> {
        let requeues = matches!(message.command, QueueCommand::Requeue(_));
        let reply = self.operate(ctx, |state, now| state.command(now, message.command));
        if requeues {
            self.flush_soon(ctx);
        }
        reply
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> Handler<Flush> for StoreQueue<J, S> {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) {
        self.flush_queued = false;
        self.flush(ctx);
    }
}
