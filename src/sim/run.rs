//! Runs: one plan, one group, one history.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::history::{End, History, SentJob};
use super::plan::{Plan, PlanError, PlannedJob, When};
use super::world::RunWorld;
use crate::group::{Group, GroupBuilder, StartError};
use crate::protocol::faults::{self, Present};
use crate::rules::ledger::Plant;
use crate::words::{GroupConfig, Job};

/// How long after the last job and fault a run may take, by its own clock.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the end of a run is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A group and its jobs, to be run under plans of faults.
///
/// The group is defined as in production, by a builder; the simulation changes nothing of it but the seed, and arbiters that
/// are no threads. The workload of a plan is turned into jobs by the second function.
///
/// ```
/// use consumer_group::sim::{FaultKind, Plan, PlannedJob, Simulation, When};
/// use consumer_group::{Delivery, Group, Job};
///
/// let simulation = Simulation::new(
///     |_: &Plan| Group::builder().consume_with(2, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)),
///     |index: usize, _: &PlannedJob| Job::new(index as u64),
/// );
/// let plan = Plan::new(1)
///     .job(0, None, 0)
///     .fault(When::Attempt { job: 0, attempt: 1 }, FaultKind::Panic);
/// let history = simulation.run(&plan).unwrap();
/// assert!(consumer_group::sim::check(&history).is_empty());
/// ```
pub struct Simulation<J: Send + Sync + 'static, O: Send + 'static> {
    group: Box<GroupOf<J, O>>,
    job: Box<JobOf<J>>,
    /// A bug on purpose.
    plant: Option<Plant>,
}

type GroupOf<J, O> = dyn Fn(&Plan) -> GroupBuilder<J, O> + Send + Sync;
type JobOf<J> = dyn Fn(usize, &PlannedJob) -> Job<J> + Send + Sync;

/// A run that could not be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is impossible.
    #[error("the plan cannot be: {0}")]
    Plan(#[from] PlanError),
    /// The group did not start.
    #[error("the group did not start")]
    Start(#[from] StartError),
    /// The operating system has no more resources.
    #[error("a runtime could not be made")]
    Runtime(#[source] std::io::Error),
    /// A simulated run touched a thread that is no part of it, so it may not repeat itself.
    #[error(
        "{actor} was woken from a foreign thread after {after} entries; such a run does not repeat itself"
    )]
    ForeignThread {
        /// Which actor.
        actor: String,
        /// How much of the history was written by then.
        after: usize,
    },
    /// Two runs of one plan differ.
    #[error("two runs of one plan differ at entry {index}: {first} and {second}")]
    Differs {
        /// The place in the history.
        index: usize,
        /// What the first run has there.
        first: String,
        /// What the second run has there.
        second: String,
    },
}

impl<J: Send + Sync + 'static, O: Send + 'static> Simulation<J, O> {
    /// A simulation of the group that `group` defines, with the jobs that `job` makes of the plan. Both are called once for
    /// each run, and must make the same of the same plan.
    pub fn new(
        group: impl Fn(&Plan) -> GroupBuilder<J, O> + Send + Sync + 'static,
        job: impl Fn(usize, &PlannedJob) -> Job<J> + Send + Sync + 'static,
    ) -> Self {
        Self {
            group: Box::new(group),
            job: Box::new(job),
            plant: None,
        }
    }

    /// Plants a bug in the group, to see that it is found.
    #[doc(hidden)]
    #[must_use]
    pub fn planted(mut self, plant: Plant) -> Self {
        self.plant = Some(plant);
        self
    }

