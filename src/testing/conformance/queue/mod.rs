//! The suite for queues.

mod commands;
mod flow;
mod lives;
mod rig;
mod settling;
mod wishes;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use self::rig::Rig;
use super::report::Report;
use super::runner::{self, Held, Pace};
use crate::actors::queue::QueueSource;

/// What a queue does beyond its [`Capabilities`](crate::queue::Capabilities): whatever is claimed here is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueTraits {
    /// Jobs come out in the order in which they went in. A queue of several partitions keeps it within each of them only.
    pub fifo: bool,
    /// A job of a higher priority is leased first.
    pub priorities: bool,
    /// A job that was sent with a delay is not leased before it is over.
    pub delayed_jobs: bool,
    /// A job that waited longer than its producer allowed becomes a dead letter.
    pub expiry: bool,
    /// A second job with the deduplication key of an accepted one is refused.
    pub dedup: bool,
}

impl QueueTraits {
    /// First in, first out, and no wish of a job is looked at. What a suite asks for unless it is told otherwise.
    pub const PLAIN: Self = Self {
        fifo: true,
        priorities: false,
        delayed_jobs: false,
        expiry: false,
        dedup: false,
    };

    /// Everything: what the built-in memory queue does.
    pub const ALL: Self = Self {
        fifo: true,
        priorities: true,
        delayed_jobs: true,
        expiry: true,
        dedup: true,
    };
}

/// The suite for a queue; see [`queue`].
#[must_use = "a suite checks nothing until `.assert()` or `.run()`"]
pub struct QueueSuite<F> {
    make: Arc<F>,
    traits: QueueTraits,
    pace: Pace,
}

/// Checks that a queue keeps the promises of its role: every check gets a fresh queue from `make`, with room for at least
/// 64 jobs, and plays the producers and the supervisor by the messages of the protocol. What the queue's
/// [`Capabilities`](crate::queue::Capabilities) do not claim is not asked for.
///
/// ```
/// use consumer_group::queue::MemoryQueue;
/// use consumer_group::testing::conformance::{self, QueueTraits};
///
/// conformance::queue(|| MemoryQueue::bounded(100)).claims(QueueTraits::ALL).assert();
/// ```
pub fn queue<S, F>(make: F) -> QueueSuite<F>
where
    S: QueueSource<u64>,
    F: Fn() -> S + Send + Sync + 'static,
{
    QueueSuite {
        make: Arc::new(make),
        traits: QueueTraits::PLAIN,
        pace: Pace::PAUSED,
    }
}

impl<F> QueueSuite<F> {
    /// What the queue does beyond its capabilities.
    pub fn claims(mut self, traits: QueueTraits) -> Self {
        self.traits = traits;
        self
    }

    /// Runs on the real clock: for a queue that waits for a disk, a network or threads of its own.
    pub fn real_time(mut self) -> Self {
        self.pace = Pace::REAL;
        self
    }

    /// Runs every check and reports.
    #[must_use = "a report fails no test by itself; call `.assert()`"]
    pub fn run<S>(self) -> Report
    where
        S: QueueSource<u64>,
        F: Fn() -> S + Send + Sync + 'static,
    {
        let Self { make, traits, pace } = self;
        let mut checks = Vec::new();
        for Check { name, steps, .. } in all::<S>() {
            let make = Arc::clone(&make);
            checks.push(runner::run(name, pace, move |remarks| {
                Box::pin(async move {
                    let mut rig = Rig::new(make(), traits, pace, remarks)?;
                    steps(&mut rig).await
                })
            }));
        }
        Report {
            subject: std::any::type_name::<S>(),
            checks,
        }
    }

    /// Runs every check and fails the test if a promise is broken.
    ///
    /// # Panics
    /// If a promise is broken; the text names it.
    #[track_caller]
    pub fn assert<S>(self) -> Report
    where
        S: QueueSource<u64>,
        F: Fn() -> S + Send + Sync + 'static,
    {
        self.run().assert()
    }
}

impl<F> std::fmt::Debug for QueueSuite<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSuite")
            .field("traits", &self.traits)
            .finish_non_exhaustive()
    }
}

type Steps<'r> = Pin<Box<dyn Future<Output = Held> + 'r>>;

struct Check<S: QueueSource<u64>> {
    name: &'static str,
    steps: for<'r> fn(&'r mut Rig<S>) -> Steps<'r>,
    source: PhantomData<S>,
}

macro_rules! checks {
    ($($part:ident :: $name:ident,)*) => {
        vec![$(Check {
            name: stringify!($name),
            steps: |rig| Box::pin($part::$name(rig)),
            source: PhantomData,
        }),*]
    };
}

fn all<S: QueueSource<u64>>() -> Vec<Check<S>> {
    checks![
        flow::jobs_come_out_as_they_went_in,
        flow::jobs_come_out_in_order,
        flow::jobs_of_one_key_come_out_in_order,
        flow::nothing_is_leased_without_credit,
        flow::credit_is_never_exceeded,
        flow::credit_waits_for_jobs,
        flow::a_smaller_total_takes_credit_back,
        flow::a_leased_job_is_not_leased_again,
        flow::pushes_of_every_size_are_taken,
        flow::room_comes_back,
        settling::an_acked_job_is_forgotten,
        settling::a_retried_job_comes_again_at_its_old_place,
        settling::a_retry_waits_for_its_delay,
        settling::attempts_are_counted,
        settling::a_renewed_lease_goes_on,
        settling::an_extended_lease_goes_on,
        settling::leases_are_never_named_twice,
        settling::a_settle_sent_twice_is_harmless,
        settling::stale_settles_are_refused,
        settling::a_rejected_job_becomes_a_dead_letter,
        lives::a_later_epoch_takes_leases_back_in_order,
        lives::a_job_that_comes_again_has_its_name,
        lives::a_later_epoch_ends_what_the_earlier_one_said,
        lives::the_same_epoch_takes_nothing_back,
        lives::an_earlier_epoch_is_superseded,
        lives::a_new_life_has_lost_nothing,
        lives::leases_outlive_the_actor,
        lives::an_acked_job_stays_forgotten_in_a_new_life,
        lives::attempts_outlive_the_actor,
        lives::a_push_is_taken_or_handed_back_when_the_actor_dies,
        commands::a_closed_queue_refuses_jobs_and_hands_out_the_rest,
        commands::counts_are_right,
        commands::unfinished_jobs_are_handed_out_once,
        commands::dead_letters_are_listed_sent_back_and_purged,
        wishes::urgent_jobs_come_first,
        wishes::a_delayed_job_waits,
        wishes::an_expired_job_becomes_a_dead_letter,
        wishes::a_duplicate_is_refused,
    ]
}
