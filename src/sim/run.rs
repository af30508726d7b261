//! Runs: one plan, one group, one history.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::LocalSet;

use super::course::{Course, Run, converge, strike_in_time};
use super::history::History;
use super::host::{self, beside};
use super::own_thread::{Leave, outside_of_runtimes};
use super::patience::Patience;
use super::run_error::RunError;

use super::plan::{Plan, PlannedJob};
use super::world::RunWorld;
use crate::actors::queue::QueueSource;
use crate::group::{Group, GroupBuilder};
use crate::protocol::faults::{self, Present};
use crate::rules::ledger::Plant;
use crate::types::{GroupConfig, Job, Placement};

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

    /// The same group over this queue. It is made anew for each life of the group, and must be the same for the same plan.
    ///
    /// A `DurableQueue` (feature `durable`) that is opened here, or in the definition of the group, writes to a file of the
    /// simulation, whatever its path is.
    #[must_use]
    pub fn over<S: QueueSource<J>>(mut self, queue: impl Fn(&Plan) -> S + Send + Sync + 'static) -> Self {
        let group = self.group;
        self.group = Box::new(move |plan| group(plan).queue(queue(plan)));
        self
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
    /// It blocks the calling thread. Inside of a runtime, which allows no second one on its thread, it takes a thread of its
    /// own and waits for that.
    ///
    /// # Errors
    /// [`RunError`]: the plan cannot be, the group does not start, there is no thread or runtime to be had.
    pub fn run(&self, plan: &Plan) -> Result<History, RunError> {
        outside_of_runtimes(|| self.run_here(plan))
    }

    fn run_here(&self, plan: &Plan) -> Result<History, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // A paused clock goes on while the runtime has nothing to do; it wakes for the next timer.
            .on_thread_unpark(|| faults::note_time(Present::Stands))
            .build()
            .map_err(RunError::Runtime)?;
        // Made before the system and so dropped after it.
        let _leave = Leave::new();
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
    pub fn run_twice(&self, plan: &Plan) -> Result<History, RunError> {
        let history = self.run(plan)?;
        self.compare(&history, plan)?;
        Ok(history)
    }

    /// Whether a second run is the same, and no thread but its own had a hand in the first.
    pub(super) fn compare(&self, first: &History, plan: &Plan) -> Result<(), RunError> {
        Self::is_alone(first)?;
        let second = self.run(plan)?;
        let Some((index, mine, theirs)) = first.first_difference(&second) else {
            return Ok(());
        };
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

    /// Whether no thread but its own had a hand in the run.
    pub(super) fn is_alone(history: &History) -> Result<(), RunError> {
        match foreign_wake(history) {
            Some((after, actor)) => Err(RunError::ForeignThread { actor, after }),
            None => Ok(()),
        }
    }

    /// Runs the plan on the real clock and on real arbiters: a blocked thread is blocked indeed. Clock jumps cannot be had
    /// here and count as faults that never happened. Takes as long as the plan does, and two runs are never the same.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_live(&self, plan: &Plan) -> Result<History, RunError> {
        outside_of_runtimes(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(RunError::Runtime)?;
            let _leave = Leave::new();
            let system = actix_rt::System::with_tokio_rt(|| runtime);
            system.block_on(self.drive(plan, false))
        })
    }

    async fn drive(&self, plan: &Plan, is_virtual: bool) -> Result<History, RunError> {
        let world = RunWorld::new(plan, is_virtual, self.plant);
        faults::adopt(Some(world.clone()));
        let run = Run {
            plan,
            is_virtual,
            world: &world,
        };
        if is_virtual && plan.ends_host() {
            return self.drive_on_a_host(run).await;
        }
        let builder = self.builder(run)?;
        let config = builder.config.clone();
        let group = builder.start()?;
        strike_in_time(plan, &world);
        Ok(self.course(run, &config, group).await.into_history(run, config))
    }

    /// A run whose host ends. If the queue outlives that, there is a next life of the group.
    async fn drive_on_a_host(&self, run: Run<'_>) -> Result<History, RunError> {
        let mut is_first = true;
        loop {
            let (config, course) = self.live_on_a_host(run, is_first).await?;
            is_first = false;
            match course {
                Some(course) if !course.goes_on => return Ok(course.into_history(run, config)),
                _ => {}
            }
            // Another process may have the file, and gives it back by itself.
            host::files_are_free(run.world, &Patience::new(run.plan, &config, run.world)).await;
            run.world.starts_again();
        }
    }

    /// One life of the group on a host of its own; `None` if the process ended.
    async fn live_on_a_host(
        &self,
        run: Run<'_>,
        is_first: bool,
    ) -> Result<(GroupConfig, Option<Course>), RunError> {
        let (host, elsewhere) = (LocalSet::new(), Rc::new(LocalSet::new()));
        faults::live_elsewhere(Some(Rc::clone(&elsewhere)));
        let builder = {
            let _elsewhere = elsewhere.enter();
            self.builder(run)?
        };
        let config = builder.config.clone();
        let group = {
            let _on_the_host = host.enter();
            builder.start()?
        };
        if is_first {
            strike_in_time(run.plan, run.world);
        }
        let course = beside(host, elsewhere, run.world, self.course(run, &config, group)).await;
        faults::live_elsewhere(None);
        Ok((config, course))
    }

    fn builder(&self, run: Run<'_>) -> Result<GroupBuilder<J, O>, RunError> {
        let mut builder = (self.group)(run.plan);
        if run.is_virtual {
            // Seeded, and placed in a way that does not depend on the machine.
            builder.config.seed = Some(run.plan.seed);
            if builder.config.placement == Placement::Processors {
                builder.config.placement = Placement::Arbiters(4);
            }
        }
        run.plan.check(builder.config.consumers)?;
        Ok(builder)
    }

    /// One life of the group, from its start to its end.
    async fn course(&self, run: Run<'_>, config: &GroupConfig, group: Group<J, O>) -> Course {
        let Run { plan, world, .. } = run;
        let patience = Patience::new(plan, config, world);
        self.send(plan, world, &group, &patience).await;
        let end = converge(plan, world, &group, config, &patience).await;
        if end.failed.is_none() {
            // What the end of the group looks like is not part of the run: nothing was asked of it there.
            let seen = world.finish();
            group.stop().await;
            return Course {
                end,
                seen: Some(seen),
                goes_on: false,
            };
        }
        host::hand_out(&group, world, &patience).await;
        let goes_on = world.host.ends() && group.keeps_its_jobs();
        drop(group);
        if goes_on {
            host::files_are_free(world, &patience).await;
        }
        Course {
            end,
            seen: None,
            goes_on,
        }
    }

    /// Sends the jobs, each at its time; a queue that is full makes the later ones late. One that stays full gets no more.
    async fn send(&self, plan: &Plan, world: &Arc<RunWorld>, group: &Group<J, O>, patience: &Patience<'_>) {
        let producer = group.producer();
        let has_calls = world.host.ends();
        let mut order: Vec<(usize, &PlannedJob)> = plan.jobs.iter().enumerate().collect();
        order.sort_by_key(|(_, job)| job.at_ms);
        for (index, job) in order {
            if world.is_sent(index) {
                continue;
            }
            tokio::time::sleep_until(world.instant(job.at_ms)).await;
            let job = (self.job)(index, job);
            world.expect(index, job.priority);
            patience.begin();
            let has_room = if has_calls && host::is_call(index) {
                host::call(producer.clone(), world, index, job, patience).await
            } else {
                let sent = producer.send_one(job, None, |name| world.named(index, name));
                let sent = patience.wait_for(pin!(sent)).await;
                match &sent {
                    Some(Ok(id)) => world.accepted(index, *id),
                    Some(Err(refused)) => world.refused(index, refused.kind.to_string()),
                    None => {}
                }
                sent.is_some()
            };
            if !has_room {
                world.refused(
                    index,
                    "nothing went on any more, and the queue had no room".to_owned(),
                );
                return;
            }
        }
    }
}

/// The first wake from a foreign thread.
fn foreign_wake(history: &History) -> Option<(usize, String)> {
    history
        .entries
        .iter()
        .enumerate()
        .find_map(|(index, entry)| match &entry.what {
            super::history::Occurrence::ForeignWake { actor } => Some((index, actor.clone())),
            _ => None,
        })
}
