//! Queues of a user: the smallest store, and an actor that never answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use consumer_group::config::Overflow;
use consumer_group::events::{Moment, QueueCounts};
use consumer_group::queue::{
    Attach, AttachError, Attached, Bound, Capabilities, Command, DeadSelection, Demand, JobRef, LeaseId,
    Leased, News, Push, Pushed, QueueReply, Refused, Run, Settle, SettleReply, Settled, Store, Verdict,
};
use consumer_group::{DeadLetter, JobId};

/// The last one in is the first one out.
pub(crate) struct Stack<J> {
    ready: Vec<JobRef<J>>,
    leased: BTreeMap<LeaseId, JobRef<J>>,
    /// Never goes back: no lease has the name of an earlier one.
    next: u64,
}

impl<J> Default for Stack<J> {
    fn default() -> Self {
        Self {
            ready: Vec::new(),
            leased: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<J: Send + Sync + 'static> Store<J> for Stack<J> {
    /// Its jobs end with the process, so a send need not wait for its word.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            volatile: true,
            ..Capabilities::LEAST
        }
    }

    fn bound(&self) -> Option<Bound> {
        Some(Bound::of_jobs(1_000, Overflow::Wait))
    }

    /// With this bound and policy the actor around lets in only what fits.
    fn push(&mut self, _: Moment, runs: Vec<Run<J>>, _: &mut News<J>) -> Vec<Refused<J>> {
        self.ready.extend(runs.into_iter().flat_map(Run::into_jobs));
        Vec::new()
    }

    /// The attempt is always 1: the group counts.
    fn lease(&mut self, _: Moment, most: usize, leased: &mut Vec<Leased<J>>, _: &mut News<J>) {
        for _ in 0..most {
            let Some(job) = self.ready.pop() else { return };
            self.next += 1;
            let lease = LeaseId(self.next);
            self.leased.insert(lease, JobRef::clone(&job));
            leased.push(Leased::one(lease, 1, job));
        }
    }

    fn settle(
        &mut self,
        _: Moment,
        lease: LeaseId,
        _attempt: u32,
        verdict: &Verdict,
        _: &mut News<J>,
    ) -> Settled {
        let known = match verdict {
            // The group keeps the lease and makes the next attempt by itself.
            Verdict::Renew(_) | Verdict::Extend | Verdict::Begin(_) => self.leased.contains_key(&lease),
            Verdict::Ack | Verdict::Retry(_) | Verdict::Reject(_) => self.leased.remove(&lease).is_some(),
        };
        Settled::applied(known)
    }

    fn take_back(&mut self, _: Moment) -> usize {
        let leased = std::mem::take(&mut self.leased);
        let count = leased.len();
        // The one that was leased first was on top.
        self.ready.extend(leased.into_values().rev());
        count
    }

    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready.len(),
            leased: self.leased.len(),
            ..QueueCounts::default()
        }
    }

    fn take_unfinished(&mut self) -> Vec<JobRef<J>> {
        self.take_back(Moment::START);
        std::mem::take(&mut self.ready)
    }

    // It knows no time and keeps no dead letters.
    fn next_due(&self) -> Option<Moment> {
        None
    }
    fn wake(&mut self, _: Moment, _: &mut News<J>) {}
    fn dead_letters(&self, _: usize) -> Vec<DeadLetter<J>> {
        Vec::new()
    }
    fn requeue(&mut self, _: Moment, _: &DeadSelection, _: &mut News<J>) -> Vec<JobId> {
        Vec::new()
    }
    fn purge(&mut self, _: &DeadSelection) -> usize {
        0
    }
}

/// The least that a queue that outlives its group does.
pub(crate) const DURABLE: Capabilities = Capabilities {
    volatile: false,
    ..Capabilities::LEAST
};

/// A queue that takes jobs and never answers.
pub(crate) struct Silent {
    pub(crate) kept: Option<Arc<Mutex<Vec<JobRef<u64>>>>>,
    /// How many it took.
    pub(crate) taken: Arc<AtomicUsize>,
}

impl Actor for Silent {
    type Context = Context<Self>;
}

impl Handler<Push<u64>> for Silent {
    type Result = ResponseFuture<Pushed<u64>>;

    fn handle(&mut self, mut push: Push<u64>, _: &mut Context<Self>) -> Self::Result {
        let jobs = push.take_jobs();
        self.taken.fetch_add(jobs.len(), Ordering::Relaxed);
        if let Some(kept) = &self.kept {
            kept.lock().unwrap().extend(jobs);
        }
        Box::pin(std::future::pending())
    }
}

impl Handler<Attach<u64>> for Silent {
    type Result = Result<Attached, AttachError>;

    fn handle(&mut self, _: Attach<u64>, _: &mut Context<Self>) -> Self::Result {
        Ok(Attached { returned: 0 })
    }
}

impl Handler<Demand> for Silent {
    type Result = ();

    fn handle(&mut self, _: Demand, _: &mut Context<Self>) {}
}

impl Handler<Settle> for Silent {
    type Result = MessageResult<Settle>;

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) -> Self::Result {
        MessageResult(SettleReply::APPLIED)
    }
}

impl Handler<Command<u64>> for Silent {
    type Result = MessageResult<Command<u64>>;

    fn handle(&mut self, _: Command<u64>, _: &mut Context<Self>) -> Self::Result {
        MessageResult(QueueReply::Done)
    }
}
