//! The rig: stands where the intake and the supervisor stand, and can kill the queue actor.

use std::collections::VecDeque;

use actix::{Actor, Addr, Message, Recipient};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

mod desk;
mod pushing;
mod settling;

use desk::Desk;

use crate::actors::Clock;
use crate::actors::cell::{CellHandle, CellHooks, spawn_in_cell};
use crate::actors::queue::QueueSource;
use crate::protocol::{Attach, AttachError, Attached, Batch, Demand, QueueAddr, QueueReply};
use crate::rules::job_ids::JobIds;
use crate::rules::store::Leased;
use crate::testing::conformance::queue::QueueTraits;
use crate::testing::conformance::runner::{Held, Pace, Remarks, Stop, ensure};
use crate::types::{
    Capabilities, Cause, DeadLetter, DeadReason, Epoch, Rejection, Renewal, Retry, Run, SettleItem, Verdict,
};

/// Where the jobs of a push come back to if nobody takes them.
pub(in crate::testing::conformance::queue) type WayBack = oneshot::Receiver<Vec<Run<u64>>>;

/// One life of the queue actor.
struct Life {
    door: QueueAddr<u64>,
    cell: CellHandle,
    down: oneshot::Receiver<Cause>,
}

pub(in crate::testing::conformance::queue) struct Rig<S: QueueSource<u64>> {
    source: S,
    clock: Clock,
    life: Life,
    desk: Addr<Desk>,
    batches: UnboundedReceiver<Batch<u64>>,
    dead: UnboundedReceiver<DeadLetter<u64>>,
    /// Leased jobs that came and that no check has taken yet.
    come: VecDeque<Leased<u64>>,
    /// How many jobs the supervisor has asked for since it attached.
    total: u64,
    /// The life of the supervisor for which the rig stands.
    pub(in crate::testing::conformance::queue) epoch: u64,
    names: JobIds,
    pub(in crate::testing::conformance::queue) claims: Capabilities,
    pub(in crate::testing::conformance::queue) traits: QueueTraits,
    pub(in crate::testing::conformance::queue) pace: Pace,
    pub(in crate::testing::conformance::queue) remarks: Remarks,
}

fn start<S: QueueSource<u64>>(source: &S, clock: Clock) -> Held<Life> {
    let (cell, seed) = CellHandle::new();
    let (tell, mut down) = oneshot::channel();
    let hooks = CellHooks {
        ended: Box::new(|_| {}),
        down: Box::new(move |cause| {
            // An error means that the check has ended.
            let _ = tell.send(cause);
        }),
    };
    match spawn_in_cell(seed, hooks, true, |_| source.create(clock)) {
        Some(address) => Ok(Life {
            door: QueueAddr::new(address),
            cell,
            down,
        }),
        None => {
            let cause = down.try_recv().unwrap_or(Cause::Stopped);
            Err(Stop::Broken(format!("the queue actor {cause}")))
        }
    }
}

impl<S: QueueSource<u64>> Rig<S> {
    pub(in crate::testing::conformance::queue) fn new(
        source: S,
        traits: QueueTraits,
        pace: Pace,
        remarks: Remarks,
    ) -> Held<Self> {
        let (send_batches, batches) = unbounded_channel();
        let (send_dead, dead) = unbounded_channel();
        let clock = Clock::start();
        let life = start(&source, clock)?;
        let desk = Desk {
            batches: send_batches,
            dead: send_dead,
        };
        Ok(Self {
            claims: source.capabilities(),
            source,
            clock,
            life,
            desk: desk.start(),
            batches,
            dead,
            come: VecDeque::new(),
            total: 0,
            epoch: 1,
            names: JobIds::new(1),
            traits,
            pace,
            remarks,
        })
    }

