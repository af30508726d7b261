//! The builder: says what a group is made of, and starts it.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use super::assemble::{QueueParts, assemble, built_in, queue_parts};
use super::consumer_closure::ConsumerClosure;
use super::errors::StartError;
use super::handle::Group;
use crate::actors::cell::spawn_in_cell;
use crate::actors::consumer::{ActorMaker, BatchMaker, BatchSize, ConsumerMaker, ShellMaker};
use crate::actors::guardian::StrategyMaker;
use crate::actors::queue::{MemoryQueue, QueueSource};
use crate::actors::{Host, StrategyShell, check_arbiter};
use crate::protocol::{
    AnyResultSink, Assign, BatchConsumer, Consumer, ConsumerActor, ConsumerInfo, Delivery, ResultSink,
    SinkFactory, StrategyActor,
};
use crate::rules::strategies::Strategy;
use crate::types::{Failure, GroupConfig, Guarded, Placement, RetryConfig};

/// As many consumers as the configuration says: what the builder is told instead of a number.
///
/// ```
/// # use consumer_group::{AS_CONFIGURED, Delivery, Group, GroupConfig};
/// # actix::System::new().block_on(async {
/// let config = GroupConfig { consumers: 7, ..GroupConfig::default() }; // from a file, usually
/// let group = Group::builder()
///     .config(config)
///     .consume_with(AS_CONFIGURED, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
///     .start()?;
/// assert_eq!(group.health().await?.slots.len(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub const AS_CONFIGURED: Option<usize> = None;

/// Says what a group is made of. See [`Group::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct GroupBuilder<J: Send + Sync + 'static, O: Send + 'static> {
    /// A simulation looks at it, and changes what depends on the machine.
    pub(crate) config: GroupConfig,
    maker: Option<Box<dyn ConsumerMaker<J, O>>>,
    strategy: Option<StrategyMaker>,
    queue: Option<Box<dyn FnOnce() -> QueueParts<J> + Send>>,
    make_sink: Option<SinkFactory<O>>,
    /// The least window that the consumers need, for batches.
    least_window: u32,
}

