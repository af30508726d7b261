//! The rig: stands where the intake and the supervisor stand, and can kill the queue actor.

use std::collections::VecDeque;

use actix::dev::RecipientRequest;
use actix::{Actor, Addr, Context, Handler, Message, MessageResult, Recipient};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::QueueTraits;
use crate::actors::Clock;
use crate::actors::cell::{CellHandle, CellHooks, spawn_in_cell};
use crate::actors::queue::QueueSource;
use crate::protocol::{
    Attach, AttachError, Attached, Batch, Command, DeadLetteredJobs, Demand, Push, QueueAddr, QueueCommand,
    QueueNews, QueueReply, Revoke, Settle, SettleReply,
};
use crate::rules::job_ids::JobIds;
use crate::rules::store::{Leased, Refused};
use crate::testing::conformance::runner::{Held, Pace, Remarks, Stop, ensure};
use crate::types::{
    Capabilities, Cause, DeadLetter, DeadReason, Epoch, Job, JobRef, QueueCounts, Rejection, Released,
    Renewal, Retry, Run, SettleItem, Verdict,
};

/// Where the jobs of a push come back to if nobody takes them.
pub(super) type WayBack = oneshot::Receiver<Vec<Run<u64>>>;

/// Hears what the queue says.
struct Desk {
    batches: UnboundedSender<Batch<u64>>,
    dead: UnboundedSender<DeadLetter<u64>>,
}

impl Actor for Desk {
    type Context = Context<Self>;
}

impl Handler<Batch<u64>> for Desk {
    type Result = ();

    fn handle(&mut self, batch: Batch<u64>, _: &mut Context<Self>) {
        // An error means that the check has ended.
        let _ = self.batches.send(batch);
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

    fn handle(&mut self, _: QueueNews, _: &mut Context<Self>) {}
}

impl Handler<DeadLetteredJobs<u64>> for Desk {
    type Result = ();

