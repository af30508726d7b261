//! The report of a run, for people: jobs, faults with their recovery, invariants.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::check::Checker;
use super::fault::FaultKind;
use super::history::{History, Occurrence, PlannedFault};
use crate::types::{EventKind, Moment, Role};

/// What a run was, in a form to print.
///
/// ```
/// use consumer_group::sim::{PlanShape, Report, stock};
///
/// let history = stock().run(&PlanShape::default().plan(1)).unwrap();
/// assert!(Report::new(&history).to_string().contains("nothing is lost"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Jobs that were sent, accepted, acked and dead-lettered.
    pub sent: usize,
    /// Jobs that were accepted.
    pub accepted: usize,
    /// Jobs that were acked.
    pub acked: usize,
    /// Jobs that became dead letters.
    pub dead: usize,
    /// Effects that came again: an at-least-once group may repeat them.
    pub repeated: usize,
    /// The faults, with what came of them.
    pub faults: Vec<FaultLine>,
    /// Every invariant with what breaks it.
    pub invariants: Vec<(String, Option<String>)>,
    /// When the run ended.
    pub ended: Moment,
}

/// A fault and how the group got over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultLine {
    /// The fault.
    pub what: String,
    /// When it happened; `None` if it never did.
    pub fired: Option<Moment>,
    /// Whom it met.
    pub met: String,
    /// How long until the group noticed.
    pub detected: Option<Moment>,
    /// How long until a successor was up.
    pub restarted: Option<Moment>,
    /// How long until all that was held had its end.
    pub settled: Option<Moment>,
}

impl Report {
    /// What happened in a run, and whether the built-in invariants hold: those that [`check`](super::check) asks for.
    pub fn new(history: &History) -> Self {
        Self::with(history, &Checker::default())
    }

    /// As [`new`](Self::new), with the invariants of this checker: for [`Checker::strict`], and for invariants of your own,
    /// which stand in the report beside the built-in ones.
    ///
    /// ```
    /// use consumer_group::sim::{Checker, Plan, Report, stock};
    ///
    /// let history = stock().run(&Plan::new(1).job(0, None, 0)).unwrap();
    /// let checker = Checker::strict().with("one job", |history| match history.jobs.len() {
    ///     1 => Ok(()),
    ///     jobs => Err(format!("{jobs} jobs")),
    /// });
    /// let report = Report::with(&history, &checker);
    /// assert!(report.holds(), "{report}");
    /// ```
    pub fn with(history: &History, checker: &Checker) -> Self {
        let places = history.places();
        let (mut acked, mut dead): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        let mut worked: BTreeMap<usize, usize> = BTreeMap::new();
        for entry in &history.entries {
            match &entry.what {
                Occurrence::Worked(attempt) => *worked.entry(attempt.job).or_default() += 1,
                Occurrence::Group(EventKind::Acked { job, .. }) => {
                    acked.extend(places.get(job));
                }
                Occurrence::Group(EventKind::DeadLettered { job, .. }) => {
                    dead.extend(places.get(job));
                }
                _ => {}
            }
        }
        let judged = checker.judge(history);
        Self {
            sent: history.jobs.len(),
            accepted: history.jobs.iter().filter(|job| job.id.is_some()).count(),
            acked: acked.len(),
            dead: dead.len(),
            repeated: worked.values().map(|times| times.saturating_sub(1)).sum(),
            faults: history.faults.iter().map(|fault| line(history, fault)).collect(),
            invariants: judged
                .map(|(name, judged)| (name.to_owned(), judged.err()))
                .collect(),
            ended: history.end.at,
        }
    }

    /// Whether every invariant holds.
    pub fn holds(&self) -> bool {
        self.invariants.iter().all(|(_, broken)| broken.is_none())
    }
}

/// How the group got over a fault, from what came after it.
fn line(history: &History, planned: &PlannedFault) -> FaultLine {
    let mut line = FaultLine {
        what: planned.fault.to_string(),
        fired: planned.fired,
        met: met(planned),
        detected: None,
        restarted: None,
        settled: None,
    };
    let Some(fired) = planned.fired else { return line };
    let role = match planned.fault.kind {
        FaultKind::Crash { role } => Some(role),
        _ => None,
    };
    let places = history.places();
    let mut held: BTreeSet<usize> = planned.job.into_iter().collect();
    let index = history
        .faults
        .iter()
        .position(|other| std::ptr::eq(other, planned));
    let mut is_after = false;
    for entry in &history.entries {
        if let Occurrence::Fired { fault } = entry.what {
            is_after |= Some(fault) == index;
        }
        let Occurrence::Group(kind) = &entry.what else {
            continue;
        };
        match kind {
            EventKind::Delivered {
                job,
                slot,
                incarnation,
                ..
            } if !is_after => {
                let is_there = (Some(*slot), Some(*incarnation)) == (planned.slot, planned.incarnation);
                if is_there || role == Some(Role::Supervisor) {
                    held.extend(places.get(job));
                }
            }
            EventKind::Acked { job, .. } | EventKind::DeadLettered { job, .. } => {
                let was_held = places.get(job).is_some_and(|place| held.remove(place));
                if is_after && was_held && held.is_empty() {
                    line.settled = Some(since(entry.at, fired));
                }
            }
            EventKind::RoleDown {
                role: Role::Supervisor,
                ..
            } if !is_after => held = planned.job.into_iter().collect(),
            _ if !is_after => {}
            _ => note_recovery(&mut line, planned, kind, since(entry.at, fired)),
        }
    }
    line
}