impl<J: Send + Sync + 'static, O: Send + 'static> Group<J, O> {
    /// Says what a group is made of; everything but the consumers has a default.
    ///
    /// ```
    /// # use consumer_group::{Group, Delivery};
    /// # actix::System::new().block_on(async {
    /// let group = Group::builder()
    ///     .consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2))
    ///     .start()?;
    /// assert_eq!(group.producer().call(21).await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn builder() -> GroupBuilder<J, O> {
        GroupBuilder {
            config: GroupConfig::default(),
            maker: None,
            strategy: None,
            queue: None,
            make_sink: None,
            least_window: 1,
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> GroupBuilder<J, O> {
    /// Takes a whole configuration, from a file for example. What the builder is told after this wins.
    pub fn config(mut self, config: GroupConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes the configuration in place.
    pub fn configure(mut self, change: impl FnOnce(&mut GroupConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// `count` consumers of a type with an async method, or [`AS_CONFIGURED`]. `factory` runs on the consumer's thread, once for
    /// each life.
    pub fn consumers<C>(
        self,
        count: impl Into<Option<usize>>,
        factory: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: Consumer<Job = J, Output = O>,
    {
        self.with_maker(count, ShellMaker(Guarded::new(factory)))
    }

    /// `count` consumers made of an async closure, `async |delivery: &Delivery<Job>| Ok(output)`, or [`AS_CONFIGURED`].
    ///
    /// The closure is cloned for each consumer, so what it holds is shared only if its clones share it. It is an async closure,
    /// `async |…|`: one that returns an async block, `|…| async { … }`, would lend the delivery to something that outlives it,
    /// and does not compile.
    pub fn consume_with<F>(self, count: impl Into<Option<usize>>, work: F) -> Self
    where
        F: AsyncFnMut(&Delivery<J>) -> Result<O, Failure> // async |delivery: &Delivery<Job>| Ok(output)
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.consumers(count, move || ConsumerClosure::new(work.clone()))
    }

    /// `count` consumers that are actix actors of your own and handle [`Deliver`](crate::Deliver), or [`AS_CONFIGURED`].
    /// `factory` runs on the consumer's thread, once for each life, and is told who it will be.
    pub fn actor_consumers<A>(
        self,
        count: impl Into<Option<usize>>,
        factory: impl Fn(&ConsumerInfo) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: ConsumerActor<J, O>,
    {
        self.with_maker(count, ActorMaker(Guarded::new(factory), PhantomData))
    }

    /// `count` consumers that take many deliveries at once, or [`AS_CONFIGURED`]. The prefetch window is made at least as large
    /// as a batch.
    pub fn batch_consumers<C>(
        mut self,
        count: impl Into<Option<usize>>,
        size: BatchSize,
        factory: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: BatchConsumer<Job = J, Output = O>,
    {
        self.least_window = u32::try_from(size.most).unwrap_or(u32::MAX);
        self.with_maker(count, BatchMaker(Guarded::new(factory), size))
    }

    fn with_maker(
        mut self,
        count: impl Into<Option<usize>>,
        maker: impl ConsumerMaker<J, O> + 'static,
    ) -> Self {
        if let Some(count) = count.into() {
            self.config.consumers = count;
        }
        self.maker = Some(Box::new(maker));
        self
    }

    /// A pure strategy of your own, in the stock actor. `factory` runs once for each life of the strategy actor.
    pub fn strategy<C>(self, factory: impl Fn() -> C + Send + 'static) -> Self
    where
        C: Strategy + Unpin,
    {
        self.strategy_actor(move || StrategyShell::new(factory()))
    }

    /// A strategy that is an actor of your own. `factory` runs once for each of its lives.
    pub fn strategy_actor<A: StrategyActor>(mut self, factory: impl Fn() -> A + Send + 'static) -> Self {
        let factory = Guarded::new(factory);
        self.strategy = Some(Box::new(move |seed, hooks| {
            spawn_in_cell(seed, hooks, false, |_| factory()).map(actix::Addr::recipient::<Assign>)
        }));
        self
    }

    /// The queue: a [`MemoryQueue`], a store of your own, or an actor of your own. It has bounds of its own: the `queue` table
    /// of the configuration is for the built-in one. One queue serves one group at a time.
    pub fn queue(mut self, source: impl QueueSource<J>) -> Self {
        self.queue = Some(Box::new(move || queue_parts(source)));
        self
    }

    /// Where outcomes go that are waited for outside of this process: those of jobs that came with a
    /// [reply address](crate::queue::Origin::reply). Without it such an address is not looked at. `factory` runs on the thread of
    /// the group, once for each life of its supervisor.
    pub fn result_sink<S: ResultSink<O>>(mut self, factory: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let factory = Guarded::new(factory);
        let make = move || Rc::new(Guarded::new(Box::new(factory()) as Box<dyn AnyResultSink<O>>));
        self.make_sink = Some(Box::new(make));
        self
    }

    /// Where consumers live.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.config.placement = placement;
        self
    }

    /// Keeps jobs of one key in order and never with two consumers at once.
    pub fn order_by_key(mut self) -> Self {
        self.config.order_by_key = true;
        self
    }

    /// What happens to a job that failed.
    pub fn retry(mut self, retry: RetryConfig) -> Self {
        self.config.retry = retry;
        self
    }

    /// Starts the group on the arbiter of this thread. Where there is none, in tokio, axum or a plain `main`, a
    /// [`Host`](crate::Host) has one: [`start_on`](Self::start_on). If the arbiter ends, the group fails: see
    /// [`Group::stopped`].
    ///
    /// # Errors
    /// [`StartError`]: a value of the configuration cannot be, there are no consumers, or no actor can be started here; the
    /// last one names the cure ([`NoArbiter`](crate::host::NoArbiter)).
    pub fn start(self) -> Result<Group<J, O>, StartError> {
        let Self {
            mut config,
            maker,
            strategy,
            queue,
            make_sink,
            least_window,
        } = self;
        let maker = maker.ok_or(StartError::NoConsumers)?;
        config.check()?;
        config.check_effects(strategy.is_some(), queue.is_some())?;
        config.window.min = config.window.min.max(least_window);
        config.window.max = config.window.max.max(config.window.min);
        check_arbiter()?;
        warn_of_abort();
        let seed = config.seed.unwrap_or_else(|| fastrand::u64(..));
        let queue = match queue {
            Some(queue) => queue(),
            None => queue_parts(MemoryQueue::new(config.queue.clone())?),
        };
        if config.order_by_key
            && let Some(why) = queue.capabilities.breaks_order()
        {
            return Err(StartError::OrderNotKept { why });
        }
        let affinity = config.affinity_of(strategy.is_none());
        config.affinity = Some(affinity);
        let strategy = strategy.unwrap_or_else(|| built_in(&config, seed));
        Ok(assemble(config, seed, (maker, make_sink), strategy, queue))
    }

    /// Starts the group on a host, from any thread and any runtime. The host drains it at its own end, unless it has ended by
    /// then: it stops, as every group, when its last handle is dropped.
    ///
    /// **Cancellation**: a group whose start is not waited for stops.
    ///
    /// # Errors
    /// [`StartError`]: as [`start`](Self::start), and [`StartError::Host`] if the host has ended.
    pub async fn start_on(self, host: &Host) -> Result<Group<J, O>, StartError> {
        let group = host.run(async move || self.start()).await??;
        let name = format!("group {}", host.next_group());
        // If the end of the host has begun meanwhile, the group stops: its only handle is dropped here.
        host.take_in(group.resident(name.into()))?;
        Ok(group)
    }
}

/// With `panic = "abort"` there is nothing to supervise: the first panic ends the process.
fn warn_of_abort() {
    if cfg!(panic = "abort") {
        tracing::warn!(
            "this program is built with panic = \"abort\": a panic in a consumer ends the whole process"
        );
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for GroupBuilder<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
