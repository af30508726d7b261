//! Shrinking: a plan that fails becomes a small plan that fails in the same way.
//!
//! First the faults that never happened go, and those that were addressed by a slot or by "the nth delivery" get the name of
//! the attempt that they met. Then small plans are drawn from the pieces of the failing one (see [`draw`](self::draw)): which
//! consumer gets which job depends on all jobs before it, so a failure of forty jobs seldom stays when one of them goes, and
//! yet nearly always has a small relative. What is left is taken away by halves, quarters and so on for as long as the same
//! invariant breaks (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002), and at last the
//! numbers become small.

mod draw;

use super::fault::{Fault, FaultKind, When};
use super::history::History;
use super::plan::{Plan, PlannedJob};
use draw::Draw;

/// How many runs the shrinking of one plan may cost.
const MOST_RUNS: usize = 20_000;

/// How many small plans are drawn at once.
const DRAWN: usize = 4_000;

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
    work.name_deliveries();
    work.draw();
    work.take_all_away();
    if draw::is_large(&work.best) && work.draw() {
        work.take_all_away();
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

    /// A plan with a job less may fail only under another seed: with another strategy, other jitter.
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

    /// A fault that met a delivery of some slot gets the name of that delivery, which means the same in a smaller plan.
    fn name_deliveries(&mut self) {
        for index in 0..self.best.faults.len() {
            let met = self.history.faults.get(index).and_then(|met| met.job);
            let (Some(job), Some(fault)) = (met, self.best.faults.get(index)) else {
                continue;
            };
            if !matches!(fault.when, When::Delivery { .. }) {
                continue;
            }
            for attempt in 1..=3 {
                let mut plan = self.best.clone();
                if let Some(fault) = plan.faults.get_mut(index) {
                    fault.when = When::Attempt { job, attempt };
                }
                if self.try_plan(plan) {
                    break;
                }
            }
        }
    }

    /// Tries small plans that are made of pieces of the best one, until one of them fails. False if none does.
    fn draw(&mut self) -> bool {
        let mut drawn = Draw::new(&self.best);
        (0..DRAWN).any(|_| drawn.next().is_some_and(|plan| self.try_plan(plan)))
    }

    /// Takes away what can be taken away, until nothing can.
    fn take_all_away(&mut self) {
        loop {
            let before = self.best.clone();
            self.take_away(|plan| plan.faults.len(), without_faults);
            self.take_away(|plan| plan.jobs.len(), without_jobs);
            self.drop_unfired();
            self.simplify();
            if self.best == before || self.runs >= MOST_RUNS {
                break;
            }
        }
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
                |job: &mut PlannedJob| job.at_ms = 0,
                |job: &mut PlannedJob| job.work_ms = 0,
                |job: &mut PlannedJob| job.work_ms = job.work_ms.min(2),
                |job: &mut PlannedJob| job.key = None,
                |job: &mut PlannedJob| job.priority = 0,
                |job: &mut PlannedJob| (job.key, job.priority) = (job.key.map(|_| 0), 0),
            ] {
                let mut plan = self.best.clone();
                if let Some(job) = plan.jobs.get_mut(index) {
                    change(job);
                }
                self.try_plan(plan);
            }
        }
        for index in 0..self.best.faults.len() {
            for kind in [FaultKind::Panic, FaultKind::Error] {
                let mut plan = self.best.clone();
                if let Some(fault) = plan.faults.get_mut(index)
                    && is_harder(&fault.kind, &kind)
                {
                    fault.kind = kind;
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

/// Whether a kind of fault is harder to understand than this plain one.
fn is_harder(kind: &FaultKind, plain: &FaultKind) -> bool {
    let is_plain = matches!(kind, FaultKind::Error) || kind == plain;
    !is_plain && !matches!(kind, FaultKind::Crash { .. })
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
