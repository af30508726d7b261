//! A group as a child of a supervisor: an actor that owns the group, ends with it, and makes the next one.
//!
//! ```text
//! supervisor ──▶ GroupRunner, life 3 ──▶ group        GroupHandle ──group()──▶ the group there is, or the next one
//!                      │    ▲
//!            unfinished └─▶ └─ handed to the next group
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, Running,
    WrapFuture,
};
use tokio::sync::Notify;

use super::builder::GroupBuilder;
use super::errors::Undelivered;
use super::handle::{Drained, Group};
use super::producer::Producer;
use crate::actors::cell::note_cause;
use crate::actors::check_arbiter;
use crate::actors::intake::AdmissionError;
use crate::actors::supervision::{Child, Handle, NotDelivered, SendError};
use crate::types::{Cause, JobRef, Moment, Shutdown, text_of};

/// How long an orderly end drains, unless [`GroupChild::drain_within`] says otherwise.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// How long a group that is full is left alone before it is given more of what the one before did not finish.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Why a group could not be made.
type MakeError = Box<dyn std::error::Error + Send + Sync>;

type Made<J, O> = Pin<Box<dyn Future<Output = Result<GroupBuilder<J, O>, MakeError>>>>;

/// Says what each group is made of.
type Make<J, O> = Arc<dyn Fn() -> Made<J, O> + Send + Sync>;

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
/// | it failed: a role or a slot spent its budget, the queue gave up | ended by a fault, [`Cause::Failed`] with the reason | go to the next group |
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

/// What the lives of one child and its handles share.
struct Settings<J> {
    drain_within: Mutex<Duration>,
    unfinished: Mutex<VecDeque<Unfinished<J>>>,
    /// Something has come into `unfinished`.
    came: Notify,
}

/// A job that a group did not finish.
struct Unfinished<J> {
    job: JobRef<J>,
    /// When it was handed back, by the clock of that group.
    at: Moment,
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

/// The actor that owns a supervised group. Only its handle is for others.
pub struct GroupRunner<J: Send + Sync + 'static, O: Send + 'static> {
    make: Make<J, O>,
    settings: Arc<Settings<J>>,
    /// `None` before it is up, and from the beginning of its end.
    group: Option<Group<J, O>>,
}

/// Give me the group. `None` if its end has begun.
struct AskGroup<J, O>(std::marker::PhantomData<fn(J) -> O>);

impl<J, O> Default for AskGroup<J, O> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Message for AskGroup<J, O> {
    type Result = Option<Group<J, O>>;
}

impl<J: Send + Sync + 'static, O: Send + 'static> Handler<AskGroup<J, O>> for GroupRunner<J, O> {
    type Result = MessageResult<AskGroup<J, O>>;

    fn handle(&mut self, _: AskGroup<J, O>, context: &mut Context<Self>) -> Self::Result {
        // Its end may be known to the one who asks before it was told here. Who asks again then waits for the next life.
        if let Some(reason) = self.group.as_ref().and_then(Group::end_reason) {
            self.group_ended(reason, context);
        }
        MessageResult(self.group.clone())
    }
}

// Nothing in it must stay in place in memory.
impl<J: Send + Sync + 'static, O: Send + 'static> Unpin for GroupRunner<J, O> {}

impl<J: Send + Sync + 'static, O: Send + 'static> Actor for GroupRunner<J, O> {
    type Context = Context<Self>;

    /// It is up when its group is: whatever is sent to it waits until then.
    fn started(&mut self, context: &mut Context<Self>) {
        let made = (self.make)();
        let started = async move {
            let builder = made.await?;
            builder.start().map_err(MakeError::from)
        };
        context.wait(started.into_actor(self).map(|group, this, context| match group {
            Ok(group) => this.run(group, context),
            Err(error) => {
                note_cause(Cause::StartFailed(text_of(error)));
                context.stop();
            }
        }));
    }