    /// Runs the plan on a paused clock and one thread. Equal plans give equal histories.
    ///
    /// # Errors
    /// [`RunError`]: the plan cannot be, the group does not start.
    ///
    /// # Panics
    /// If this thread runs inside a runtime already: call it from a plain function.
    pub fn run(&self, plan: &Plan) -> Result<History, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // A paused clock goes on while the runtime has nothing to do; it wakes for the next timer.
            .on_thread_unpark(|| faults::note_time(Present::Stands))
            .build()
            .map_err(RunError::Runtime)?;
        // Made before the system and so dropped after it.
        let _leave = Leave;
        let system = actix_rt::System::with_tokio_rt(|| runtime);
        fastrand::seed(plan.seed);
        faults::note_time(Present::Stands);
        system.block_on(self.drive(plan, true))
    }

    /// Runs the plan twice and compares.
    ///
    /// # Errors
    /// As [`run`](Self::run); also if the two histories differ, with the first place at which they do, and if the run was
    /// woken from a thread that is no part of it.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_twice(&self, plan: &Plan) -> Result<History, RunError> {
        let (first, second) = (self.run(plan)?, self.run(plan)?);
        if let Some((after, actor)) = foreign_wake(&first) {
            return Err(RunError::ForeignThread { actor, after });
        }
        match first.first_difference(&second) {
            None => Ok(first),
            Some((index, mine, theirs)) => {
                let text = |entry| match entry {
                    Some(entry) => format!("{entry:?}"),
                    None => "nothing more".to_owned(),
                };
                Err(RunError::Differs {
                    index,
                    first: text(mine),
                    second: text(theirs),
                })
            }
        }
    }

    /// Runs the plan on the real clock and on real arbiters: a blocked thread is blocked indeed. Clock jumps cannot be had
    /// here and count as faults that never happened. Takes as long as the plan does, and two runs are never the same.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn run_live(&self, plan: &Plan) -> Result<History, RunError> {
        let _leave = Leave;
        let system = actix_rt::System::new();
        system.block_on(self.drive(plan, false))
    }

    async fn drive(&self, plan: &Plan, is_virtual: bool) -> Result<History, RunError> {
        let mut builder = (self.group)(plan);
        if is_virtual {
            builder = builder.simulated(plan.seed);
        }
        let config = builder.settings().clone();
        plan.check(config.consumers)?;
        let world = RunWorld::new(plan, is_virtual, self.plant);
        faults::adopt(Some(world.clone()));
        let group = builder.start()?;
        strike_in_time(plan, &world);
        self.send(plan, &world, &group).await;
        let end = converge(plan, &world, &group, &config).await;
        // What the end of the group looks like is not part of the run: nothing was asked of it there.
        let (entries, faults, ids) = world.finish();
        group.stop().await;
        let jobs = plan.jobs.iter().zip(ids);
        Ok(History {
            config,
            jobs: jobs.map(|(job, id)| SentJob { key: job.key, id }).collect(),
            faults,
            entries,
            end,
        })
    }

    /// Sends the jobs, each at its time; a queue that is full makes the later ones late.
    async fn send(&self, plan: &Plan, world: &RunWorld, group: &Group<J, O>) {
        let producer = group.producer();
        let mut order: Vec<(usize, &PlannedJob)> = plan.jobs.iter().enumerate().collect();
        order.sort_by_key(|(_, job)| job.at_ms);
        for (index, job) in order {
            tokio::time::sleep_until(world.instant(job.at_ms)).await;
            world.expect(index);
            match producer.send((self.job)(index, job)).await {
                Ok(id) => world.accepted(index, id),
                Err(refused) => world.refused(index, refused.reason.to_string()),
            }
        }
    }
}

/// Gives the thread back to the real world at the end of a run, also at one by a panic of the user's definitions.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        faults::note_time(Present::Flows);
        faults::adopt(None);
    }
}

/// Lets the faults that have a time happen.
fn strike_in_time(plan: &Plan, world: &Arc<RunWorld>) {
    let mut due: Vec<(u64, usize)> = plan
        .faults
        .iter()
        .enumerate()
        .filter_map(|(index, fault)| match fault.when {
            When::Slot { at_ms, .. } | When::Time { at_ms } => Some((at_ms, index)),
            When::Attempt { .. } | When::Delivery { .. } => None,
        })
        .collect();
    if due.is_empty() {
        return;
    }
    due.sort_unstable();
    let world = Arc::clone(world);
    actix_rt::spawn(async move {
        for (at_ms, fault) in due {
            tokio::time::sleep_until(world.instant(at_ms)).await;
            world.strike(fault);
        }
    });
}

/// Waits until every job has its end and the group is whole again, or until the patience is used up.
async fn converge<J: Send + Sync + 'static, O: Send + 'static>(
    plan: &Plan,
    world: &Arc<RunWorld>,
    group: &Group<J, O>,
    config: &GroupConfig,
) -> End {
    let limit = world.instant(plan.last_ms()) + PATIENCE;
    tokio::time::sleep_until(world.instant(plan.last_ms())).await;
    let mut end = End {
        wanted: config.consumers,
        ..End::default()
    };
    loop {
        let now = tokio::time::Instant::now();
        // A zombie that comes back is part of the run.
        let quiet_from = world.quiet_from();
        if quiet_from > world.now() {
            let wake = world.instant(quiet_from.as_millis() + 1);
            tokio::time::sleep_until(wake).await;
        }
        end.unfinished = world.open();
        end.live = world.live();
        if end.unfinished.is_empty() && end.live == end.wanted {
            match within(limit, group.health()).await {
                Some(Ok(health)) => {
                    end.in_queue = health.queue.map_or(0, |counts| counts.unfinished());
                    end.in_flight = health.in_flight;
                    if end.in_queue == 0 && end.in_flight == 0 {
                        break;
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Some(Err(_)) => {
                    end.failed = Some(group.stopped().await.unwrap_or_else(|| "it ended".to_owned()));
                    break;
                }
                None => break,
            }
        } else if within(limit.min(now + LOOK * 50), world.news.notified())
            .await
            .is_none()
            && let Some(reason) = has_failed(group).await
        {
            end.failed = Some(reason);
            break;
        }
        if tokio::time::Instant::now() >= limit {
            break;
        }
    }
    end.at = world.now();
    end
}

async fn has_failed<J: Send + Sync + 'static, O: Send + 'static>(group: &Group<J, O>) -> Option<String> {
    use crate::words::GroupState;
    if matches!(group.state(), GroupState::Failed | GroupState::Stopped) {
        Some(group.stopped().await.unwrap_or_else(|| "it ended".to_owned()))
    } else {
        None
    }
}

async fn within<T>(limit: tokio::time::Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(limit, work).await.ok()
}

/// The first wake from a foreign thread.
fn foreign_wake(history: &History) -> Option<(usize, String)> {
    history
        .entries
        .iter()
        .enumerate()
        .find_map(|(index, entry)| match &entry.what {
            super::history::Happening::ForeignWake { actor } => Some((index, actor.clone())),
            _ => None,
        })
}
