//! A group as a child of a supervisor: an actor that owns the group, ends with it, and makes the next one.
//!
//! ```text
//! supervisor ──▶ GroupRunner, life 3 ──▶ group        GroupHandle ──group()──▶ the group there is, or the next one
//!                      │    ▲
//!            unfinished └─▶ └─ handed to the next group
//! ```

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::builder::GroupBuilder;
use super::errors::Undelivered;
use super::handle::Group;
use super::producer::Producer;
use super::runner::{AskGroup, DRAIN_WITHIN, GroupRunner, Make, Settings, open};
use crate::actors::supervision::{Child, Handle, NotDelivered, SendError};
use crate::types::Shutdown;

/// A group to be supervised: when it fails, the next one is made by the policies of its supervisor.
///
/// The closure says what a group is made of; it is called for each life, on the supervisor's arbiters, and may wait.
/// [`into_child`](Self::into_child) makes the [`Child`] for a supervisor, with all that a child can be told.
///
/// ```
/// use std::time::Duration;
/// use consumer_group::{Delivery, Group};
/// use consumer_group::supervision::{GroupChild, SupervisorSpec};
///
/// # actix::System::new().block_on(async {
/// let mut mails = GroupChild::new("mails", async || {
///     Ok(Group::builder().consume_with(4, async |delivery: &Delivery<u64>| Ok(delivery.job() * 2)))
/// });
/// let handle = mails.handle();
/// let tree = SupervisorSpec::new("shop")
///     .intensity(5, Duration::from_secs(60))
///     .child(mails.into_child())
///     .start()
///     .await?;
/// // The group there is now; in the middle of a restart, the next one.
/// assert_eq!(handle.producer().await?.call(21).await?, 42);
/// tree.stop().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// | how the group ended | the child | its jobs |
/// |---|---|---|
/// | it failed: a role or a slot spent its budget, the queue gave up | ended by a fault, [`Cause::Failed`](crate::Cause::Failed) with the reason | go to the next group |
/// | it could not be made or started | a failed start | go to the next group |
/// | somebody stopped or drained it by its own handle | ended of its own will | whoever stopped it has them |
/// | its supervisor ended the child | drained within [`drain_within`](Self::drain_within) | go to the next group, if one follows |
///
/// # What a group leaves unfinished
///
/// A durable queue keeps its jobs, and the next group finds them; open it with `DurableBuilder::open_when_free`, which waits
/// until the group before has let go of the file. The jobs of a queue in memory are handed to the next group under their own
/// names, with keys, priorities, delays and expiry, and as if they had not been tried before: a job that makes its group fail
/// again and again is ended by the supervisor's budget. Nobody waits for their outcome any more: results ended with their
/// group. The job of a `call` is not handed over, since its caller has it back. If no group follows, they wait in the handle:
/// [`GroupHandle::take_unfinished`].
pub struct GroupChild<J: Send + Sync + 'static, O: Send + 'static> {
    child: Child<GroupRunner<J, O>>,
    settings: Arc<Settings<J>>,
}

impl<J: Send + Sync + 'static, O: Send + 'static> GroupChild<J, O> {
    /// A group of this name. `make` is called for each life; what it returns is started. A panic in it, an error and a group
    /// that does not start are a failed start.
    pub fn new(
        name: impl Into<Arc<str>>,
        make: impl AsyncFn() -> Result<GroupBuilder<J, O>, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let make = Arc::new(make);
        let make: Make<J, O> = Arc::new(move || {
            let make = Arc::clone(&make);
            Box::pin(async move { make().await })
        });
        let settings = Arc::new(Settings {
            drain_within: Mutex::new(DRAIN_WITHIN),
            unfinished: Mutex::default(),
            came: Notify::new(),
        });
        let of_lives = Arc::clone(&settings);
        let child = Child::new(name, move || GroupRunner {
            make: Arc::clone(&make),
            settings: Arc::clone(&of_lives),
            group: None,
        });
        // A drain has a limit of its own.
        let child = child.shutdown(Shutdown::WithoutLimit);
        Self { child, settings }
    }

    /// How long a group drains when its supervisor ends it. The default is 5 s; zero stops it at once.
    #[must_use]
    pub fn drain_within(self, limit: Duration) -> Self {
        *open(&self.settings.drain_within) = limit;
        self
    }

    /// The handle, valid over all lives. Can be had before the first.
    pub fn handle(&mut self) -> GroupHandle<J, O> {
        GroupHandle {
            runner: self.child.handle(),
            settings: Arc::clone(&self.settings),
        }
    }

    /// The child for a supervisor: [`SupervisorSpec::child`](crate::supervision::SupervisorSpec::child), or
    /// [`SupervisorHandle::add`](crate::supervision::SupervisorHandle::add). It is permanent and ended without a limit beyond
    /// the drain's own, unless it is told otherwise.
    pub fn into_child(self) -> Child<GroupRunner<J, O>> {
        self.child
    }
}

/// Reaches a supervised group over all of its lives. Clones reach the same one.
pub struct GroupHandle<J: Send + Sync + 'static, O: Send + 'static> {
    runner: Handle<GroupRunner<J, O>>,
    settings: Arc<Settings<J>>,
}

/// There is no group, and none will follow by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the group cannot be reached: {0}")]
pub struct NoGroupError(pub NotDelivered);

impl<J: Send + Sync + 'static, O: Send + 'static> GroupHandle<J, O> {
    /// The group there is now; while it is restarted, the next one. A group that is held is not kept from ending.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`NoGroupError`]: it is over for good, was never started, or too many wait for the next life already.
    pub async fn group(&self) -> Result<Group<J, O>, NoGroupError> {
        loop {
            match self.runner.send(AskGroup::default()).await {
                Ok(Some(group)) => return Ok(group),
                Err(SendError::NotDelivered { reason, .. }) => return Err(NoGroupError(reason)),
                // That life ended over the question; the next one is asked.
                Ok(None) | Err(SendError::Died { .. } | SendError::NoAnswer) => {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// A producer for the group there is now; while it is restarted, for the next one. It ends with its group: a send that
    /// finds it closed gives the job back, and a new producer is to be had here.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub async fn producer(&self) -> Result<Producer<J, O>, NoGroupError> {
        Ok(self.group().await?.producer())
    }

    /// Jobs that no group has finished and that wait for the next one; oldest first. From here on they are the caller's.
    pub fn take_unfinished(&self) -> Vec<Undelivered<J>> {
        let jobs = std::mem::take(&mut *open(&self.settings.unfinished));
        jobs.into_iter()
            .map(|unfinished| Undelivered::new(unfinished.job))
            .collect()
    }

    /// Whether the group has ended and is not started again by itself.
    pub fn is_over(&self) -> bool {
        self.runner.is_over()
    }

    /// The actor that owns the group: to monitor its lives, or to link it.
    pub fn runner(&self) -> &Handle<GroupRunner<J, O>> {
        &self.runner
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Clone for GroupHandle<J, O> {
    fn clone(&self) -> Self {
        Self {
            runner: self.runner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for GroupHandle<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupHandle({})", self.runner.path())
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for GroupChild<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupChild").field(&self.child).finish()
    }
}
