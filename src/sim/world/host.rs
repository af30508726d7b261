//! What lies under the group: the thread on which it was started, and the clock.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::Notify;

use super::RunWorld;
use super::cells::Thread;
use crate::protocol::faults::{self, Present, World as _};
use crate::sim::fault::{Fault, FaultKind};
use crate::sim::history::{Answer, Occurrence};
use crate::sim::plan::Plan;
use crate::types::JobId;

/// Turns of all others that a host may still see after its end was ordered, and between the returns of two threads.
const TURNS: u8 = 4;

/// The host of one run.
pub(in crate::sim) struct Host {
    /// Whether the plan ends it. Then it is a set of tasks of its own, and can be dropped.
    ends: bool,
    seed: u64,
    /// Rung when it shall end.
    pub(in crate::sim) end: Notify,
    /// How it ends, once that was rung.
    how: Mutex<Option<Ends>>,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Ends {
    /// The arbiter under the group.
    Host,
    /// Everything in the process.
    Process,
}

impl Host {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            ends: plan.ends_host(),
            seed: plan.seed,
            end: Notify::new(),
            how: Mutex::default(),
        }
    }

    /// Runs something that outlives the host.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.ends {
            tokio::spawn(work);
        } else {
            actix_rt::spawn(work);
        }
    }

    pub(super) fn end(&self, how: Ends) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
        self.end.notify_one();
    }

    /// Whether its end was ordered, and no new life has begun since.
    pub(in crate::sim) fn is_ending(&self) -> bool {
        self.how.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the whole process ends.
    pub(in crate::sim) fn ends_all(&self) -> bool {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) == Some(Ends::Process)
    }

    /// Whether the plan ends it.
    pub(in crate::sim) fn ends(&self) -> bool {
        self.ends
    }

    /// How many turns everyone on the host still has when its end is ordered. None: whoever was not polled in this very turn
    /// never is again; so it is always when the whole process ends.
    pub(in crate::sim) fn last_turns(&self) -> u8 {
        if self.ends_all() {
            return 0;
        }
        Rng::with_seed(self.seed).u8(0..TURNS)
    }
}

/// The clock jumps ahead.
pub(super) async fn jump(by: Duration) {
    faults::note_time(Present::Stands);
    tokio::time::advance(by).await;
}

impl RunWorld {
    /// The process stood still for so long. Its threads come back, one after the other.
    pub(super) async fn go_on(&self, fault: usize, after: Duration, mut threads: Vec<Thread>) {
        jump(after).await;
        let mut random = Rng::with_seed(self.host.seed.wrapping_add(fault as u64));
        random.shuffle(&mut threads);
        for thread in threads {
            for _ in 0..random.u8(0..TURNS) {
                tokio::task::yield_now().await;
            }
            self.lock().rooms.go_on(fault, thread);
        }
        self.over(fault);
    }

    /// Nobody who lives on the host is polled any more; whoever runs it drops them.
    pub(in crate::sim) fn host_ends(&self) {
        let mut state = self.lock();
        state.rooms.end_host();
        state.jobs.leave_in_doubt();
        drop(state);
        self.write(Occurrence::HostEnded);
    }

    /// Nobody in the process is polled any more. What is written to files from here on goes nowhere.
    pub(in crate::sim) fn process_ends(&self) {
        let mut state = self.lock();
        let crashed = state.disks.crash();
        state.jobs.forget_senders();
        state.live.clear();
        drop(state);
        self.write(Occurrence::ProcessEnded);
        for (dead, survivor) in crashed {
            dead.is_dead();
            survivor.is_free();
        }
    }

    /// The group is about to be started again.
    pub(in crate::sim) fn starts_again(&self) {
        let mut state = self.lock();
        state.has_ended = false;
        state.disks.have_room();
        state.rooms.begin_again();
        state.live.clear();
        drop(state);
        *self.host.how.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.write(Occurrence::StartedAgain);
    }

    /// Whether somebody still has the file of a durable queue.
    pub(in crate::sim) fn has_locks(&self) -> bool {
        self.lock().disks.are_locked()
    }

    /// Whether this job was sent.
    pub(in crate::sim) fn is_sent(&self, job: usize) -> bool {
        self.lock().jobs.is_sent(job)
    }

    /// A caller begins to wait for the outcome of this job.
    pub(in crate::sim) fn waits(&self, job: usize) {
        self.lock().jobs.calls += 1;
        self.write(Occurrence::Waits { job });
    }

    /// A caller was answered.
    pub(in crate::sim) fn answered(&self, job: usize, answer: Answer) {
        {
            let calls = &mut self.lock().jobs.calls;
            *calls = calls.saturating_sub(1);
        }
        self.write(Occurrence::Answered { job, answer });
        self.news.notify_one();
    }

    /// Whether every caller was answered.
    pub(in crate::sim) fn are_all_answered(&self) -> bool {
        self.lock().jobs.calls == 0
    }

    /// Whether the queue has told of the job that is being sent.
    pub(in crate::sim) fn has_taken(&self, job: usize) -> bool {
        self.lock().jobs.is_named(job)
    }

    /// The group hands this job back.
    pub(in crate::sim) fn handed_out(&self, name: JobId) {
        let place = self.lock().jobs.place(name);
        if let Some(job) = place {
            self.write(Occurrence::HandedOut { job });
        }
    }
}

impl Plan {
    /// Whether one of its faults ends the host.
    pub(in crate::sim) fn ends_host(&self) -> bool {
        let ends = |fault: &Fault| matches!(fault.kind, FaultKind::HostEnd | FaultKind::ProcessEnd);
        self.faults.iter().any(ends)
    }
}
