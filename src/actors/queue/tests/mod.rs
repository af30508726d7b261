//! The queue actor on a paused clock: nothing here sleeps, and what comes later comes at an exact moment.

mod flow;
mod life;
mod permits;

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use uuid::Uuid;

use super::{MemoryQueue, QueueSource, StoreQueue};
use crate::actors::Clock;
use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, DeadLetteredJobs, Demand, Push, Pushed, QueueCommand,
    QueueNews, QueueReply, Revoke, Settle, SettleReply,
};
use crate::rules::store::{DeadSelection, Leased, MemoryStore, Refusal, Store};
use crate::types::{
    DeadLetter, DeadReason, Epoch, EventKind, Job, JobId, JobRef, Moment, Overflow, QueueConfig, QueueCounts,
    Rejection, Retry, Verdict,
};
use crate::types::{Released, SettleItem};

/// Runs a test on a runtime whose clock moves only when everybody waits for it.
fn run(test: impl Future<Output = ()>) {
    let system = actix::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    });
    system.block_on(test);
}

/// Stands for the supervisor and for whoever hears news.
struct Desk {
    batches: UnboundedSender<Batch<u64>>,
    events: UnboundedSender<EventKind>,
    dead: UnboundedSender<DeadLetter<u64>>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Batch<u64>> for Desk {
    type Result = ();
    fn handle(&mut self, batch: Batch<u64>, _: &mut Context<Self>) {
        self.batches.send(batch).unwrap();
    }
}

impl Handler<Revoke> for Desk {
    type Result = MessageResult<Revoke>;

    fn handle(&mut self, _: Revoke, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Released::default())
    }
}

impl Handler<QueueNews> for Desk {
    type Result = ();
    fn handle(&mut self, tell: QueueNews, _: &mut Context<Self>) {
        for event in tell.events {
            self.events.send(event).unwrap();
        }
    }
}

impl Handler<DeadLetteredJobs<u64>> for Desk {
    type Result = ();
    fn handle(&mut self, dead_lettered: DeadLetteredJobs<u64>, _: &mut Context<Self>) {
        for letter in dead_lettered.dead {
            self.dead.send(letter).unwrap();
        }
    }
}

/// Answered when everything before it was handled.
#[derive(Message)]
#[rtype(result = "()")]
struct Ping;

impl Handler<Ping> for Desk {
    type Result = ();
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

#[derive(Message)]
#[rtype(result = "Option<Moment>")]
struct AskTimer;

impl<S: Store<u64>> Handler<AskTimer> for StoreQueue<u64, S> {
    type Result = MessageResult<AskTimer>;
    fn handle(&mut self, _: AskTimer, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.timer())
    }
}

/// A queue actor that can be killed, its source, and a desk.
struct Rig<S: Store<u64>> {
    source: super::StoreSource<u64, S>,
    clock: Clock,
    queue: Addr<StoreQueue<u64, S>>,
    life: tokio::task::JoinHandle<()>,
    desk: Addr<Desk>,
    batches: UnboundedReceiver<Batch<u64>>,
    events: UnboundedReceiver<EventKind>,
    dead: UnboundedReceiver<DeadLetter<u64>>,
    /// Who asked for how many jobs since it attached.
    demanded: Cell<(u64, u64)>,
}

fn spawn<S: Store<u64>>(
    source: &super::StoreSource<u64, S>,
    clock: Clock,
) -> (Addr<StoreQueue<u64, S>>, tokio::task::JoinHandle<()>) {
    let context = Context::new();
    let queue = context.address();
    let life = actix::spawn(context.into_future(source.create(clock)));
    (queue, life)
}

impl Rig<MemoryStore<u64>> {
    fn new(config: QueueConfig) -> Self {
        Self::over(MemoryQueue::new(config).unwrap())
    }
}

impl<S: Store<u64>> Rig<S> {
    fn over(source: super::StoreSource<u64, S>) -> Self {
        let (send_batches, batches) = unbounded_channel();
        let (send_events, events) = unbounded_channel();
        let (send_dead, dead) = unbounded_channel();
        let desk = Desk {
            batches: send_batches,
            events: send_events,
            dead: send_dead,
        };
        let clock = Clock::beginning_at(Moment::START);
        let (queue, life) = spawn(&source, clock);
        Self {
            source,
            clock,
            queue,
            life,
            desk: desk.start(),
            batches,
            events,
            dead,
            demanded: Cell::default(),
        }
    }

