//! Sweeps: many seeds, each a plan of its own, over all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::check::{Checker, Violation};
use super::coverage::Reached;
use super::history::History;
use super::plan::Plan;
use super::run::Simulation;
use super::run_error::RunError;
use super::shrink::{Shrunk, shrink};

/// Of so many seeds one is run twice.
const TWICE: u64 = 256;

/// Many runs of one simulation.
///
/// ```
/// use consumer_group::sim::{PlanShape, Sweep, stock};
///
/// let shape = PlanShape::default();
/// let swept = Sweep::new(&stock(), |seed| shape.plan(seed)).seeds(0..50).run().unwrap();
/// assert!(swept.failures.is_empty());
/// ```
#[must_use = "a sweep does nothing until it is run"]
pub struct Sweep<'s, J: Send + Sync + 'static, O: Send + 'static> {
    simulation: &'s Simulation<J, O>,
    plan: Box<dyn Fn(u64) -> Plan + Send + Sync + 's>,
    checker: Checker,
    seeds: std::ops::Range<u64>,
    threads: usize,
    most_failures: usize,
    progress: Box<dyn Fn(u64) + Send + Sync + 's>,
}

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many faults happened.
    pub faults: u64,
    /// How many faults of each kind happened.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// How many faults never did, since what they were to meet never came.
    pub unfired: u64,
    /// What the runs reached.
    pub reached: Reached,
    /// The seeds that break an invariant, the smallest first.
    pub failures: Vec<Failure>,
}

/// A seed that breaks an invariant.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What it breaks.
    pub violations: Vec<Violation>,
}

impl<'s, J: Send + Sync + 'static, O: Send + 'static> Sweep<'s, J, O> {
    /// A sweep over the plans that `plan` makes of seeds.
    pub fn new(simulation: &'s Simulation<J, O>, plan: impl Fn(u64) -> Plan + Send + Sync + 's) -> Self {
        Self {
            simulation,
            plan: Box::new(plan),
            checker: Checker::default(),
            seeds: 0..1_000,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            most_failures: 1,
            progress: Box::new(|_| {}),
        }
    }

    /// Which seeds; the first thousand if nothing is said.
    pub fn seeds(mut self, seeds: std::ops::Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// The invariants; the built-in ones if nothing is said.
    pub fn checker(mut self, checker: Checker) -> Self {
        self.checker = checker;
        self
    }

    /// On how many threads; as many as there are processors if nothing is said.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// After how many failures it ends early; one if nothing is said. Threads that are at work then may add one each.
    pub fn most_failures(mut self, most: usize) -> Self {
        self.most_failures = most.max(1);
        self
    }

    /// Whom to tell how many seeds were run, now and then and from any thread.
    pub fn progress(mut self, progress: impl Fn(u64) + Send + Sync + 's) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Runs the seeds.
    ///
    /// # Errors
    /// [`RunError::Seed`] of the first plan that could not be run, or whose run was woken from a foreign thread or differs from
    /// its own second run. Every run is watched for foreign threads; the first, every 256th and every one that breaks an
    /// invariant are run twice.
    pub fn run(&self) -> Result<Swept, RunError> {
        let next = AtomicU64::new(self.seeds.start);
        let stop = AtomicBool::new(false);
        let found = Mutex::new((Swept::default(), None));
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(|| {
                    let part = self.work(&next, &stop, &found);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    match part {
                        Ok(part) => found.0.add(part),
                        Err(error) => found.1 = Some(error),
                    }
                });
            }
        });
        let (mut swept, error) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        swept.failures.sort_by_key(|failure| failure.seed);
        error.map_or(Ok(swept), Err)
    }

    fn work(
        &self,
        next: &AtomicU64,
        stop: &AtomicBool,
        found: &Mutex<(Swept, Option<RunError>)>,
    ) -> Result<Swept, RunError> {
        let mut part = Swept::default();
        while !stop.load(Ordering::Relaxed) {
            let following = |seed: u64| seed.checked_add(1).filter(|_| seed < self.seeds.end);
            let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following) else {
                break;
            };
            let (history, violations) = self.judge(seed).map_err(|error| {
                stop.store(true, Ordering::Relaxed);
                RunError::Seed {
                    seed,
                    error: Box::new(error),
                }
            })?;
            part.seeds += 1;
            for fault in &history.faults {
                if fault.fired.is_some() {
                    part.faults += 1;
                    *part.by_kind.entry(fault.fault.kind.name()).or_default() += 1;
                } else {
                    part.unfired += 1;
                }
            }
            part.reached.note(&history);
            if !violations.is_empty() {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.0.failures.push(Failure { seed, violations });
                if found.0.failures.len() >= self.most_failures {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            if part.seeds.is_multiple_of(64) {
                (self.progress)(64);
            }
        }
        (self.progress)(part.seeds % 64);
        Ok(part)
    }

    /// The history of a seed and what it breaks. Seeds that break something, and some others, are run twice: what does not
    /// repeat itself cannot be judged.
    fn judge(&self, seed: u64) -> Result<(History, Vec<Violation>), RunError> {
        let plan = (self.plan)(seed);
        let history = self.simulation.run(&plan)?;
        let violations = self.checker.check(&history);
        if !violations.is_empty() || seed.wrapping_sub(self.seeds.start).is_multiple_of(TWICE) {
            self.simulation.compare(&history, &plan)?;
        } else {
            Simulation::<J, O>::is_alone(&history)?;
        }
        Ok((history, violations))
    }

    /// Makes the plan of a failing seed small: the result breaks one of the invariants that the seed breaks.
    ///
    /// # Errors
    /// [`RunError`], if the plan cannot be run any more.
    pub fn shrink(&self, failure: &Failure) -> Result<Shrunk, RunError> {
        let plan = (self.plan)(failure.seed);
        let history = self.simulation.run(&plan)?;
        let is_wanted = |found: &Violation| {
            let mut wanted = failure.violations.iter();
            wanted.any(|violation| violation.invariant == found.invariant)
        };
        let fails = |plan: &Plan| {
            let history = self.simulation.run(plan).ok()?;
            let violations = self.checker.check(&history);
            violations.iter().any(is_wanted).then_some(history)
        };
        Ok(shrink(&plan, history, fails))
    }
}

impl Swept {
    fn add(&mut self, part: Self) {
        self.seeds += part.seeds;
        self.faults += part.faults;
        self.unfired += part.unfired;
        self.reached.add(&part.reached);
        for (kind, count) in part.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> std::fmt::Debug for Sweep<'_, J, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweep")
            .field("seeds", &self.seeds)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
