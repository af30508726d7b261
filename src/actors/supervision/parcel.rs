//! A message on its way to a supervised actor, and what becomes of it.

use std::any::{Any, type_name};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::dev::{MessageResponse, OneshotSender};
use actix::{
    Actor, ActorFuture, AsyncContext, AtomicResponse, Context, Handler, Message, ResponseActFuture,
    ResponseFuture,
};

use super::errors::NotDelivered;
use super::mailbox::{LifeNotes, QueuedMessage, Undelivered, UndeliveredMessage};
use crate::actors::cell::guard_of_a_task;
use crate::actors::fair_time::{FairSleep, within_fair_time};
use crate::types::{Cause, Guarded, call_guarded, drop_guarded};

/// What the sender of a message can learn of it beside the answer.
pub(super) struct Fate<M> {
    /// The life that took it in hand; 0 before.
    life: AtomicU64,
    /// The message, if it came back undelivered, or a copy of it was kept and its life ended.
    back: Mutex<Option<(Guarded<M>, Option<NotDelivered>)>>,
}

impl<M> Fate<M> {
    pub(super) fn new() -> Self {
        Self {
            life: AtomicU64::new(0),
            back: Mutex::new(None),
        }
    }

    pub(super) fn life(&self) -> u64 {
        self.life.load(Ordering::Acquire)
    }

    pub(super) fn take_back(&self) -> Option<(M, Option<NotDelivered>)> {
        let back = self.back.lock().unwrap_or_else(PoisonError::into_inner).take();
        back.map(|(message, why)| (message.into_inner(), why))
    }

    fn put_back(&self, message: M, why: Option<NotDelivered>) {
        let back = Some((Guarded::new(message), why));
        let before = std::mem::replace(
            &mut *self.back.lock().unwrap_or_else(PoisonError::into_inner),
            back,
        );
        // After the lock: it is a message of the user.
        drop(before);
    }
}

/// Makes the copy of a message that is kept while the message is in hand.
pub(super) type Keep<M> = fn(&M) -> M;

/// Where the answer goes, and what the sender can learn beside it.
pub(super) type AnswerTo<M> = (OneshotSender<<M as Message>::Result>, Arc<Fate<M>>);

/// A message of type `M`.
pub(super) struct Sent<M: Message> {
    pub(super) message: M,
    pub(super) answer: Option<AnswerTo<M>>,
    pub(super) keep: Option<Keep<M>>,
}

impl<A, M> QueuedMessage<A> for Sent<M>
where
    A: Handler<M> + Actor<Context = Context<A>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn open(self: Box<Self>, actor: &mut A, context: &mut Context<A>, notes: &Rc<LifeNotes<A>>) {
        let Self {
            message,
            answer,
            keep,
        } = *self;
        // As in actix: a message whose sender has stopped waiting before it was taken in hand is not handled.
        if answer.as_ref().is_some_and(|(sender, _)| sender.is_closed()) {
            return drop_guarded(message);
        }
        let (sender, fate) = answer.unzip();
        if let Some(fate) = &fate {
            fate.life.store(notes.life, Ordering::Release);
        }
        notes.take_in_hand(type_name::<M>());
        // A panic must not drop the sender's end before the cause is known: the guard keeps it until then. The copy is made by
        // code of the user as well, so it comes after the guard.
        let mut rescue = Rescue { sender, notes };
        if let (Some(keep), Some(fate)) = (keep, &fate) {
            fate.put_back(keep(&message), None);
        }
        drop(fate);
        let response = <A as Handler<M>>::handle(actor, message, context);
        let sender = rescue.sender.take();
        respond::<A, M>(response, context, sender, notes);
        notes.mailbox.progressed();
    }

    fn refuse(self: Box<Self>, why: &NotDelivered, undelivered: Option<&Undelivered>) {
        let Self { message, answer, .. } = *self;
        match answer {
            // First the message is laid back, then the channel closes and its sender looks.
            Some((sender, fate)) if !sender.is_closed() => fate.put_back(message, Some(why.clone())),
            _ => {
                let Some(undelivered) = undelivered else {
                    return drop_guarded(message);
                };
                undelivered(UndeliveredMessage {
                    message: Box::new(message),
                    message_type: type_name::<M>(),
                    reason: why.clone(),
                });
            }
        }
    }
}

struct Rescue<'n, A: Actor<Context = Context<A>>, R: Send + 'static> {
    sender: Option<OneshotSender<R>>,
    notes: &'n LifeNotes<A>,
}

impl<A: Actor<Context = Context<A>>, R: Send + 'static> Drop for Rescue<'_, A, R> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.notes.keep_until_the_end(Box::new(sender));
        }
    }
}

