//! The checker: reads a history, and nothing else, and says which promises of the group it breaks.
//!
//! | invariant | what must not be in a history |
//! |---|---|
//! | nothing is lost | an accepted job that was neither acked nor dead-lettered, nor handed out by a group that had ended |
//! | nobody is left waiting | a caller who was never told what became of his job |
//! | nothing is acked twice | two acks of a job, unless the source delivered it twice or the queue lost its memory of the first |
//! | order per key | of one key, an effect or an ack of a job after one of a later job; a sink is taken to refuse late tokens |
//! | one consumer per key | two consumers that both count, at work on jobs of one key |
//! | acks are of work done | an ack of a delivery whose work was not done |
//! | failures are of attempts that ended | a failure that was counted against an attempt while its consumer was at work on it |
//! | fenced | an ack of a delivery that was over: of an earlier life of its consumer, or of an earlier attempt |
//! | a standstill is nobody's fault | a consumer or a strategy whose deadline passed only because the process, or the thread of the supervisor, stood still |
//! | the end of a process is charged to one alone | an attempt charged for the end of a process to a job that was not at work, or not alone |
//! | what was taken back does not begin | a delivery that was taken back although it had begun, or that began after that |
//! | an urgent job is not overtaken | a job that began at a consumer while a more urgent one had lain there, not begun, for longer than a look takes |
//! | restart budget | more restarts within the period than the budget allows |
//! | memory bounds | a consumer that holds more deliveries than its window may grow to |
//! | one owner | another process that gets the file of a durable queue while its owner lives |
//! | nothing is written over | a file of a durable queue that cannot be read after a crash, or in which something is missing that another process wrote |
//! | converges | after the last fault: a job in the queue or leased, a slot without a consumer, a group that gave up, or one without a host that did not |
//!
//! With [`Checker::strict`] also:
//!
//! | invariant | what must not be in a history |
//! |---|---|
//! | what was held goes first | a job that waited behind what a consumer held when it died, and was delivered to the same slot before that |
//!
//! It holds for every strategy of this crate. One of your own may hold a job back that it is offered, and give away the next. Over
//! a durable queue it cannot be asked for: a job comes to the supervisor when the commit of its lease is done, of which the
//! history says nothing.
//!
//! Effects that are repeated are counted and are no violation: the group promises "at least once".

mod acks;
mod charges;
mod ends;
mod failures;
mod keys;
mod limits;
mod recall;
mod redelivery;
mod standstill;
mod urgent;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::history::{History, SentJob};
use super::names::Names;
use crate::types::JobId;

/// A promise that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: String,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What an invariant says of a history: nothing, or what breaks it.
pub(super) type Judged = Result<(), String>;

/// A history, and what several invariants need to know of it.
pub(super) struct Facts<'h> {
    history: &'h History,
    /// The accepted jobs by their names.
    names: Names,
    /// For each job with a key the place of the first job of that key.
    families: Vec<Option<usize>>,
}

impl<'h> Facts<'h> {
    fn new(history: &'h History) -> Self {
        let mut names = Names::default();
        for (place, job) in history.jobs.iter().enumerate() {
            if let Some(id) = job.id {
                names.add(id, place);
            }
        }
        let mut first: Vec<(u32, usize)> = Vec::new();
        let family = |(place, job): (usize, &SentJob)| {
            let key = job.key?;
            match first.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(found) => first.get(found).map(|(_, place)| *place),
                Err(index) => {
                    first.insert(index, (key, place));
                    Some(place)
                }
            }
        };
        let families = history.jobs.iter().enumerate().map(family).collect();
        Self {
            history,
            names,
            families,
        }
    }

    /// The place in the plan of a job.
    fn place(&self, job: JobId) -> Option<usize> {
        self.names.place(job)
    }

    /// The key of the job at this place.
    fn key(&self, place: usize) -> Option<u32> {
        self.history.jobs.get(place).and_then(|job| job.key)
    }

    /// How urgent the job at this place is.
    fn priority(&self, place: usize) -> u8 {
        self.history.jobs.get(place).map_or(0, |job| job.priority)
    }

    /// The place of the first job with the key of this one: what is kept by key is kept there.
    fn family(&self, place: usize) -> Option<usize> {
        self.families.get(place).copied().flatten()
    }

    /// Something for each job, to be looked up by its place.
    fn for_each_job<T: Clone>(&self, begin: T) -> Vec<T> {
        vec![begin; self.history.jobs.len()]
    }
}