/// When the death that a fault brought about was seen, and when there was a successor; `after` is how long after the fault.
fn note_recovery(line: &mut FaultLine, planned: &PlannedFault, kind: &EventKind, after: Moment) {
    let role = match planned.fault.kind {
        FaultKind::Crash { role } => Some(role),
        _ => None,
    };
    let ends_lives = ends_lives(&planned.fault.kind);
    match kind {
        EventKind::RoleDown { role: down, .. } if role == Some(*down) && line.detected.is_none() => {
            line.detected = Some(after);
        }
        EventKind::RoleUp { role: up, .. } if role == Some(*up) && line.restarted.is_none() => {
            line.restarted = Some(after);
        }
        EventKind::ConsumerDown {
            slot, incarnation, ..
        } if ends_lives && (Some(*slot), Some(*incarnation)) == (planned.slot, planned.incarnation) => {
            line.detected.get_or_insert(after);
        }
        // Consumers end with their supervisor, and the next one counts their lives anew.
        EventKind::RoleDown {
            role: Role::Supervisor,
            ..
        } if ends_lives && planned.slot.is_some() => {
            line.detected.get_or_insert(after);
        }
        EventKind::ConsumerUp { slot, .. }
            if Some(*slot) == planned.slot && line.detected.is_some() && line.restarted.is_none() =>
        {
            line.restarted = Some(after);
        }
        _ => {}
    }
}

/// Whether it ends the consumer. The others leave it alive: a later death is none of theirs.
fn ends_lives(kind: &FaultKind) -> bool {
    !matches!(
        kind,
        FaultKind::Error
            | FaultKind::RepeatSettle
            | FaultKind::DelaySettle { .. }
            | FaultKind::EchoSettle { .. }
            | FaultKind::RepeatDelivery
            | FaultKind::ClockJump { .. }
            | FaultKind::Freeze { .. }
            | FaultKind::NoThreads { .. }
            | FaultKind::FailedCommit { .. }
            | FaultKind::SecondOpener { .. }
            | FaultKind::LinkLost { .. }
            | FaultKind::LaneRevoked { .. }
    )
}

fn since(at: Moment, from: Moment) -> Moment {
    Moment::START.after(at.since(from))
}

fn met(planned: &PlannedFault) -> String {
    let job = planned.job.map(|job| format!("job {job}"));
    let slot = planned.slot.map(|slot| slot.to_string());
    let who: Vec<String> = job.into_iter().chain(slot).collect();
    who.join(" in ")
}

fn ms(moment: Option<Moment>) -> String {
    match moment {
        Some(moment) => format!("{:.1} ms", moment.as_nanos() as f64 / 1e6),
        None => "-".to_owned(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "jobs        {} sent, {} accepted, {} acked, {} dead-lettered, {} effects repeated, in {}",
            self.sent,
            self.accepted,
            self.acked,
            self.dead,
            self.repeated,
            ms(Some(self.ended))
        )?;
        let fired: Vec<&FaultLine> = self.faults.iter().filter(|line| line.fired.is_some()).collect();
        writeln!(
            f,
            "faults      {} planned, {} happened",
            self.faults.len(),
            fired.len()
        )?;
        if !fired.is_empty() {
            writeln!(
                f,
                "\n{:>10}  {:<46} {:<18} {:>10} {:>10} {:>12}",
                "at", "fault", "met", "detected", "restarted", "all settled"
            )?;
        }
        let mut by_time = fired;
        by_time.sort_by_key(|line| line.fired);
        for line in by_time {
            writeln!(
                f,
                "{:>10}  {:<46} {:<18} {:>10} {:>10} {:>12}",
                ms(line.fired),
                line.what,
                line.met,
                ms(line.detected),
                ms(line.restarted),
                ms(line.settled)
            )?;
        }
        for line in self.faults.iter().filter(|line| line.fired.is_none()) {
            writeln!(f, "{:>10}  {}", "never", line.what)?;
        }
        writeln!(f)?;
        let names = self.invariants.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0);
        for (name, broken) in &self.invariants {
            match broken {
                None => writeln!(f, "{name:<width$} HOLDS")?,
                Some(what) => writeln!(f, "{name:<width$} BROKEN  {what}")?,
            }
        }
        Ok(())
    }
}