    fn handle(&mut self, dead_lettered: DeadLetteredJobs<u64>, _: &mut Context<Self>) {
        for letter in dead_lettered.dead {
            // An error means that the check has ended.
            let _ = self.dead.send(letter);
        }
    }
}

/// One life of the queue actor.
struct Life {
    door: QueueAddr<u64>,
    cell: CellHandle,
    down: oneshot::Receiver<Cause>,
}

pub(super) struct Rig<S: QueueSource<u64>> {
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
    pub(super) epoch: u64,
    names: JobIds,
    pub(super) claims: Capabilities,
    pub(super) traits: QueueTraits,
    pub(super) pace: Pace,
    pub(super) remarks: Remarks,
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
    pub(super) fn new(source: S, traits: QueueTraits, pace: Pace, remarks: Remarks) -> Held<Self> {
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
    pub(super) async fn end(&mut self) -> Held {
        self.life.cell.end(Cause::Killed);
        self.pace
            .wait("the end of the queue actor", &mut self.life.down)
            .await
            .map(|_| ())
    }

    /// Makes the next life from the same source.
    pub(super) fn start_again(&mut self) -> Held {
        self.life = start(&self.source, self.clock)?;
        Ok(())
    }

    /// Kills the actor, makes the next one, and attaches it again in the same epoch, as a group does.
    pub(super) async fn kill(&mut self) -> Held {
        self.end().await?;
        self.start_again()?;
        let returned = self.attach(self.epoch).await?;
        ensure(returned == 0, || {
            format!("after a restart it took {returned} leases of the living epoch back")
        })
    }

    pub(super) async fn try_attach(&mut self, epoch: u64) -> Held<Result<Attached, AttachError>> {
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
    pub(super) async fn attach(&mut self, epoch: u64) -> Held<usize> {
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

    pub(super) fn seal(&mut self, number: u64, wishes: impl FnOnce(Job<u64>) -> Job<u64>) -> JobRef<u64> {
        let now = self.clock.now();
        let name = self.names.next(now.as_millis());
        JobRef::new(name, wishes(Job::new(number)), None, now)
    }

    /// Takes permits as a sender does.
    async fn take_room(&mut self, jobs: usize) -> Held {
        let Some(room) = self.source.room() else {
            return Ok(());
        };
        ensure(jobs <= room.capacity, || {
            format!(
                "the suite needs room for {jobs} jobs, and the queue has room for {}",
                room.capacity
            )
        })?;
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        let permits = self.pace.wait("room for jobs", room.semaphore.acquire_many(jobs));
        match permits.await? {
            Ok(permits) => permits.forget(),
            Err(_) => return Err(Stop::Broken("the room of the queue was closed".into())),
        }
        Ok(())
    }

    /// How many jobs fit in, if the queue says so.
    pub(super) fn room(&self) -> Option<usize> {
        self.source.room().map(|room| room.semaphore.available_permits())
    }

    pub(super) async fn push_sealed(&mut self, jobs: Vec<JobRef<u64>>) -> Held<Vec<Refused<u64>>> {
        self.take_room(jobs.len()).await?;
        let (push, _back) = Push::new(jobs);
        let to = self.life.door.push.clone();
        Ok(self.ask(&to, push, "Push").await?.refused)
    }

    /// Pushes jobs with these numbers; all must be taken.
    pub(super) async fn push(&mut self, numbers: impl IntoIterator<Item = u64>) -> Held {
        let jobs: Vec<_> = numbers
            .into_iter()
            .map(|number| self.seal(number, |job| job))
            .collect();
        self.push_all(jobs).await
    }

    pub(super) async fn push_all(&mut self, jobs: Vec<JobRef<u64>>) -> Held {
        let refused = self.push_sealed(jobs).await?;
        match refused.first() {
            None => Ok(()),
            Some(first) => Err(Stop::Broken(format!(
                "it refused job {}: {}",
                first.job.payload(),
                first.refusal
            ))),
        }
    }

    /// Sends a push without waiting for the answer. Gives what comes back if nobody takes the jobs, and the answer.
    pub(super) async fn push_and_go(
        &mut self,
        jobs: Vec<JobRef<u64>>,
    ) -> Held<(WayBack, RecipientRequest<Push<u64>>)> {
        self.take_room(jobs.len()).await?;
        let (push, back) = Push::new(jobs);
        Ok((back, self.life.door.push.send(push)))
    }

    /// Asks for so many jobs more.
    pub(super) fn demand(&mut self, credit: usize) {
        self.total += credit as u64;
        self.demand_as(self.epoch, self.total);
    }

    /// Takes back what so many jobs were asked for, as far as they have not come.
    pub(super) fn take_back_credit(&mut self, credit: usize) {
        self.total -= credit as u64;
        self.demand_as(self.epoch, self.total);
    }

    pub(super) fn demand_as(&self, epoch: u64, total: u64) {
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
    pub(super) async fn take(&mut self, jobs: usize) -> Held<Vec<Leased<u64>>> {
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
    pub(super) async fn expect(&mut self, expected: impl IntoIterator<Item = u64>) -> Held<Vec<Leased<u64>>> {
        let expected: Vec<u64> = expected.into_iter().collect();
        self.demand(expected.len());
        self.expect_come(expected).await
    }

    /// As [`expect`](Self::expect), of credit that was given before.
    pub(super) async fn expect_come(&mut self, expected: Vec<u64>) -> Held<Vec<Leased<u64>>> {
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
    pub(super) async fn quiet(&mut self, why: &str) -> Held {
        tokio::time::sleep(self.pace.quiet).await;
        while let Ok(batch) = self.batches.try_recv() {
            self.note(batch)?;
        }
        let come: Vec<_> = self.come.iter().map(|leased| *leased.job().payload()).collect();
        ensure(come.is_empty(), || format!("{why}, and the jobs {come:?} came"))
    }

    /// Sends verdicts; says how many were refused.
    pub(super) async fn settle_as(&mut self, epoch: u64, items: Vec<SettleItem>) -> Held<usize> {
        let settle = Settle::new(Epoch(epoch), items);
        let to = self.life.door.settle.clone();
        match self.ask(&to, settle, "Settle").await? {
            SettleReply::Applied { refused } => Ok(refused.len()),
            SettleReply::LinkDown => Err(Stop::Broken("it says that its link is down".into())),
        }
    }

    /// Sends one verdict on each lease; all must count.
    pub(super) async fn settle(&mut self, leased: &[Leased<u64>], verdict: &Verdict) -> Held {
        let items = leased.iter().map(|leased| item(leased, verdict)).collect();
        let stale = self.settle_as(self.epoch, items).await?;
        ensure(stale == 0, || {
            format!(
                "{stale} of {} verdicts on living leases were refused as stale",
                leased.len()
            )
        })
    }

    pub(super) async fn ack(&mut self, leased: &[Leased<u64>]) -> Held {
        self.settle(leased, &Verdict::Ack).await
    }

    pub(super) async fn command(&mut self, command: QueueCommand) -> Held<QueueReply<u64>> {
        let to = self.life.door.command.clone();
        self.ask(&to, Command::new(command), "Command").await
    }

    /// What the queue says that it holds; `None` if it does not count.
    pub(super) async fn counts(&mut self) -> Held<Option<QueueCounts>> {
        match self.command(QueueCommand::Counts).await? {
            QueueReply::Counts(counts) => Ok(Some(counts)),
            QueueReply::Unsupported(_) => Ok(None),
            other => Err(wrong("Counts", &other)),
        }
    }

    /// The numbers of the dead letters.
    pub(super) async fn letters(&mut self) -> Held<Vec<DeadLetter<u64>>> {
        match self.command(QueueCommand::DeadLetters { most: 100 }).await? {
            QueueReply::DeadLetters(letters) => Ok(letters),
            other => Err(wrong("DeadLetters", &other)),
        }
    }

    /// The next job of which the queue tells that it is dead.
    pub(super) async fn told_dead(&mut self) -> Held<DeadLetter<u64>> {
        let letter = self
            .pace
            .wait("the word of a dead letter (DeadLetteredJobs)", self.dead.recv());
        letter
            .await?
            .ok_or_else(|| Stop::Broken("the desk has gone".into()))
    }
}

pub(super) fn wrong(command: &str, reply: &QueueReply<u64>) -> Stop {
    Stop::Broken(format!("{command} was answered with {reply:?}"))
}

pub(super) fn numbers(leased: &[Leased<u64>]) -> Vec<u64> {
    leased.iter().map(|leased| *leased.job().payload()).collect()
}

pub(super) fn item(leased: &Leased<u64>, verdict: &Verdict) -> SettleItem {
    SettleItem {
        lease: leased.lease,
        attempt: leased.attempt,
        verdict: verdict.clone(),
    }
}

pub(super) fn retry(after: std::time::Duration, counts: bool) -> Verdict {
    Verdict::Retry(Box::new(Retry {
        after,
        counts,
        record: None,
    }))
}

pub(super) fn renew(counts: bool) -> Verdict {
    Verdict::Renew(Box::new(Renewal { counts, record: None }))
}

pub(super) fn reject() -> Verdict {
    Verdict::Reject(Box::new(Rejection {
        reason: DeadReason::Rejected("by the suite".into()),
        record: None,
    }))
}