    /// Sends a message and waits for the answer.
    async fn ask<M>(&mut self, to: &Recipient<M>, message: M, name: &str) -> Held<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let what = format!("the answer to {name}");
        match self.pace.wait(&what, to.send(message)).await? {
            Ok(answer) => Ok(answer),
            Err(_) => Err(Stop::Broken(match self.life.down.try_recv() {
                Ok(cause) => format!("the queue actor did not outlive {name}: {cause}"),
                Err(_) => format!("the queue actor dropped {name} without an answer"),
            })),
        }
    }

    /// Ends the queue actor as a fault would.
    pub(in crate::testing::conformance::queue) async fn end(&mut self) -> Held {
        self.life.cell.end(Cause::Killed);
        self.pace
            .wait("the end of the queue actor", &mut self.life.down)
            .await
            .map(|_| ())
    }

    /// Makes the next life from the same source.
    pub(in crate::testing::conformance::queue) fn start_again(&mut self) -> Held {
        self.life = start(&self.source, self.clock)?;
        Ok(())
    }

    /// Kills the actor, makes the next one, and attaches it again in the same epoch, as a group does.
    pub(in crate::testing::conformance::queue) async fn kill(&mut self) -> Held {
        self.end().await?;
        self.start_again()?;
        let returned = self.attach(self.epoch).await?;
        ensure(returned == 0, || {
            format!("after a restart it took {returned} leases of the living epoch back")
        })
    }

    pub(in crate::testing::conformance::queue) async fn try_attach(
        &mut self,
        epoch: u64,
    ) -> Held<Result<Attached, AttachError>> {
        let attach = Attach {
            epoch: Epoch(epoch),
            ceiling: 64,
            batches: self.desk.clone().recipient(),
            revoke: self.desk.clone().recipient(),
            tell: self.desk.clone().recipient(),
            dead_lettered: self.desk.clone().recipient(),
        };
        let to = self.life.door.attach.clone();
        self.ask(&to, attach, "Attach").await
    }

    /// Attaches in this epoch; says how many leases were taken back.
    pub(in crate::testing::conformance::queue) async fn attach(&mut self, epoch: u64) -> Held<usize> {
        match self.try_attach(epoch).await? {
            Ok(attached) => {
                (self.epoch, self.total) = (epoch, 0);
                Ok(attached.returned)
            }
            Err(error) => Err(Stop::Broken(format!(
                "the attach of epoch {epoch} was refused: {error}"
            ))),
        }
    }

    /// Asks for so many jobs more.
    pub(in crate::testing::conformance::queue) fn demand(&mut self, credit: usize) {
        self.total += credit as u64;
        self.demand_as(self.epoch, self.total);
    }

    /// Takes back what so many jobs were asked for, as far as they have not come.
    pub(in crate::testing::conformance::queue) fn take_back_credit(&mut self, credit: usize) {
        self.total -= credit as u64;
        self.demand_as(self.epoch, self.total);
    }

    pub(in crate::testing::conformance::queue) fn demand_as(&self, epoch: u64, total: u64) {
        self.life.door.demand.do_send(Demand {
            epoch: Epoch(epoch),
            total,
            urgent_total: 0,
            ceiling: 64,
        });
    }

    fn note(&mut self, batch: Batch<u64>) -> Held {
        ensure(batch.epoch == Epoch(self.epoch), || {
            format!(
                "a batch came for {} while {} is attached",
                batch.epoch,
                Epoch(self.epoch)
            )
        })?;
        self.come.extend(batch.jobs.iter().flat_map(Leased::one_by_one));
        Ok(())
    }

    /// The next `jobs` leased jobs; waits for them.
    pub(in crate::testing::conformance::queue) async fn take(
        &mut self,
        jobs: usize,
    ) -> Held<Vec<Leased<u64>>> {
        while self.come.len() < jobs {
            let what = format!("job {} of {jobs}", self.come.len() + 1);
            let Some(batch) = self.pace.wait(&what, self.batches.recv()).await? else {
                return Err(Stop::Broken("the desk has gone".into()));
            };
            self.note(batch)?;
        }
        Ok(self.come.drain(..jobs).collect())
    }

    /// Asks for jobs and gets exactly these, in this order (any order, if the queue claims none).
    pub(in crate::testing::conformance::queue) async fn expect(
        &mut self,
        expected: impl IntoIterator<Item = u64>,
    ) -> Held<Vec<Leased<u64>>> {
        let expected: Vec<u64> = expected.into_iter().collect();
        self.demand(expected.len());
        self.expect_come(expected).await
    }

    /// As [`expect`](Self::expect), of credit that was given before.
    pub(in crate::testing::conformance::queue) async fn expect_come(
        &mut self,
        expected: Vec<u64>,
    ) -> Held<Vec<Leased<u64>>> {
        let leased = self.take(expected.len()).await?;
        let (mut found, mut wanted) = (numbers(&leased), expected);
        if !self.traits.fifo {
            found.sort_unstable();
            wanted.sort_unstable();
        }
        ensure(found == wanted, || {
            format!("expected the jobs {wanted:?}, and these came: {found:?}")
        })?;
        Ok(leased)
    }

    /// Nothing more comes.
    pub(in crate::testing::conformance::queue) async fn quiet(&mut self, why: &str) -> Held {
        tokio::time::sleep(self.pace.quiet).await;
        while let Ok(batch) = self.batches.try_recv() {
            self.note(batch)?;
        }
        let come: Vec<_> = self.come.iter().map(|leased| *leased.job().payload()).collect();
        ensure(come.is_empty(), || format!("{why}, and the jobs {come:?} came"))
    }
}

pub(in crate::testing::conformance::queue) fn wrong(command: &str, reply: &QueueReply<u64>) -> Stop {
    Stop::Broken(format!("{command} was answered with {reply:?}"))
}

pub(in crate::testing::conformance::queue) fn numbers(leased: &[Leased<u64>]) -> Vec<u64> {
    leased.iter().map(|leased| *leased.job().payload()).collect()
}

pub(in crate::testing::conformance::queue) fn item(leased: &Leased<u64>, verdict: &Verdict) -> SettleItem {
    SettleItem {
        lease: leased.lease,
        attempt: leased.attempt,
        verdict: verdict.clone(),
    }
}

pub(in crate::testing::conformance::queue) fn retry(after: std::time::Duration, counts: bool) -> Verdict {
    Verdict::Retry(Box::new(Retry {
        after,
        counts,
        record: None,
    }))
}

pub(in crate::testing::conformance::queue) fn renew(counts: bool) -> Verdict {
    Verdict::Renew(Box::new(Renewal { counts, record: None }))
}

pub(in crate::testing::conformance::queue) fn reject() -> Verdict {
    Verdict::Reject(Box::new(Rejection {
        reason: DeadReason::Rejected("by the suite".into()),
        record: None,
    }))
}