/// Sees to the answer. The three kinds of futures are looked at more closely than actix does, so that a panic or a deadline
/// inside of them is known with its message; every other kind is actix's own matter.
fn respond<A, M>(
    response: <A as Handler<M>>::Result,
    context: &mut Context<A>,
    mut sender: Option<OneshotSender<M::Result>>,
    notes: &Rc<LifeNotes<A>>,
) where
    A: Handler<M> + Actor<Context = Context<A>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let mut response = Some(response);
    let any: &mut dyn Any = &mut response;
    if any.is::<Option<AtomicResponse<A, M::Result>>>() {
        // It stays in hand: nothing else of this actor runs until it is done.
    } else if let Some(future) = any.downcast_mut::<Option<ResponseActFuture<A, M::Result>>>() {
        if let Some(future) = future.take() {
            notes.let_go();
            context.spawn(Answering::new(future, type_name::<M>(), sender.take(), notes));
        }
    } else if let Some(future) = any.downcast_mut::<Option<ResponseFuture<M::Result>>>() {
        if let Some(future) = future.take() {
            notes.let_go();
            answer_apart(future, type_name::<M>(), sender.take(), notes);
        }
    } else {
        notes.let_go();
    }
    if let Some(response) = response {
        response.handle(context, sender);
    }
}

/// A future of the actor that works on an answer.
struct Answering<A: Actor<Context = Context<A>>, R> {
    future: ResponseActFuture<A, R>,
    message: &'static str,
    sender: Option<OneshotSender<R>>,
    notes: Rc<LifeNotes<A>>,
    deadline: Option<FairSleep>,
}

impl<A: Actor<Context = Context<A>>, R> Answering<A, R> {
    fn new(
        future: ResponseActFuture<A, R>,
        message: &'static str,
        sender: Option<OneshotSender<R>>,
        notes: &Rc<LifeNotes<A>>,
    ) -> Self {
        notes.mailbox.answer_begins();
        let deadline = notes.deadline.map(FairSleep::new);
        Self {
            future,
            message,
            sender,
            notes: Rc::clone(notes),
            deadline,
        }
    }
}

impl<A: Actor<Context = Context<A>>, R> Drop for Answering<A, R> {
    fn drop(&mut self) {
        self.notes.mailbox.answer_ends();
    }
}

// The future is boxed and nothing else must stay in place.
impl<A: Actor<Context = Context<A>>, R> Unpin for Answering<A, R> {}

impl<A: Actor<Context = Context<A>>, R: 'static> ActorFuture<A> for Answering<A, R> {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        context: &mut Context<A>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        let this = &mut *self;
        this.notes.take_in_hand(this.message);
        let polled = this.future.as_mut().poll(actor, context, task);
        this.notes.let_go();
        match polled {
            std::task::Poll::Ready(answer) => {
                if let Some(sender) = this.sender.take() {
                    send_answer(sender, answer);
                }
                std::task::Poll::Ready(())
            }
            std::task::Poll::Pending => {
                if let Some(deadline) = &mut this.deadline
                    && Pin::new(deadline).poll(task).is_ready()
                {
                    this.deadline = None;
                    this.notes.deadline_passed(this.message);
                }
                std::task::Poll::Pending
            }
        }
    }
}

/// Gives the answer to whoever waits; if nobody does any more, it is dropped here.
fn send_answer<R>(sender: OneshotSender<R>, answer: R) {
    call_guarded("the answer to a message", || {
        if let Err(answer) = sender.send(answer) {
            drop_guarded(answer);
        }
    });
}

/// Runs a `ResponseFuture` as actix does, on its own and beside the actor, but under a guard: a panic or a deadline in it
/// is the end of this life of the actor.
fn answer_apart<A, R>(
    future: ResponseFuture<R>,
    message: &'static str,
    sender: Option<OneshotSender<R>>,
    notes: &Rc<LifeNotes<A>>,
) where
    A: Actor<Context = Context<A>>,
    R: Send + 'static,
{
    let notes = Rc::clone(notes);
    notes.mailbox.answer_begins();
    actix_rt::spawn(async move {
        let work = guard_of_a_task(notes.quiet, future);
        let ended = match notes.deadline {
            Some(deadline) => within_fair_time(deadline, work).await,
            None => Ok(work.await),
        };
        notes.mailbox.answer_ends();
        let cause = match ended {
            Ok(Ok(answer)) => {
                if let Some(sender) = sender {
                    send_answer(sender, answer);
                }
                return;
            }
            Ok(Err(report)) => Cause::Panicked(report),
            Err(_) => notes.deadline_cause(),
        };
        if let Some(sender) = sender {
            notes.keep_until_the_end(Box::new(sender));
        }
        notes.fault(cause, message);
    });
}
