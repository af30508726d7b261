//! The suite for consumers of all three doors.

mod checks;
mod rig;

use std::marker::PhantomData;
use std::sync::Arc;

use self::rig::{Rig, Sample};
use super::report::Report;
use super::runner::{self, Pace};
use crate::actors::consumer::{ActorMaker, BatchMaker, BatchSize, ConsumerMaker, ShellMaker};
use crate::group::ConsumerClosure;
use crate::protocol::{BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Delivery};
use crate::rules::job_ids::JobIds;
use crate::types::{Failure, Guarded, Job, JobRef, Moment};

/// The suite for a consumer; see [`consumer`], [`consumer_fn`], [`actor_consumer`] and [`batch_consumer`].
#[must_use = "a suite checks nothing until `.assert()` or `.run()`"]
pub struct ConsumerSuite<J: Send + Sync + 'static, O: Send + 'static> {
    maker: Arc<dyn ConsumerMaker<J, O>>,
    subject: &'static str,
    jobs: Sample<J>,
    large: usize,
    pace: Pace,
}

/// Checks that a consumer keeps the promises of its role. Every check makes consumers with `make`, as a group does, and
/// gives them the sample `jobs`, each of which the consumer does or fails: both settle a delivery. A sample must not end
/// its consumer.
///
/// ```
/// use consumer_group::{Consumer, Delivery, Failure};
/// use consumer_group::testing::conformance;
///
/// struct Doubler;
///
/// impl Consumer for Doubler {
///     type Job = u64;
///     type Output = u64;
///
///     async fn consume(&mut self, delivery: &Delivery<'_, u64>) -> Result<u64, Failure> {
///         Ok(delivery.job() * 2)
///     }
/// }
///
/// conformance::consumer([1, 2, 3], || Doubler).assert();
/// ```
pub fn consumer<C: Consumer>(
    jobs: impl IntoIterator<Item = impl Into<Job<C::Job>>>,
    make: impl Fn() -> C + Send + Sync + 'static,
) -> ConsumerSuite<C::Job, C::Output> {
    suite(std::any::type_name::<C>(), jobs, ShellMaker(Guarded::new(make)))
}

/// As [`consumer`], for an async closure.
///
/// ```
/// use consumer_group::Delivery;
/// use consumer_group::testing::conformance;
///
/// conformance::consumer_fn([1, 2, 3], async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)).assert();
/// ```
pub fn consumer_fn<J, O, F>(jobs: impl IntoIterator<Item = impl Into<Job<J>>>, work: F) -> ConsumerSuite<J, O>
where
    J: Send + Sync + 'static,
    O: Send + 'static,
    F: AsyncFnMut(&Delivery<J>) -> Result<O, Failure> + Clone + Send + Sync + 'static,
{
    let make = move || ConsumerClosure::<J, O, F>::new(work.clone());
    suite(std::any::type_name::<F>(), jobs, ShellMaker(Guarded::new(make)))
}

/// As [`consumer`], for an actor that settles each delivery itself.
pub fn actor_consumer<J, O, A>(
    jobs: impl IntoIterator<Item = impl Into<Job<J>>>,
    make: impl Fn(&ConsumerInfo) -> A + Send + Sync + 'static,
) -> ConsumerSuite<J, O>
where
    J: Send + Sync + 'static,
    O: Send + 'static,
    A: ConsumerActor<J, O>,
{
    suite(
        std::any::type_name::<A>(),
        jobs,
        ActorMaker(Guarded::new(make), PhantomData),
    )
}

/// As [`consumer`], for a consumer of batches.
pub fn batch_consumer<C: BatchConsumer>(
    jobs: impl IntoIterator<Item = impl Into<Job<C::Job>>>,
    size: BatchSize,
    make: impl Fn() -> C + Send + Sync + 'static,
) -> ConsumerSuite<C::Job, C::Output> {
    suite(
        std::any::type_name::<C>(),
        jobs,
        BatchMaker(Guarded::new(make), size),
    )
}

fn suite<J: Send + Sync + 'static, O: Send + 'static>(
    subject: &'static str,
    jobs: impl IntoIterator<Item = impl Into<Job<J>>>,
    maker: impl ConsumerMaker<J, O> + 'static,
) -> ConsumerSuite<J, O> {
    let mut names = JobIds::new(1);
    let seal = |job: Job<J>| JobRef::new(names.next(0), job, None, Moment::START);
    ConsumerSuite {
        maker: Arc::new(maker),
        subject,
        jobs: jobs.into_iter().map(Into::into).map(seal).collect(),
        large: 256,
        pace: Pace::PAUSED,
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> ConsumerSuite<J, O> {
    /// How many deliveries the consumer is given at once in the check of a large batch; 256 unless told otherwise. They are
    /// the samples, again and again.
    pub fn large_batch(mut self, deliveries: usize) -> Self {
        self.large = deliveries;
        self
    }

    /// Runs on the real clock: for a consumer that waits for a disk, a network or other threads.
    pub fn real_time(mut self) -> Self {
        self.pace = Pace::REAL;
        self
    }

    /// Runs every check and reports.
    #[must_use = "a report fails no test by itself; call `.assert()`"]
    pub fn run(self) -> Report {
        let Self {
            maker,
            subject,
            jobs,
            large,
            pace,
        } = self;
        let mut found = Vec::new();
        for checks::Check { name, steps } in checks::all() {
            let (maker, jobs) = (Arc::clone(&maker), jobs.clone());
            found.push(runner::run(name, pace, move |remarks| {
                Box::pin(async move {
                    let mut rig = Rig::new(maker, jobs, large, pace, remarks);
                    steps(&mut rig).await
                })
            }));
        }
        Report {
            subject,
            checks: found,
        }
    }

    /// Runs every check and fails the test if a promise is broken.
    ///
    /// # Panics
    /// If a promise is broken; the text names it.
    #[track_caller]
    pub fn assert(self) -> Report {
        self.run().assert()
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> std::fmt::Debug for ConsumerSuite<J, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerSuite")
            .field("subject", &self.subject)
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}