    /// Kills the actor in the middle of its life and makes another one over the same core.
    async fn kill(&mut self) {
        self.life.abort();
        let _ = (&mut self.life).await;
        assert!(!self.queue.connected());
        (self.queue, self.life) = spawn(&self.source, self.clock);
    }

    async fn attach(&self, epoch: u64) -> Result<Attached, AttachError> {
        let attach = Attach {
            epoch: Epoch(epoch),
            ceiling: 64,
            batches: self.desk.clone().recipient(),
            revoke: self.desk.clone().recipient(),
            tell: self.desk.clone().recipient(),
            dead_lettered: self.desk.clone().recipient(),
        };
        self.demanded.set((epoch, 0));
        self.queue.send(attach).await.unwrap()
    }

    /// Credit for so many jobs more.
    fn demand(&self, epoch: u64, credit: u64) {
        let (of, total) = self.demanded.get();
        let total = if of == epoch { total + credit } else { credit };
        self.demanded.set((epoch, total));
        self.queue.do_send(Demand {
            epoch: Epoch(epoch),
            total,
            urgent_total: 0,
            ceiling: 64,
        });
    }

    fn sealed(&self, number: u64, wishes: impl FnOnce(Job<u64>) -> Job<u64>) -> JobRef<u64> {
        let job = wishes(Job::new(number));
        JobRef::new(name(number), job, None, self.clock.now())
    }

    fn plain(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<JobRef<u64>> {
        numbers
            .into_iter()
            .map(|number| self.sealed(number, |job| job))
            .collect()
    }

    async fn push(&self, jobs: Vec<JobRef<u64>>) -> Pushed<u64> {
        let (push, _back) = Push::new(jobs);
        self.queue.send(push).await.unwrap()
    }

    async fn settle(&self, epoch: u64, leased: &Leased<u64>, verdict: Verdict) -> usize {
        let item = SettleItem {
            lease: leased.lease,
            attempt: leased.attempt,
            verdict,
        };
        let settle = Settle::new(Epoch(epoch), vec![item]);
        match self.queue.send(settle).await.unwrap() {
            SettleReply::Applied { refused } => refused.len(),
            SettleReply::LinkDown => panic!("there is no link to be down"),
        }
    }

    async fn command(&self, command: QueueCommand) -> QueueReply<u64> {
        self.queue.send(Command::new(command)).await.unwrap()
    }

    async fn counts(&self) -> QueueCounts {
        match self.command(QueueCommand::Counts).await {
            QueueReply::Counts(counts) => counts,
            other => panic!("{other:?}"),
        }
    }

    async fn requeue(&self, which: DeadSelection) -> Vec<JobId> {
        match self.command(QueueCommand::Requeue(which)).await {
            QueueReply::Requeued(jobs) => jobs,
            other => panic!("{other:?}"),
        }
    }

    async fn timer(&self) -> Option<Moment> {
        self.queue.send(AskTimer).await.unwrap()
    }

    /// The jobs of the next batch.
    async fn batch(&mut self) -> Vec<Leased<u64>> {
        self.batches
            .recv()
            .await
            .unwrap()
            .jobs
            .iter()
            .flat_map(Leased::one_by_one)
            .collect()
    }

    /// The next batch holds exactly these jobs.
    async fn expect(&mut self, expected: impl IntoIterator<Item = u64>) -> Vec<Leased<u64>> {
        let batch = self.batch().await;
        let numbers: Vec<u64> = batch.iter().map(|leased| *leased.job().payload()).collect();
        assert_eq!(numbers, expected.into_iter().collect::<Vec<u64>>());
        batch
    }

    /// Nothing more comes from what was said to the queue until now.
    async fn expect_nothing(&mut self) {
        self.counts().await;
        self.desk.send(Ping).await.unwrap();
        assert!(self.batches.try_recv().is_err());
    }
}

fn name(number: u64) -> JobId {
    JobId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn retry(after_ms: u64) -> Verdict {
    Verdict::Retry(Box::new(Retry {
        after: Duration::from_millis(after_ms),
        counts: true,
        record: None,
    }))
}

fn reject() -> Verdict {
    Verdict::Reject(Box::new(Rejection {
        reason: DeadReason::Rejected("no".into()),
        record: None,
    }))
}
