//! A queue actor: a list of jobs behind the five messages of the queue protocol, and nothing else.
//!
//! It counts no attempts, knows no delays and has no dead letters; so its `Capabilities` are the `LEAST`. The one thing that
//! every queue must do: keep a job until it is told that the job's lease has ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Context, Handler, Recipient};
use consumer_group::events::QueueCounts;
use consumer_group::queue::{
    Attach, AttachError, Attached, Batch, Command, Demand, Epoch, LeaseId, Leased, Push, Pushed,
    QueueCommand, QueueReply, Refusal, Refused, Sealed, Settle, SettleReply, Verdict,
};

type Job = u32;

/// Jobs that the list holds at most.
const CAPACITY: usize = 10_000;

/// What outlives the actor. In a real queue: the broker, the database, the file.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Sealed<Job>>,
    leased: BTreeMap<LeaseId, Sealed<Job>>,
    next_lease: u64,
    /// The latest life of the supervisor. What an earlier one says does not count.
    epoch: Option<Epoch>,
    closed: bool,
}

/// The actor. It may die at any time.
pub(crate) struct PlainQueue {
    shelf: Arc<Shelf>,
    /// Where jobs go; nowhere before the first `Attach`.
    batches: Option<Recipient<Batch<Job>>>,
    /// How many jobs the supervisor takes.
    credit: usize,
}

impl Shelf {
    /// Jobs that are not done.
    pub(crate) fn len(&self) -> usize {
        let jobs = self.lock();
        jobs.waiting.len() + jobs.leased.len()
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlainQueue {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self {
            shelf,
            batches: None,
            credit: 0,
        }
    }

    /// Leases jobs to the supervisor, as many as it takes.
    fn hand_out(&mut self) {
        let shelf = Arc::clone(&self.shelf);
        let mut state = shelf.lock();
        let (Some(batches), Some(epoch)) = (&self.batches, state.epoch) else {
            return;
        };
        let mut jobs = Vec::new();
        while jobs.len() < self.credit
            && let Some(job) = state.waiting.pop_front()
        {
            state.next_lease += 1;
            let lease = LeaseId(state.next_lease);
            state.leased.insert(lease, Sealed::clone(&job));
            // Always 1: the group counts the attempts.
            jobs.push(Leased {
                lease,
                attempt: 1,
                job,
                suspect: false,
            });
        }
        self.credit -= jobs.len();
        if !jobs.is_empty() {
            batches.do_send(Batch::new(epoch, jobs));
        }
    }
}

impl Actor for PlainQueue {
    type Context = Context<Self>;
}

impl Handler<Attach<Job>> for PlainQueue {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<Job>, _: &mut Context<Self>) -> Self::Result {
        let mut jobs = self.shelf.lock();
        let mut returned = 0;
        match jobs.epoch {
            Some(known) if attach.epoch < known => return Err(AttachError::Superseded(known)),
            // The same supervisor, but this actor is a new one: the leases are still held.
            Some(known) if attach.epoch == known => {}
            _ => {
                let leased = std::mem::take(&mut jobs.leased);
                returned = leased.len();
                leased
                    .into_values()
                    .rev()
                    .for_each(|job| jobs.waiting.push_front(job));
                jobs.epoch = Some(attach.epoch);
            }
        }
        drop(jobs);
        self.batches = Some(attach.batches);
        self.credit = 0;
        Ok(Attached { returned })
    }
}

impl Handler<Push<Job>> for PlainQueue {
    type Result = Pushed<Job>;

    fn handle(&mut self, mut push: Push<Job>, _: &mut Context<Self>) -> Pushed<Job> {
        // Before `take` the jobs belong to the message: if this actor died with it, they would go to the next actor.
        let pushed = push.take_jobs();
        let mut refused = Vec::new();
        let mut jobs = self.shelf.lock();
        for job in pushed {
            if jobs.closed {
                let refusal = Refusal::Closed;
                refused.push(Refused { job, refusal });
            } else if jobs.waiting.len() + jobs.leased.len() >= CAPACITY {
                let refusal = Refusal::Full;
                refused.push(Refused { job, refusal });
            } else {
                jobs.waiting.push_back(job);
            }
        }
        drop(jobs);
        self.hand_out();
        Pushed { refused }
    }
}

impl Handler<Demand> for PlainQueue {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        if self.batches.is_some() && self.shelf.lock().epoch == Some(demand.epoch) {
            self.credit += demand.credit;
            self.hand_out();
        }
    }
}

impl Handler<Settle> for PlainQueue {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> SettleReply {
        let mut jobs = self.shelf.lock();
        if jobs.epoch != Some(settle.epoch) {
            let stale = settle.items.len();
            return SettleReply { stale };
        }
        let mut stale = 0;
        for item in settle.items.iter() {
            let known = match item.verdict {
                // The lease goes on.
                Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => {
                    jobs.leased.contains_key(&item.lease)
                }
                // The lease ends, and with it the job.
                Verdict::Ack | Verdict::Reject(_) => jobs.leased.remove(&item.lease).is_some(),
                // The lease ends and the job comes back.
                Verdict::Retry(_) => {
                    let job = jobs.leased.remove(&item.lease);
                    let known = job.is_some();
                    job.into_iter().for_each(|job| jobs.waiting.push_front(job));
                    known
                }
            };
            stale += usize::from(!known);
        }
        drop(jobs);
        self.hand_out();
        SettleReply { stale }
    }
}

impl Handler<Command<Job>> for PlainQueue {
    type Result = QueueReply<Job>;

    fn handle(&mut self, message: Command<Job>, _: &mut Context<Self>) -> QueueReply<Job> {
        let mut jobs = self.shelf.lock();
        match message.command {
            QueueCommand::Close => {
                jobs.closed = true;
                QueueReply::Done
            }
            QueueCommand::Counts => QueueReply::Counts(QueueCounts {
                ready: jobs.waiting.len(),
                leased: jobs.leased.len(),
                ..QueueCounts::default()
            }),
            QueueCommand::Detach(_) => QueueReply::Done,
            QueueCommand::TakeUnfinished => {
                let mut unfinished: Vec<_> = std::mem::take(&mut jobs.leased).into_values().collect();
                unfinished.extend(jobs.waiting.drain(..));
                QueueReply::Unfinished(unfinished)
            }
            QueueCommand::DeadLetters { .. } | QueueCommand::Requeue(_) | QueueCommand::Purge(_) => {
                QueueReply::Unsupported("this queue has no dead letters")
            }
        }
    }
}
