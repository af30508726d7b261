//! The word by which the writing thread wakes the actor.

use actix::Message;

/// To the actor: something can be leased, or there are news.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Wake;
