//! What is said to a queue, and what a queue says.
//!
//! ```text
//! intake      ──Push────────▶ QUEUE    answered by Pushed
//! supervisor  ──Attach──────▶ QUEUE    answered by Attached, once for each life of the supervisor or the queue
//! supervisor  ──Demand──────▶ QUEUE    answered by Batch messages as jobs come, until the credit is used up
//! supervisor  ──Settle──────▶ QUEUE    answered by SettleReply; sent again if the queue was restarted before it answered
//! QUEUE       ──Revoke──────▶ supervisor  answered by Released; only by a queue whose leases can die
//! group       ──QueueCommand▶ QUEUE    answered by QueueReply
//! ```

use std::sync::Arc;

use actix::{Actor, Handler, Message, Recipient};
use tokio::sync::oneshot;

use super::Handover;
use super::queue_command::Command;
use crate::rules::store::{Leased, Refused, RefusedSettle, SettleRefusal};
use crate::types::{
    AckedPlaces, DeadLetter, Epoch, EventKind, JobRef, LeaseId, Released, RevokeKind, Revoked, Run,
    SettleItem, UnreadableJob,
};

/// Jobs for the queue. The queue takes them out of the handover and keeps them, or gives them back in the answer.
#[derive(Debug)]
pub struct Push<J> {
    /// The jobs, in the order in which they were sent.
    pub runs: Handover<Vec<Run<J>>>,
}

impl<J: Send + Sync + 'static> Push<J> {
    /// A push of these jobs; the receiver gets them back if nobody takes them, and an error if somebody did.
    pub fn new<R: Into<Run<J>>>(runs: Vec<R>) -> (Self, oneshot::Receiver<Vec<Run<J>>>) {
        let (runs, back) = Handover::new(runs.into_iter().map(Into::into).collect());
        (Self { runs }, back)
    }

    /// Takes the jobs one by one, for a queue that knows no blocks; from here on they are the queue's to keep.
    pub fn take_jobs(&mut self) -> Vec<JobRef<J>> {
        let runs = self.runs.take().unwrap_or_default();
        runs.into_iter().flat_map(Run::into_jobs).collect()
    }
}

/// The answer to [`Push`]: every job that is not in it was accepted.
#[derive(Debug)]
pub struct Pushed<J> {
    /// The jobs that were not taken.
    pub refused: Vec<Refused<J>>,
}

impl<J: Send + Sync + 'static> Message for Push<J> {
    type Result = Pushed<J>;
}

/// A supervisor takes the queue into service. All leases of earlier epochs are taken back, credit that was given before is
/// void (also by the same epoch), jobs are counted from zero, and batches go to this recipient from now on.
///
/// A queue that was restarted is attached again in the same epoch; then nothing is taken back: the supervisor still holds
/// its leases and sends again what was not answered.
#[derive(Debug)]
pub struct Attach<J: Send + Sync + 'static> {
    /// The life of the supervisor.
    pub epoch: Epoch,
    /// The most jobs that the group can have leased at once: what a broker's prefetch may be. [`Demand`] tells it again when
    /// the group grows or shrinks.
    pub ceiling: usize,
    /// Where batches go.
    pub batches: Recipient<Batch<J>>,
    /// Where the queue takes leases back.
    pub revoke: Recipient<Revoke>,
    /// Where the queue tells what it did by itself.
    pub tell: Recipient<QueueNews>,
    /// Where the queue tells which jobs became dead letters, for whoever waits for their outcome.
    pub dead_lettered: Recipient<DeadLetteredJobs<J>>,
}

/// The answer to [`Attach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// Leases of earlier epochs that were taken back.
    pub returned: usize,
}

impl<J: Send + Sync + 'static> Message for Attach<J> {
    type Result = Result<Attached, AttachError>;
}

/// Why a queue cannot be attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A later epoch is attached already: the sender is a supervisor that was replaced.
    #[error("{0} is attached, which is later")]
    Superseded(Epoch),
    /// The queue cannot work, for the reason given; the group tries again after a backoff.
    #[error("the queue is out of order: {0}")]
    OutOfOrder(String),
}

/// How many jobs the queue may hand out in all. It has credit while it has handed out less.
///
/// Totals count from the last [`Attach`], and so do both sides: the queue what it hands out in [`Batch`] messages, the
/// supervisor what arrives. A greater total is credit for more jobs. A smaller one takes credit back that is not used up, at a
/// pause, a drain or a scale down; if more than that has been handed out already, those jobs are under way and are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Demand {
    /// The life of the supervisor; a demand of another epoch than the attached one is ignored.
    pub epoch: Epoch,
    /// How many jobs the supervisor takes in all, without those that used up `urgent_total`.
    pub total: u64,
    /// How many urgent jobs (of a priority above 0) it takes in all beyond that, while there is no other credit left: they
    /// overtake what waits for a consumer. A queue may let it lie; then urgent jobs wait for credit.
    pub urgent_total: u64,
    /// As [`Attach::ceiling`], as it is now.
    pub ceiling: usize,
}

