//! Plans: the whole of a simulated run as plain data. Nothing in a run is decided anywhere else.

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind, PlanError, When, within};

/// A workload and the faults that meet it.
///
/// ```
/// use consumer_group::sim::{FaultKind, Plan, When};
///
/// let plan = Plan::new(7)
///     .job(0, Some(1), 5)
///     .job(1, Some(1), 5)
///     .fault(When::Attempt { job: 0, attempt: 1 }, FaultKind::Panic);
/// assert!(plan.check(4).is_ok());
/// let text = serde_json::to_string(&plan).unwrap();
/// assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Seeds every random choice of the group: jitter, strategies, names of jobs.
    pub seed: u64,
    /// The jobs, each known by its place in this list, counted from zero.
    pub jobs: Vec<PlannedJob>,
    /// The faults. Each happens at most once.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A job of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedJob {
    /// When it is sent, in ms after the start.
    pub at_ms: u64,
    /// Its key, if it has one.
    #[serde(default)]
    pub key: Option<u32>,
    /// How long the work on it takes, in ms, if the consumer cares.
    #[serde(default)]
    pub work_ms: u64,
    /// How urgent it is.
    #[serde(default)]
    pub priority: u8,
}

impl Plan {
    /// A plan without jobs and faults.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Adds a job: when it is sent, its key, and how long the work takes.
    #[must_use]
    pub fn job(mut self, at_ms: u64, key: Option<u32>, work_ms: u64) -> Self {
        self.jobs.push(PlannedJob {
            at_ms,
            key,
            work_ms,
            priority: 0,
        });
        self
    }

    /// Makes the job that was added last as urgent as this.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        if let Some(job) = self.jobs.last_mut() {
            job.priority = priority;
        }
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, when: When, kind: FaultKind) -> Self {
        self.faults.push(Fault { when, kind });
        self
    }

    /// When the last job is sent and the last fault with a time happens, whichever is later, in ms.
    pub fn last_ms(&self) -> u64 {
        let jobs = self.jobs.iter().map(|job| job.at_ms);
        let faults = self.faults.iter().filter_map(|fault| fault.when.at_ms());
        jobs.chain(faults).max().unwrap_or(0)
    }

    /// Whether this plan can be, for a group of so many consumers.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that cannot be.
    pub fn check(&self, consumers: usize) -> Result<(), PlanError> {
        for (index, job) in self.jobs.iter().enumerate() {
            let place = || format!("jobs[{index}]");
            within(job.at_ms, "at_ms", place)?;
            within(job.work_ms, "work_ms", place)?;
        }
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check(|| format!("faults[{index}]"), self.jobs.len(), consumers)?;
        }
        Ok(())
    }
}
