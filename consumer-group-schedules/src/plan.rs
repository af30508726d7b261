//! What is planned, and the rule by which runs are due. Reads no clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use consumer_group::Job;
use consumer_group::events::Moment;

use crate::schedule::Schedule;

/// A run that comes no later than this was not missed.
pub(crate) const ON_TIME: Duration = Duration::from_secs(1);

/// Missed runs that are looked at, of one plan at once. What is older is given up.
const MOST_LOOKED_AT: usize = 10_000;

/// What becomes of runs that did not come in time: the program did not run, the machine slept, the queue was full.
///
/// | policy | three runs were missed | one of them is on time by now |
/// |---|---|---|
/// | `Skip` | none of them comes | that one comes |
/// | `Latest` | the last of them comes | that one comes, and none of the others |
/// | `All` | all of them come, oldest first | as well |
///
/// `within` is how far this looks back, also when a plan is added: with a queue that outlives the program, the runs that were
/// missed while it was down come then, and those that were sent before are duplicates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// They do not come.
    #[default]
    Skip,
    /// The last one comes.
    Latest {
        /// How far to look back.
        within: Duration,
    },
    /// All of them come, the latest ten thousand at most.
    All {
        /// How far to look back.
        within: Duration,
    },
}

impl Missed {
    pub(crate) fn within(self) -> Duration {
        match self {
            Self::Skip => Duration::ZERO,
            Self::Latest { within } | Self::All { within } => within,
        }
    }
}

/// One run of a plan, for the function that makes its job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// The name of the plan.
    pub plan: Arc<str>,
    /// When the run was planned. It comes a little later, or much later if it was missed.
    pub planned: Moment,
    /// Whether it was missed, or asked for by [`run_now`](crate::Schedules::run_now).
    pub is_out_of_turn: bool,
}

/// The function that makes the job of a run.
pub(crate) type Make<J> = Arc<dyn Fn(&Run) -> Job<J> + Send + Sync>;

/// What runs, when, and what is sent then.
#[must_use = "a plan does nothing until it is added"]
pub struct Plan<J> {
    pub(crate) name: Arc<str>,
    pub(crate) schedule: Schedule,
    pub(crate) missed: Missed,
    pub(crate) make: Make<J>,
}

impl<J> Plan<J> {
    /// A plan of this name. `make` makes the job of each run; its deduplication key is set afterwards, see the [crate](crate).
    ///
    /// **Panics** in `make` are caught and logged; that run does not come.
    pub fn new<R: Into<Job<J>>>(
        name: impl Into<Arc<str>>,
        schedule: Schedule,
        make: impl Fn(&Run) -> R + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            schedule,
            missed: Missed::Skip,
            make: Arc::new(move |run| make(run).into()),
        }
    }

    /// What becomes of runs that were missed. Without this they do not come.
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }
}

impl<J> fmt::Debug for Plan<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// A plan as it is at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlanView {
    /// Its name.
    pub name: Arc<str>,
    /// When it runs.
    pub schedule: Schedule,
    /// What becomes of runs that were missed.
    pub missed: Missed,
    /// Whether it rests.
    pub is_paused: bool,
    /// When it runs next; nothing for one that rests, and for one that never runs again.
    pub next: Option<Moment>,
    /// The planned moment of the last run that the queue has taken.
    pub last: Option<Moment>,
    /// Runs that the queue has taken.
    pub sent: u64,
    /// Runs that the queue had already: another process was first, or the same one before it was restarted.
    pub duplicates: u64,
    /// Runs that did not come: they were missed, or their job could not be made.
    pub skipped: u64,
}

/// The runs that are due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The planned moments, oldest first, and whether each was missed.
    pub(crate) runs: Vec<(Moment, bool)>,
    /// Missed runs that do not come.
    pub(crate) skipped: u64,
}

/// From where a plan that is new looks for runs.
pub(crate) fn looks_back_to(missed: Missed, now: Moment) -> Moment {
    Moment::from_nanos(now.as_nanos().saturating_sub(nanos(missed.within())))
}

/// The runs after `handled` that are due at `now`.
pub(crate) fn due(schedule: &Schedule, missed: Missed, handled: Moment, now: Moment) -> Due {
    let mut found = Vec::new();
    let mut moment = now;
    while let Some(last) = schedule.last_until(moment).filter(|last| *last > handled)
        && found.len() < MOST_LOOKED_AT
    {
        found.push(last);
        let Some(before) = last.as_nanos().checked_sub(1) else {
            break;
        };
        moment = Moment::from_nanos(before);
    }
    let is_missed = |moment: Moment| now.since(moment) > ON_TIME;
    let has_one_on_time = found.first().is_some_and(|first| !is_missed(*first));
    let all = found.len();
    let comes = |(index, moment): (usize, Moment)| {
        let comes = match missed {
            _ if !is_missed(moment) => true,
            Missed::Skip => false,
            Missed::Latest { within } => index == 0 && !has_one_on_time && now.since(moment) <= within,
            Missed::All { within } => now.since(moment) <= within,
        };
        comes.then(|| (moment, is_missed(moment)))
    };
    let mut runs: Vec<_> = found.into_iter().enumerate().filter_map(comes).collect();
    runs.reverse();
    Due {
        skipped: (all - runs.len()) as u64,
        runs,
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn of(missed: Missed, handled: u64, now: u64) -> (Vec<u64>, u64) {
        let minutely = Schedule::every(60 * SECOND).unwrap();
        let due = due(&minutely, missed, at(handled), at(now));
        let seconds = |(moment, _): &(Moment, bool)| moment.as_millis() / 1_000;
        (due.runs.iter().map(seconds).collect(), due.skipped)
    }

    #[test]
    fn what_was_missed_comes_by_policy() {
        let (latest, all) = (
            Missed::Latest { within: 600 * SECOND },
            Missed::All { within: 600 * SECOND },
        );
        assert_eq!(of(Missed::Skip, 0, 185), (vec![], 3));
        assert_eq!(of(latest, 0, 185), (vec![180], 2));
        assert_eq!(of(all, 0, 185), (vec![60, 120, 180], 0));
        assert_eq!(of(Missed::Skip, 0, 180), (vec![180], 2), "one is on time");
        assert_eq!(of(latest, 0, 180), (vec![180], 2));
        assert_eq!(of(all, 0, 180), (vec![60, 120, 180], 0));
        assert_eq!(
            of(all, 120, 185),
            (vec![180], 0),
            "what was handled does not come again"
        );
        let short = Missed::All { within: 70 * SECOND };
        assert_eq!(
            of(short, 0, 185),
            (vec![120, 180], 1),
            "what is too old does not come"
        );
    }

    #[test]
    fn a_look_back_is_bounded() {
        let often = Schedule::every(Duration::from_millis(1)).unwrap();
        let all = Missed::All {
            within: Duration::MAX,
        };
        let due = due(&often, all, Moment::START, at(1_000_000));
        assert_eq!(due.runs.len(), MOST_LOOKED_AT);
        assert_eq!(looks_back_to(all, at(5)), Moment::START);
    }
}
