//! A queue actor: a list of jobs behind the five messages of the queue protocol, and nothing else.
//!
//! It counts no attempts, knows no delays and has no dead letters; so its `Capabilities` are the `LEAST`. The one thing that
//! every queue must do: keep a job until it is told that the job's lease has ended. Who is attached, and how many jobs they
//! take, the `QueueShell` knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Context, Handler};
use consumer_group::events::QueueCounts;
use consumer_group::queue::{
    Attach, AttachError, Attached, Command, Demand, JobRef, LeaseTable, Leased, Push, Pushed, QueueCommand,
    QueueReply, QueueShell, Refusal, Refused, Settle, SettleReply, Settled, Verdict,
};

type Job = u64;

/// Jobs that the list holds at most.
const CAPACITY: usize = 10_000;

/// What outlives the actor. In a real queue: the broker, the database, the file.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Jobs>);

#[derive(Default)]
struct Jobs {
    shell: QueueShell<Job>,
    /// By age: a job that comes back stands where it stood before.
    waiting: BTreeMap<u64, JobRef<Job>>,
    leased: LeaseTable<(u64, JobRef<Job>)>,
    next: u64,
}

/// The actor. It may die at any time.
pub(crate) struct PlainQueue {
    shelf: Arc<Shelf>,
}

impl Shelf {
    /// Jobs that are not done.
    #[allow(dead_code, reason = "not everybody who shows this queue asks")]
    pub(crate) fn len(&self) -> usize {
        self.operate(|jobs| jobs.waiting.len() + jobs.leased.len())
    }

    fn operate<R>(&self, work: impl FnOnce(&mut Jobs) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PlainQueue {
    pub(crate) fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf }
    }

    /// Does something with the jobs, then leases to the supervisor as many as it takes.
    fn operate<R>(&self, work: impl FnOnce(&mut Jobs) -> R) -> R {
        self.shelf.operate(|jobs| {
            let answer = work(jobs);
            jobs.hand_out();
            answer
        })
    }
}

impl Jobs {
    fn hand_out(&mut self) {
        let mut leased = Vec::new();
        while leased.len() < self.shell.credit()
            && let Some((place, job)) = self.waiting.pop_first()
        {
            let lease = self.leased.begin((place, JobRef::clone(&job)));
            // The attempt is always 1: the group counts.
            leased.push(Leased::one(lease, 1, job));
        }
        self.shell.hand_out(leased);
    }
}

impl Actor for PlainQueue {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.operate(|jobs| jobs.shell.new_life());
    }
}

impl Handler<Attach<Job>> for PlainQueue {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, attach: Attach<Job>, _: &mut Context<Self>) -> Self::Result {
        self.operate(|jobs| {
            let returned = jobs.leased.len();
            jobs.shell.attach(attach, || {
                jobs.waiting.extend(jobs.leased.end_all());
                returned
            })
        })
    }
}

impl Handler<Push<Job>> for PlainQueue {
    type Result = Pushed<Job>;

    fn handle(&mut self, push: Push<Job>, _: &mut Context<Self>) -> Pushed<Job> {
        self.operate(|jobs| {
            jobs.shell.push(push, |job| {
                if jobs.waiting.len() + jobs.leased.len() >= CAPACITY {
                    let refusal = Refusal::Full;
                    return Err(Refused { job, refusal });
                }
                jobs.waiting.insert(jobs.next, job);
                jobs.next += 1;
                Ok(())
            })
        })
    }
}

impl Handler<Demand> for PlainQueue {
    type Result = ();

    fn handle(&mut self, demand: Demand, _: &mut Context<Self>) {
        self.operate(|jobs| jobs.shell.demand(demand));
    }
}

impl Handler<Settle> for PlainQueue {
    type Result = SettleReply;

    fn handle(&mut self, settle: Settle, _: &mut Context<Self>) -> SettleReply {
        self.operate(|jobs| {
            jobs.shell.settle(&settle, |item, _| {
                Settled::applied(match item.verdict {
                    // The lease goes on.
                    Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => {
                        jobs.leased.get_mut(item.lease).is_some()
                    }
                    // The lease ends, and with it the job.
                    Verdict::Ack | Verdict::Reject(_) => jobs.leased.end(item.lease).is_some(),
                    // The lease ends and the job comes back.
                    Verdict::Retry(_) => {
                        let back = jobs.leased.end(item.lease);
                        let is_known = back.is_some();
                        jobs.waiting.extend(back);
                        is_known
                    }
                })
            })
        })
    }
}

impl Handler<Command<Job>> for PlainQueue {
    type Result = QueueReply<Job>;

    fn handle(&mut self, message: Command<Job>, _: &mut Context<Self>) -> QueueReply<Job> {
        self.operate(|jobs| match message.command {
            QueueCommand::Close => jobs.shell.close(),
            QueueCommand::Counts => QueueReply::Counts(QueueCounts {
                ready: jobs.waiting.len(),
                leased: jobs.leased.len(),
                ..QueueCounts::default()
            }),
            QueueCommand::TakeUnfinished => {
                jobs.waiting.extend(jobs.leased.end_all());
                QueueReply::Unfinished(std::mem::take(&mut jobs.waiting).into_values().collect())
            }
            _ => QueueReply::Unsupported("this queue has no dead letters"),
        })
    }
}
