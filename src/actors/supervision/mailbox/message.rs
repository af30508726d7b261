//! A message in the mailbox, and what becomes of it when it cannot be delivered.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;

use std::sync::Arc;

use actix::{Actor, Context};

use crate::actors::cell::guard_of_a_call;
use crate::actors::supervision::errors::NotDelivered;

use super::LifeNotes;

/// Called with each message that nobody waits for and that can no longer be delivered.
pub(in crate::actors::supervision) type Undelivered = Arc<dyn Fn(UndeliveredMessage) + Send + Sync>;

/// A message that nobody waits for and that can no longer be delivered.
#[derive(Debug)]
#[non_exhaustive]
pub struct UndeliveredMessage {
    /// The message; `downcast` gives it back as what it was.
    pub message: Box<dyn Any + Send>,
    /// The type of the message.
    pub message_type: &'static str,
    /// Why it was not delivered.
    pub reason: NotDelivered,
}

/// A message of any type for actors of type `A`.
pub(in crate::actors::supervision) trait QueuedMessage<A: Actor>:
    Send
{
    /// Has the actor handle it.
    fn open(self: Box<Self>, actor: &mut A, context: &mut Context<A>, notes: &Rc<LifeNotes<A>>)
    where
        A: Actor<Context = Context<A>>;

    /// Gives it back to whoever waits for it, or else to `undelivered`.
    fn refuse(self: Box<Self>, why: &NotDelivered, undelivered: Option<&Undelivered>);
}

/// Gives back what waited, in order. Code of the user runs in here, the hook and the drop of a message: a panic in it costs
/// that one message, and neither those behind it nor whoever gives them back.
pub(super) fn refuse_all<A: Actor>(
    waiting: VecDeque<Box<dyn QueuedMessage<A>>>,
    why: &NotDelivered,
    undelivered: Option<&Undelivered>,
) {
    for parcel in waiting {
        if let Err(report) = guard_of_a_call(|| parcel.refuse(why, undelivered)) {
            tracing::warn!(%report, "a panic over a message that cannot be delivered");
        }
    }
}
