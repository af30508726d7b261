//! Shrinking: a plan that fails becomes a small plan that fails in the same way.
//!
//! First the faults that never happened go, then faults and jobs are taken away by halves, quarters and so on for as long as
//! the same invariant breaks (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), and at last
//! the numbers become small.

use super::history::History;
use super::plan::{Fault, FaultKind, Plan, When};

/// How many runs the shrinking of one plan may cost.
const MOST_RUNS: usize = 20_000;

/// How many seeds a smaller plan is tried with: its own and a few small ones.
const OTHER_SEEDS: u64 = 9;

/// A plan that was made small.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What happened under it.
    pub history: History,
    /// How many runs it took.
    pub runs: usize,
}

/// Makes a failing plan small. `fails` runs a plan, and gives its history if it fails in the way that is looked for.
///
/// `history` is that of the plan itself.
pub fn shrink(plan: &Plan, history: History, fails: impl FnMut(&Plan) -> Option<History>) -> Shrunk {
    let mut work = Work {
        best: plan.clone(),
        history,
        runs: 0,
        fails,
    };
    work.drop_unfired();
    loop {
        let before = (work.best.clone(), work.runs);
        work.take_away(|plan| plan.faults.len(), without_faults);
        work.take_away(|plan| plan.jobs.len(), without_jobs);
        work.drop_unfired();
        work.simplify();
        if work.best == before.0 || work.runs >= MOST_RUNS {
            break;
        }
    }
    Shrunk {
        plan: work.best,
        history: work.history,
        runs: work.runs,
    }
}

struct Work<F> {
    /// The smallest plan so far that fails.
    best: Plan,
    history: History,
    runs: usize,
    fails: F,
}

impl<F: FnMut(&Plan) -> Option<History>> Work<F> {
    /// Takes a smaller plan for the best one, if it fails.
    fn try_plan(&mut self, plan: Plan) -> bool {
        if plan == self.best || self.runs >= MOST_RUNS {
            return false;
        }
        self.runs += 1;
        match (self.fails)(&plan) {
            Some(history) => {
                self.best = plan;
                self.history = history;
                true
            }
            None => false,
        }
    }

    /// Which consumer gets which job depends on all jobs before it, so a plan with a job less may fail only under another
    /// seed: with another strategy, other jitter.
    fn try_any_seed(&mut self, plan: &Plan) -> bool {
        (0..OTHER_SEEDS).any(|other| {
            self.try_plan(Plan {
                seed: if other == 0 { plan.seed } else { other - 1 },
                ..plan.clone()
            })
        })
    }

    /// Faults that never happened are no part of the failure.
    fn drop_unfired(&mut self) {
        let mut plan = self.best.clone();
        let fired = self.history.faults.iter().map(|fault| fault.fired.is_some());
        let mut fired = fired.collect::<Vec<_>>().into_iter();
        plan.faults.retain(|_| fired.next().unwrap_or(true));
        self.try_plan(plan);
    }

    /// Delta debugging over one list of the plan.
    fn take_away(&mut self, len: impl Fn(&Plan) -> usize, without: impl Fn(&Plan, usize, usize) -> Plan) {
        let mut chunk = len(&self.best).div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < len(&self.best) {
                let to = (from + chunk).min(len(&self.best));
                if !self.try_any_seed(&without(&self.best, from, to)) {
                    from = to;
                }
            }
            chunk /= 2;
        }
    }

    /// Smaller numbers, fewer keys.
    fn simplify(&mut self) {
        for index in 0..self.best.jobs.len() {
            for change in [
                |job: &mut super::plan::PlannedJob| job.at_ms = 0,
                |job: &mut super::plan::PlannedJob| job.work_ms = 0,
                |job: &mut super::plan::PlannedJob| job.work_ms = job.work_ms.min(2),
                |job: &mut super::plan::PlannedJob| job.key = None,
                |job: &mut super::plan::PlannedJob| job.key = job.key.map(|_| 0),
            ] {
                let mut plan = self.best.clone();
                if let Some(job) = plan.jobs.get_mut(index) {
                    change(job);
                }
                self.try_plan(plan);
            }
        }
        self.simplify_seed();
    }

    /// A seed of zero, if it will do.
    fn simplify_seed(&mut self) {
        let plan = Plan {
            seed: 0,
            ..self.best.clone()
        };
        self.try_plan(plan);
    }
}

fn without_faults(plan: &Plan, from: usize, to: usize) -> Plan {
    let mut plan = plan.clone();
    plan.faults.drain(from..to);
    plan
}

/// The plan without some of its jobs. Faults that name them go too; the others name the same jobs as before.
fn without_jobs(plan: &Plan, from: usize, to: usize) -> Plan {
    let mut plan = plan.clone();
    plan.jobs.drain(from..to);
    let gone = to - from;
    plan.faults.retain_mut(|Fault { when, .. }| match when {
        When::Attempt { job, .. } if *job >= to => {
            *job -= gone;
            true
        }
        When::Attempt { job, .. } => *job < from,
        _ => true,
    });
    plan
}

impl Plan {
    /// The plan as Rust code: the expression that makes it.
    pub fn to_rust(&self) -> String {
        let mut text = format!("Plan::new({})", self.seed);
        for job in &self.jobs {
            text.push_str(&format!(
                "\n        .job({}, {:?}, {})",
                job.at_ms, job.key, job.work_ms
            ));
        }
        for fault in &self.faults {
            let (when, kind) = (rust_when(fault.when), rust_kind(&fault.kind));
            text.push_str(&format!("\n        .fault({when}, {kind})"));
        }
        text
    }

    /// A whole test as Rust code, that fails as long as this plan breaks an invariant of the stock group.
    pub fn to_rust_test(&self, name: &str, plant: Option<&str>) -> String {
        let planted = plant.map_or(String::new(), |plant| {
            format!(".planted(consumer_group::rules::ledger::Plant::{plant})")
        });
        format!(
            "use consumer_group::Role;\nuse consumer_group::sim::{{FaultKind, Plan, When, check, stock}};\n\n\
             #[test]\nfn {name}() {{\n    let plan = {};\n    let history = stock(){planted}.run(&plan).unwrap();\n    \
             assert_eq!(check(&history), []);\n}}\n",
            self.to_rust()
        )
        .replace(
            "use consumer_group::Role;\n",
            if self.faults.iter().any(|fault| matches!(fault.kind, FaultKind::Crash { .. })) {
                "use consumer_group::Role;\n"
            } else {
                ""
            },
        )
    }
}

fn rust_when(when: When) -> String {
    format!("When::{when:?}")
}

fn rust_kind(kind: &FaultKind) -> String {
    match kind {
        FaultKind::Failpoint { place } => format!("FaultKind::Failpoint {{ place: {place:?}.into() }}"),
        FaultKind::Crash { role } => format!("FaultKind::Crash {{ role: Role::{role:?} }}"),
        kind => format!("FaultKind::{kind:?}"),
    }
}
