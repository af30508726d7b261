//! The answer to a message that was sent to a supervised actor.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use actix::{Actor, Context, Message};
use tokio::sync::oneshot;

use super::errors::{NotDelivered, SendError};
use super::mailbox::PersistentMailbox;
use super::parcel::Fate;

/// An answer to come.
#[must_use = "the message is taken back if nobody waits for the answer"]
pub struct Reply<A: Actor, M: Message> {
    pub(super) state: ReplyState<A, M>,
}

pub(super) enum ReplyState<A: Actor, M: Message> {
    Waiting {
        answer: oneshot::Receiver<M::Result>,
        fate: Arc<Fate<M>>,
        mailbox: Arc<PersistentMailbox<A>>,
    },
    Refused(Option<(M, NotDelivered)>),
}

impl<A: Actor, M: Message> fmt::Debug for Reply<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

// Nothing in it must stay in place; messages are only moved.
impl<A: Actor, M: Message> Unpin for Reply<A, M> {}

impl<A: Actor<Context = Context<A>>, M: Message> Future for Reply<A, M> {
    type Output = Result<M::Result, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            ReplyState::Waiting {
                answer,
                fate,
                mailbox,
            } => {
                let answer = std::task::ready!(Pin::new(answer).poll(task));
                Poll::Ready(answer.map_err(|_| why_no_answer(fate, mailbox)))
            }
            ReplyState::Refused(refused) => match refused.take() {
                Some((message, reason)) => Poll::Ready(Err(SendError::NotDelivered { message, reason })),
                None => Poll::Ready(Err(SendError::NoAnswer)),
            },
        }
    }
}

pub(super) fn why_no_answer<A, M>(fate: &Fate<M>, mailbox: &PersistentMailbox<A>) -> SendError<M>
where
    A: Actor<Context = Context<A>>,
    M: Message,
{
    let life = fate.life();
    match fate.take_back() {
        Some((message, Some(reason))) => SendError::NotDelivered { message, reason },
        kept => match mailbox.down_of(life) {
            Some(down) if down.life == life => SendError::Died {
                down,
                kept: kept.map(|(message, _)| message),
            },
            _ => SendError::NoAnswer,
        },
    }
}
