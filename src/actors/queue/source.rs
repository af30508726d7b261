//! Where queue actors come from: the group makes a new one whenever the last one died.

use std::fmt;
use std::sync::Arc;

use super::actor::StoreQueue;
use super::core::{QueueCore, QueueRest};
use super::room::QueueRoom;
use crate::actors::Clock;
use crate::protocol::QueueActor;
use crate::rules::store::{MemoryStore, Store};
use crate::types::{Capabilities, ConfigError, Epoch, GroupConfig, QueueConfig};

/// Makes queue actors for a group: one at its start, and one after each death of the last.
///
/// The source must outlive what it makes: an actor made later finds the jobs of the one before.
pub trait QueueSource<J: Send + Sync + 'static>: Send + 'static {
    /// The actor.
    type Actor: QueueActor<J>;

    /// Makes an actor that reads this clock.
    fn create(&self, clock: Clock) -> Self::Actor;

    /// The clock by which the queue's moments count already; a group over this queue goes on with it. `None`, the default,
    /// for a queue that has kept no moments yet.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// The greatest epoch that ever attached, in this process or an earlier one; a group over this queue begins after it,
    /// even if the wall clock was set back. 0, the default, for a queue that ends with its process.
    fn epoch(&self) -> Epoch {
        Epoch(0)
    }

    /// What the queue does natively.
    fn capabilities(&self) -> Capabilities;

    /// The permits that senders take before they send; `None` for a queue that takes every job or refuses by itself.
    fn room(&self) -> Option<QueueRoom>;

    /// Hands out what the queue holds without an actor, for a group that ends: its arbiter may have ended with every actor
    /// on it. Called at most once, when nobody leases any more, from the thread of the group, which may have no runtime by
    /// then. `None`, the default, for a queue whose jobs only its actor can hand out; they are not named if the arbiter ends.
    /// A queue that is not `volatile` is not asked.
    fn take_rest(&self) -> Option<QueueRest<J>> {
        None
    }
}

/// A queue over a store. Clones share the store.
pub struct StoreSource<J: Send + Sync + 'static, S> {
    core: Arc<QueueCore<J, S>>,
}

/// The built-in queue: in memory, ordered by priority and age, with delays, retries and dead letters.
///
/// ```
/// use consumer_group::queue::MemoryQueue;
///
/// let queue: MemoryQueue<String> = MemoryQueue::bounded(10_000);
/// ```
pub type MemoryQueue<J> = StoreSource<J, MemoryStore<J>>;

/// The queue over a store of your own.
pub fn queue_of<J: Send + Sync + 'static, S: Store<J>>(store: S) -> StoreSource<J, S> {
    let core = Arc::new(QueueCore::new(store));
    StoreSource { core }
}

impl<J: Send + Sync + 'static> StoreSource<J, MemoryStore<J>> {
    /// A memory queue as configured.
    ///
    /// # Errors
    /// The first value of the configuration that cannot be.
    pub fn new(config: QueueConfig) -> Result<Self, ConfigError> {
        let group = GroupConfig {
            queue: config,
            ..GroupConfig::default()
        };
        group.check()?;
        Ok(queue_of(MemoryStore::new(&group.queue)))
    }

    /// A memory queue for this many jobs, at least 1; a sender that finds it full waits.
    pub fn bounded(capacity: usize) -> Self {
        queue_of(MemoryStore::new(&QueueConfig {
            capacity,
            ..QueueConfig::default()
        }))
    }
}

impl<J: Send + Sync + 'static, S> Clone for StoreSource<J, S> {
    fn clone(&self) -> Self {
        let core = Arc::clone(&self.core);
        Self { core }
    }
}

impl<J: Send + Sync + 'static, S> fmt::Debug for StoreSource<J, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSource").finish_non_exhaustive()
    }
}

impl<J: Send + Sync + 'static, S: Store<J>> QueueSource<J> for StoreSource<J, S> {
    type Actor = StoreQueue<J, S>;

    fn create(&self, clock: Clock) -> Self::Actor {
        StoreQueue::new(Arc::clone(&self.core), clock)
    }

    fn clock(&self) -> Option<Clock> {
        self.core.clock()
    }

    fn capabilities(&self) -> Capabilities {
        self.core.capabilities()
    }

    fn room(&self) -> Option<QueueRoom> {
        self.core.room()
    }

    fn take_rest(&self) -> Option<QueueRest<J>> {
        Some(self.core.take_rest())
    }
}

/// A queue actor of your own, made by a closure. It says itself, in its answers, for what it has no room.
pub struct ActorQueue<J, F> {
    capabilities: Capabilities,
    factory: F,
    rest: Option<Box<dyn Fn() -> QueueRest<J> + Send>>,
}

impl<J, F> ActorQueue<J, F> {
    /// `factory` is called for each life of the queue. What must outlive an actor belongs to the closure.
    pub fn new(capabilities: Capabilities, factory: F) -> Self {
        Self {
            capabilities,
            factory,
            rest: None,
        }
    }

    /// Says how the jobs are handed out without an actor, from what outlives it: see [`QueueSource::take_rest`]. Without it
    /// they are not named if the arbiter under the group ends.
    #[must_use]
    pub fn rest_by(mut self, rest: impl Fn() -> QueueRest<J> + Send + 'static) -> Self {
        self.rest = Some(Box::new(rest));
        self
    }
}

impl<J, F> fmt::Debug for ActorQueue<J, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorQueue")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl<J, A, F> QueueSource<J> for ActorQueue<J, F>
where
    J: Send + Sync + 'static,
    A: QueueActor<J>,
    F: Fn() -> A + Send + 'static,
{
    type Actor = A;

    fn create(&self, _clock: Clock) -> A {
        (self.factory)()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn room(&self) -> Option<QueueRoom> {
        None
    }

    fn take_rest(&self) -> Option<QueueRest<J>> {
        self.rest.as_ref().map(|rest| rest())
    }
}