    /// First the group ends, then its actor.
    fn stopping(&mut self, context: &mut Context<Self>) -> Running {
        let Some(group) = self.group.take() else {
            return Running::Stop;
        };
        let within = *open(&self.settings.drain_within);
        let ended = self.end(group, within);
        context.wait(ended.into_actor(self).map(|(), _, context| context.stop()));
        Running::Continue
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> Drop for GroupRunner<J, O> {
    fn drop(&mut self) {
        // Dropped where it stood. The group stops without it; what it leaves comes to the next life later. If the arbiter
        // ends, the group ends with it.
        if let Some(group) = self.group.take()
            && check_arbiter().is_ok()
        {
            drop(self.end(group, Duration::ZERO));
        }
    }
}

impl<J: Send + Sync + 'static, O: Send + 'static> GroupRunner<J, O> {
    fn run(&mut self, group: Group<J, O>, context: &mut Context<Self>) {
        let ended = group.clone();
        let ended = async move { ended.stopped().await };
        context.spawn(
            ended
                .into_actor(self)
                .map(|reason, this, context| this.group_ended(reason, context)),
        );
        let handed_over = hand_over(Arc::clone(&self.settings), group.clone());
        context.spawn(handed_over.into_actor(self));
        self.group = Some(group);
    }

    /// The group ended by itself.
    fn group_ended(&mut self, reason: Option<String>, context: &mut Context<Self>) {
        // Without a group its end was ordered, and is waited for elsewhere.
        let Some(group) = self.group.take() else { return };
        let Some(reason) = reason else {
            // It was stopped, and whoever did that has what it left.
            context.stop();
            return;
        };
        let ended = self.end(group, Duration::ZERO);
        context.wait(ended.into_actor(self).map(move |(), _, context| {
            note_cause(Cause::Failed(text_of(reason)));
            context.stop();
        }));
    }

    /// Ends the group, and keeps what it leaves for the next one. In a task of its own, so that it goes on when this actor is
    /// dropped over it.
    fn end(&self, group: Group<J, O>, within: Duration) -> impl Future<Output = ()> + 'static {
        let settings = Arc::clone(&self.settings);
        let ended = actix_rt::spawn(async move {
            let drained = if within.is_zero() {
                group.stop().await
            } else {
                group.drain(within).await
            };
            settings.keep(&group, drained);
        });
        async move {
            // An error means that the task panicked or that the arbiter ends: nothing is left to wait for.
            let _ = ended.await;
        }
    }
}

impl<J: Send + Sync + 'static> Settings<J> {
    /// Keeps what a group left, for the next one.
    fn keep<O: Send + 'static>(&self, group: &Group<J, O>, drained: Drained<J>) {
        let at = group.now();
        let left = drained.unfinished.into_iter().map(Undelivered::into_sealed);
        // Whoever waits in a `call` has the job back, and decides what to do with it.
        let left = left.filter(|job| !job.reply_to().is_some_and(|reply_to| group.is_call(reply_to)));
        let mut unfinished = open(&self.unfinished);
        unfinished.extend(left.map(|job| Unfinished { job, at }));
        let count = unfinished.len();
        drop(unfinished);
        if count > 0 {
            tracing::info!(jobs = count, "unfinished jobs wait for the next group");
            self.came.notify_one();
        }
    }
}

impl<J: Send + Sync + 'static> Unfinished<J> {
    /// The job for a group by whose clock it is `now`: its times count on, and nobody waits for its outcome. Gives it back if
    /// that cannot be said, because somebody else still holds the job.
    fn again(self, now: Moment) -> Result<JobRef<J>, Self> {
        let Self { job, at } = self;
        job.for_another_group(at, now).map_err(|job| Self { job, at })
    }
}

/// Hands what earlier groups left to this one, now and whenever more comes.
async fn hand_over<J: Send + Sync + 'static, O: Send + 'static>(
    settings: Arc<Settings<J>>,
    group: Group<J, O>,
) {
    loop {
        if !hand_over_once(&settings, &group).await {
            return;
        }
        settings.came.notified().await;
    }
}

/// False if the group takes no more.
async fn hand_over_once<J: Send + Sync + 'static, O: Send + 'static>(
    settings: &Settings<J>,
    group: &Group<J, O>,
) -> bool {
    let intake = group.intake();
    // Each is tried once: one that somebody still holds goes to the end and waits for the next time.
    let mut left = open(&settings.unfinished).len();
    while left > 0 {
        match intake.admit(1).await {
            Ok(_) => {}
            Err(AdmissionError::Full) => {
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            Err(_) => return false,
        }
        left -= 1;
        // From here on nothing is waited for: a job is in the list or in the group, whenever this life ends.
        let Some(next) = open(&settings.unfinished).pop_front() else {
            intake.give_back(1);
            return true;
        };
        match next.again(group.now()) {
            Ok(job) => {
                if let Err(job) = intake.put_again(job) {
                    let at = group.now();
                    open(&settings.unfinished).push_front(Unfinished { job, at });
                    return false;
                }
            }
            Err(held) => {
                intake.give_back(1);
                open(&settings.unfinished).push_back(held);
            }
        }
    }
    true
}

/// No code of the user runs under one of these locks.
fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
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

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for GroupRunner<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupRunner").field("group", &self.group).finish()
    }
}
