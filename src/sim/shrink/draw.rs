//! Small plans, drawn from the pieces of a large one that fails.
//!
//! A failure needs a few jobs, a few faults and the right moment. The faults are known, since they are among those of the
//! large plan; the moment is what gets lost when jobs are taken away. So a few of its jobs and faults are put together anew,
//! with the same times or with others, and with work that is long enough for things to meet.

use fastrand::Rng;

use crate::sim::fault::{Fault, FaultKind, When};
use crate::sim::plan::{Plan, PlannedJob};

/// A plan of more jobs is large.
const JOBS: usize = 5;

/// A plan of more faults is large.
const FAULTS: usize = 3;

/// Moments and lengths, in ms, from at once to longer than a deadline.
const TIMES: [u64; 8] = [0, 2, 5, 20, 60, 120, 200, 350];

pub(super) fn is_large(plan: &Plan) -> bool {
    plan.jobs.len() > JOBS || plan.faults.len() > FAULTS
}

/// Draws small plans. The same plan gives the same ones.
pub(super) struct Draw {
    from: Plan,
    random: Rng,
}

impl Draw {
    pub(super) fn new(from: &Plan) -> Self {
        Self {
            from: from.clone(),
            random: Rng::with_seed(from.seed),
        }
    }

    /// A plan that is not large, and smaller than the one that it is drawn from. `None` if this draw was none.
    pub(super) fn next(&mut self) -> Option<Plan> {
        if self.from.jobs.is_empty() {
            return None;
        }
        let jobs = 1 + self.random.usize(0..JOBS.min(self.from.jobs.len()));
        let mut plan = Plan::new(if self.random.bool() {
            self.from.seed
        } else {
            self.random.u64(0..12)
        });
        for _ in 0..jobs {
            let job = self.job()?;
            plan.jobs.push(job);
        }
        if self.random.u8(0..4) == 0 {
            // Jobs that come at once wait for each other.
            let at_ms = self.time();
            plan.jobs.iter_mut().for_each(|job| job.at_ms = at_ms);
        }
        plan.jobs.sort_by_key(|job| job.at_ms);
        let mut faults = self
            .random
            .choose_multiple(self.from.faults.iter().cloned(), FAULTS);
        faults.truncate(self.random.usize(0..=FAULTS));
        // Several faults on one job stay together.
        let (first, job_of_first) = (self.random.usize(0..jobs), faults.first().and_then(job_of));
        for fault in &faults {
            let is_together = job_of(fault).is_some() && job_of(fault) == job_of_first;
            let job = if is_together {
                first
            } else {
                self.random.usize(0..jobs)
            };
            let fault = self.fault(fault, job);
            plan.faults.push(fault);
        }
        let is_smaller = plan.jobs.len() + plan.faults.len() < self.from.jobs.len() + self.from.faults.len();
        is_smaller.then_some(plan)
    }

    fn job(&mut self) -> Option<PlannedJob> {
        let mut job = *self.random.choice(&self.from.jobs)?;
        if self.random.bool() {
            job.at_ms = self.time();
        }
        if self.random.bool() {
            job.work_ms = self.time();
        }
        match self.random.u8(0..4) {
            0 => job.key = None,
            // Of one key all are equally urgent, else the queue may change their order.
            1 => (job.key, job.priority) = (Some(0), 0),
            _ => {}
        }
        Some(job)
    }

    fn fault(&mut self, fault: &Fault, job: usize) -> Fault {
        let mut kind = fault.kind.clone();
        if self.random.bool()
            && let Some(ms) = kind.ms_mut()
        {
            *ms = self.time().max(1);
        }
        let when = match fault.when {
            When::Attempt { attempt, .. } => When::Attempt { job, attempt },
            When::Delivery { .. } => When::Attempt { job, attempt: 1 },
            When::Slot { .. } if self.random.bool() => When::Attempt { job, attempt: 1 },
            When::Slot { slot, .. } if self.random.bool() => When::Slot {
                slot,
                at_ms: self.time(),
            },
            When::Time { .. } if self.random.bool() => When::Time { at_ms: self.time() },
            when => when,
        };
        Fault { when, kind }
    }

    fn time(&mut self) -> u64 {
        self.random.choice(TIMES).unwrap_or(0)
    }
}

/// The job that a fault names.
fn job_of(fault: &Fault) -> Option<usize> {
    match fault.when {
        When::Attempt { job, .. } => Some(job),
        _ => None,
    }
}

impl FaultKind {
    /// Its length, if it has one.
    fn ms_mut(&mut self) -> Option<&mut u64> {
        match self {
            Self::Block { ms }
            | Self::Slow { ms }
            | Self::DelaySettle { ms }
            | Self::EchoSettle { ms }
            | Self::Disconnect { ms }
            | Self::ClockJump { ms }
            | Self::Freeze { ms }
            | Self::NoThreads { ms }
            | Self::SecondOpener { ms }
            | Self::LinkLost { ms }
            | Self::LaneRevoked { ms, .. } => Some(ms),
            _ => None,
        }
    }
}
