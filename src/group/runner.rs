//! The actor that runs a group as a child of a supervision tree: each of its lives is a group, and what one leaves the next one
//! gets.

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
use super::drained::Drained;
use super::errors::Undelivered;
use super::handle::Group;
use crate::actors::cell::note_cause;
use crate::actors::check_arbiter;
use crate::actors::intake::AdmissionError;
use crate::types::{Cause, JobRef, Moment, text_of};

/// How long an orderly end drains, unless [`GroupChild::drain_within`] says otherwise.
pub(super) const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// How long a group that is full is left alone before it is given more of what the one before did not finish.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Why a group could not be made.
pub(super) type MakeError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Made<J, O> = Pin<Box<dyn Future<Output = Result<GroupBuilder<J, O>, MakeError>>>>;

/// Says what each group is made of.
pub(super) type Make<J, O> = Arc<dyn Fn() -> Made<J, O> + Send + Sync>;

/// What the lives of one child and its handles share.
pub(super) struct Settings<J> {
    pub(super) drain_within: Mutex<Duration>,
    pub(super) unfinished: Mutex<VecDeque<Unfinished<J>>>,
    /// Something has come into `unfinished`.
    pub(super) came: Notify,
}

/// A job that a group did not finish.
pub(super) struct Unfinished<J> {
    pub(super) job: JobRef<J>,
    /// When it was handed back, by the clock of that group.
    pub(super) at: Moment,
}

/// The actor that owns a supervised group. Only its handle is for others.
pub struct GroupRunner<J: Send + Sync + 'static, O: Send + 'static> {
    pub(super) make: Make<J, O>,
    pub(super) settings: Arc<Settings<J>>,
    /// `None` before it is up, and from the beginning of its end.
    pub(super) group: Option<Group<J, O>>,
}

/// Give me the group. `None` if its end has begun.
pub(super) struct AskGroup<J, O>(std::marker::PhantomData<fn(J) -> O>);

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
pub(super) fn open<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<J: Send + Sync + 'static, O: Send + 'static> fmt::Debug for GroupRunner<J, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupRunner").field("group", &self.group).finish()
    }
}