/// A built-in invariant.
type Invariant = fn(&Facts<'_>) -> Judged;

/// The invariants of every group, in the order in which they are reported.
const INVARIANTS: [(&str, Invariant); 17] = [
    ("nothing is lost", ends::nothing_is_lost),
    ("nobody is left waiting", ends::nobody_is_left_waiting),
    ("nothing is acked twice", acks::nothing_is_acked_twice),
    ("order per key", keys::order_per_key),
    ("one consumer per key", keys::one_consumer_per_key),
    ("acks are of work done", acks::acks_are_of_work_done),
    (
        "failures are of attempts that ended",
        failures::are_of_attempts_that_ended,
    ),
    ("fenced", acks::fenced),
    ("a standstill is nobody's fault", standstill::is_nobodys_fault),
    (
        "the end of a process is charged to one alone",
        charges::end_of_a_process_is_charged_to_one_alone,
    ),
    (
        "what was taken back does not begin",
        recall::what_was_taken_back_does_not_begin,
    ),
    ("an urgent job is not overtaken", urgent::is_not_overtaken),
    ("restart budget", limits::restart_budget),
    ("memory bounds", limits::memory_bounds),
    ("one owner", ends::one_owner),
    ("nothing is written over", ends::nothing_is_written_over),
    ("converges", ends::converges),
];

/// The invariant of groups with a strategy of this crate.
const STRICT: (&str, Invariant) = ("what was held goes first", redelivery::what_was_held_goes_first);

/// The violations of the built-in invariants: the first of each.
pub fn check(history: &History) -> Vec<Violation> {
    Checker::default().check(history)
}

/// The built-in invariants, and a user's own.
///
/// ```
/// use consumer_group::sim::Checker;
///
/// let checker = Checker::default().with("few entries", |history| {
///     if history.entries.len() < 10_000 { Ok(()) } else { Err(format!("{} entries", history.entries.len())) }
/// });
/// ```
#[derive(Default)]
pub struct Checker {
    is_strict: bool,
    own: Vec<(String, OwnInvariant)>,
}

type OwnInvariant = Box<dyn Fn(&History) -> Judged + Send + Sync>;

impl Checker {
    /// The built-in invariants, and those that hold only if the strategy is one of this crate. See the table of the module.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            is_strict: true,
            own: Vec::new(),
        }
    }

    /// Adds an invariant: it says what it saw that breaks it.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        holds: impl Fn(&History) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.own.push((name.into(), Box::new(holds)));
        self
    }

    /// The violations: the first of each invariant.
    pub fn check(&self, history: &History) -> Vec<Violation> {
        self.judge(history)
            .filter_map(|(invariant, judged)| {
                judged.err().map(|what| Violation {
                    invariant: invariant.to_owned(),
                    what,
                })
            })
            .collect()
    }

    /// Every invariant with what it says.
    pub(super) fn judge<'a>(&'a self, history: &'a History) -> impl Iterator<Item = (&'a str, Judged)> {
        let facts = Facts::new(history);
        let built_in = INVARIANTS
            .iter()
            .chain(self.is_strict.then_some(&STRICT))
            .map(move |(name, holds)| (*name, holds(&facts)));
        let own = self
            .own
            .iter()
            .map(move |(name, holds)| (name.as_str(), holds(history)));
        built_in.chain(own)
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own: Vec<&str> = self.own.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Checker").field("own", &own).finish()
    }
}
