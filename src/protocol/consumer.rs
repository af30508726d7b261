//! What is said to a consumer, what a consumer says, and the three doors through which a consumer can come in.
//!
//! ```text
//! supervisor ──DeliverBatch──▶ stock shell ──&Delivery──▶ Consumer          (door 1: an async method)
//! supervisor ──Deliver───────▶ any actix actor                              (door 2: settles each delivery itself)
//! supervisor ──DeliverBatch──▶ stock shell ──&mut Vec<Deliver>──▶ BatchConsumer (door 3: many at once)
//! consumers  ──Settlement────▶ SettleQueue ──SettlesQueued──▶ supervisor
//! ```

use std::future::{Future, ready};

use actix::{Actor, Handler};

use super::{ConsumerInfo, Deliver, Delivery};
use crate::types::Failure;

/// ConsumerAddr 1: a consumer as a type with an async method.
///
/// One delivery at a time: `consume` is called with the next delivery after the one before has ended. Its future need not
/// be `Send`; it lives on the consumer's arbiter.
///
/// **Panics** in any method end this consumer; a fresh one from the factory takes its place and the delivery in hand is
/// tried again. **Cancellation**: the future is dropped at its current `await` when the consumer is ended (deadline, scale
/// down past its time, stop).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer",
    note = "implement `Consumer`, or pass an async closure, `async |delivery: &Delivery<Job>| Ok(output)`, to `consume_with`, or an actix actor to `actor_consumers`"
)]
pub trait Consumer: 'static {
    /// What the producers send.
    type Job: Send + Sync + 'static;
    /// What the producers get back.
    type Output: Send + 'static;

    /// Called once before the first delivery. An error is a failed start and spends the restart budget.
    fn started(&mut self, consumer: &ConsumerInfo) -> impl Future<Output = Result<(), Failure>> {
        let _ = consumer;
        ready(Ok(()))
    }

    /// Does one job.
    ///
    /// # Errors
    /// A [`Failure`] says whether the job is tried again. The consumer itself lives on.
    fn consume(
        &mut self,
        delivery: &Delivery<'_, Self::Job>,
    ) -> impl Future<Output = Result<Self::Output, Failure>>;

    /// Called once when the group needs this consumer no more, after its last delivery: it was scaled away, or the group has
    /// drained. Here it flushes and closes. Not after a panic, a missed deadline or a [`stop`](crate::Group::stop), which wait
    /// for nothing.
    ///
    /// It may take as long as `restart.stop_deadline_ms` says; then, and at the deadline of the drain, it is dropped at its
    /// current `await`. A failure and a limit that passes are told as the cause of the consumer's end; jobs that it has done
    /// stay done.
    fn stopping(&mut self) -> impl Future<Output = Result<(), Failure>> {
        ready(Ok(()))
    }
}

/// ConsumerAddr 3: a consumer that takes many deliveries at once.
///
/// A batch closes when it is full, when the time that was set at the builder has passed since the consumer began to gather
/// it, or when nothing more comes: see [`BatchSize`](crate::BatchSize). Each delivery is settled on its own. After `Ok`, deliveries left in `batch` count as abandoned; after `Err`,
/// they all fail with that failure.
///
/// **Panics** in any method end this consumer; a fresh one takes its place. What it had settled counts; every other delivery
/// of the batch had begun, so all of them cost an attempt, and next time each of them is delivered alone, to find the one.
/// **Cancellation**: as with a [`Consumer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not consume batches",
    note = "implement `BatchConsumer`; a type that does one job at a time is a `Consumer`, for `consumers`"
)]
pub trait BatchConsumer: 'static {
    /// What the producers send.
    type Job: Send + Sync + 'static;
    /// What the producers get back.
    type Output: Send + 'static;

    /// Called once before the first batch. An error is a failed start and spends the restart budget.
    fn started(&mut self, consumer: &ConsumerInfo) -> impl Future<Output = Result<(), Failure>> {
        let _ = consumer;
        ready(Ok(()))
    }

    /// Does a batch of jobs; takes the deliveries out of `batch` as it settles them.
    ///
    /// # Errors
    /// A [`Failure`] for every delivery that is still in `batch`.
    fn consume(
        &mut self,
        batch: &mut Vec<Deliver<Self::Job, Self::Output>>,
    ) -> impl Future<Output = Result<(), Failure>>;

    /// Called once when the group needs this consumer no more, after its last batch: it was scaled away, or the group has
    /// drained. Here it flushes and closes. Not after a panic, a missed deadline or a [`stop`](crate::Group::stop), which wait
    /// for nothing.
    ///
    /// It may take as long as `restart.stop_deadline_ms` says; then, and at the deadline of the drain, it is dropped at its
    /// current `await`. A failure and a limit that passes are told as the cause of the consumer's end; jobs that it has done
    /// stay done.
    fn stopping(&mut self) -> impl Future<Output = Result<(), Failure>> {
        ready(Ok(()))
    }
}

/// ConsumerAddr 2: every actix actor that handles [`Deliver`] is a consumer; there is nothing else to implement.
///
/// Deliveries come one in a message, as many as its prefetch window has room for, whether or not earlier ones are settled.
/// The window begins at 16 and grows while deliveries come back fast; set `window.min` if the actor should work on more at
/// once. **Panics** inside the actor end it. The delivery that was in the hands of the code that panicked costs an
/// attempt; if none was, every delivery does that the actor had looked at and not settled. **Cancellation**: the actor's
/// futures are dropped where they wait when it is ended.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer actor for jobs of type `{J}` with output `{O}`",
    note = "a consumer actor has `type Context = actix::Context<Self>` and implements `Handler<Deliver<{J}, {O}>>`"
)]
pub trait ConsumerActor<J: Send + Sync + 'static, O: Send + 'static>:
    Actor<Context = actix::Context<Self>> + Handler<Deliver<J, O>>
{
}

impl<J: Send + Sync + 'static, O: Send + 'static, A> ConsumerActor<J, O> for A where
    A: Actor<Context = actix::Context<Self>> + Handler<Deliver<J, O>>
{
}