/// Leased jobs, at most as many as there is credit.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Batch<J: Send + Sync + 'static> {
    /// The epoch to which they are leased.
    pub epoch: Epoch,
    /// The jobs, in order.
    pub jobs: Vec<Leased<J>>,
    /// How many of them used up [`Demand::urgent_total`] instead of credit.
    pub beyond_credit: usize,
}

impl<J: Send + Sync + 'static> Batch<J> {
    /// A batch of jobs that were leased.
    pub fn new(epoch: Epoch, jobs: Vec<Leased<J>>) -> Self {
        Self {
            epoch,
            jobs,
            beyond_credit: 0,
        }
    }
}

/// Verdicts on leases, applied in order. Sending it twice is harmless: the second time every item is refused.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The life of the supervisor; a settle of an earlier epoch is stale as a whole.
    pub epoch: Epoch,
    /// The verdicts. Shared, because the supervisor keeps them until they are answered.
    pub items: Arc<Vec<SettleItem>>,
    /// Jobs of blocks that were done; empty for a queue that leases no blocks.
    pub acked: Arc<Vec<AckedPlaces>>,
}

impl Settle {
    /// Verdicts on jobs that were leased one by one.
    pub fn new(epoch: Epoch, items: Vec<SettleItem>) -> Self {
        Self {
            epoch,
            items: Arc::new(items),
            acked: Arc::default(),
        }
    }

    /// How many leases it is about.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        let in_blocks: usize = self.acked.iter().map(|acked| acked.places.len()).sum();
        self.items.len() + in_blocks
    }

    /// The leases that it is about, each with the attempt.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, u32)> + '_ {
        let in_blocks = self
            .acked
            .iter()
            .flat_map(|acked| acked.places.iter().map(|place| (acked.lease.of_place(place), 1)));
        let alone = self.items.iter().map(|item| (item.lease, item.attempt));
        in_blocks.chain(alone)
    }

    /// The answer if none of it counts, because it is of another life of the supervisor than the attached one.
    pub fn superseded(&self) -> SettleReply {
        let refuse = |(lease, attempt)| RefusedSettle {
            lease,
            attempt,
            why: SettleRefusal::Stale,
        };
        SettleReply::Applied {
            refused: self.leases().map(refuse).collect(),
        }
    }
}

/// The answer to [`Settle`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleReply {
    /// The verdicts were applied.
    Applied {
        /// But for these, which changed nothing.
        refused: Vec<RefusedSettle>,
    },
    /// The verdicts did not reach whoever keeps the jobs, and will not: every lease that they are about is lost. They are not
    /// sent again; the jobs come again when the link is back.
    LinkDown,
}

impl SettleReply {
    /// Every verdict was applied.
    pub const APPLIED: Self = Self::Applied { refused: Vec::new() };
}

impl Message for Settle {
    type Result = SettleReply;
}

/// The queue takes leases back: its link broke, or a broker gives the jobs to others. Answered by what became of them: at once
/// if they are lost, else when none of them is with a consumer any more and the queue has answered every verdict on them, or at
/// the deadline. A queue must go on reading while it waits for the answer, since those verdicts come to it meanwhile.
///
/// A lease that was revoked is over for the group: the job is never handed out again under it. What is settled later counts for
/// nothing, and the queue hears nothing of it. It comes after the [`Batch`] that brought the leases, since both go to the same
/// actor, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// The epoch to which they are leased; a revoke of another one is answered and does nothing.
    pub epoch: Epoch,
    /// Which leases.
    pub what: Revoked,
    /// How.
    pub kind: RevokeKind,
}

impl Message for Revoke {
    type Result = Released;
}

/// What a queue did by itself, for the events.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct QueueNews {
    /// What happened, in order.
    pub events: Vec<EventKind>,
    /// Jobs that cannot be read, from a queue without dead letters: the group keeps them.
    pub unreadable: Vec<UnreadableJob>,
}

/// Jobs that became dead letters, for whoever waits for their outcome. The queue sends all of them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DeadLetteredJobs<J: Send + Sync + 'static> {
    /// The dead letters.
    pub dead: Vec<DeadLetter<J>>,
}

/// The role of a queue. Every actor that handles the five messages fills it; there is nothing else to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a queue actor for jobs of type `{J}`",
    note = "a queue actor handles `Push<J>`, `Attach<J>`, `Demand`, `Settle` and `Command<J>` of `consumer_group::queue`",
    note = "for a queue that is a plain data structure implement `Store<J>` instead and use `StoreQueue`"
)]
pub trait QueueActor<J: Send + Sync + 'static>:
    Actor<Context = actix::Context<Self>>
    + Handler<Push<J>>
    + Handler<Attach<J>>
    + Handler<Demand>
    + Handler<Settle>
    + Handler<Command<J>>
{
}

impl<J: Send + Sync + 'static, A> QueueActor<J> for A where
    A: Actor<Context = actix::Context<Self>>
        + Handler<Push<J>>
        + Handler<Attach<J>>
        + Handler<Demand>
        + Handler<Settle>
        + Handler<Command<J>>
{
}
