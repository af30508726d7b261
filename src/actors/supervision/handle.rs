//! Handles: how others reach a supervised actor, over all of its lives.

use std::fmt;
use std::sync::{Arc, Weak};

use actix::{Actor, Context, Handler, Message};
use tokio::sync::{broadcast, oneshot};

use super::errors::SendError;
use super::mailbox::PersistentMailbox;
use super::parcel::{Fate, Keep, Sent};
use super::recipient::{Answer, Recipient, Takes};
use super::reply::{Reply, ReplyState};
use crate::types::{Cause, Down, Guarded};

/// A handle of a supervised actor. It stays valid over restarts; clones are cheap and reach the same actor.
///
/// Messages are handled one at a time in the order in which they arrived, whatever happens to the actor meanwhile: what
/// waits when a life ends is handled by the next one. What was in hand is lost with its life; its sender is told with
/// [`SendError::Died`].
///
/// | | waits for the answer | refused when the actor is up | refused during a restart |
/// |---|---|---|---|
/// | [`send`](Self::send) | yes | past the limit | past the stash |
/// | [`do_send`](Self::do_send) | no | past the limit | past the stash |
/// | [`try_send`](Self::try_send) | no | past the capacity | past the stash |
///
/// Messages that the actor sends to itself (`ctx.notify`, `ctx.address()`) go through actix's own mailbox, not through
/// here: they end with the life, and between them and messages sent here there is no order.
pub struct Handle<A: Actor> {
    pub(super) mailbox: Arc<PersistentMailbox<A>>,
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Arc::clone(&self.mailbox),
        }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.path())
    }
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    /// The path of the actor from the root of its tree, `shop/till`; its name alone before it is in a tree.
    pub fn path(&self) -> Arc<str> {
        self.mailbox.path()
    }

    /// Sends a message and waits for the answer. It is on its way when this returns; the future only waits.
    ///
    /// Dropping the future before the message was taken in hand takes the message back; after that the answer is dropped.
    ///
    /// # Errors
    /// [`SendError`], with the message wherever it still exists.
    pub fn send<M>(&self, message: M) -> Reply<A, M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.send_with(message, None)
    }

    /// [`send`](Self::send) with a copy of the message to keep: if the actor dies of it, the copy comes back in
    /// [`SendError::Died`], to be looked at or sent again.
    pub fn send_kept<M>(&self, message: M) -> Reply<A, M>
    where
        A: Handler<M>,
        M: Message + Clone + Send + 'static,
        M::Result: Send,
    {
        self.send_with(message, Some(M::clone))
    }

    fn send_with<M>(&self, message: M, keep: Option<Keep<M>>) -> Reply<A, M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (sender, answer) = oneshot::channel();
        let fate = Arc::new(Fate::new());
        let parcel = Box::new(Sent {
            message,
            answer: Some((sender, Arc::clone(&fate))),
            keep,
        });
        let state = match self.mailbox.push(parcel, false) {
            Ok(()) => ReplyState::Waiting {
                answer,
                fate,
                mailbox: Arc::clone(&self.mailbox),
            },
            Err((parcel, reason)) => ReplyState::Refused(Some((parcel.message, reason))),
        };
        Reply { state }
    }

    /// Sends a message and waits for nothing.
    ///
    /// # Errors
    /// [`SendError::NotDelivered`] with the message, if it cannot even wait. A message that waited and can then not be
    /// delivered goes to the child's [`on_undelivered`](super::Child::on_undelivered).
    pub fn do_send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.put(message, false)
    }

    /// Sends a message if fewer than the child's [`capacity`](super::Child::capacity) wait; waits for nothing.
    ///
    /// # Errors
    /// As [`do_send`](Self::do_send).
    pub fn try_send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.put(message, true)
    }

    fn put<M>(&self, message: M, only_below_capacity: bool) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let parcel = Box::new(Sent {
            message,
            answer: None,
            keep: None,
        });
        self.mailbox
            .push(parcel, only_below_capacity)
            .map_err(|(parcel, reason)| SendError::NotDelivered {
                message: parcel.message,
                reason,
            })
    }

    /// A handle for one type of message, which does not name the type of the actor.
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Recipient {
            to: Arc::new(self.clone()),
        }
    }

    /// A handle that does not keep the waiting messages alive after the actor's supervisor is gone.
    pub fn downgrade(&self) -> WeakHandle<A> {
        WeakHandle {
            mailbox: Arc::downgrade(&self.mailbox),
        }
    }

    /// How many messages wait; the one in hand not counted.
    pub fn waiting(&self) -> usize {
        self.mailbox.len()
    }

    /// Whether the actor has ended and is not started again by itself.
    pub fn is_over(&self) -> bool {
        self.mailbox.is_over()
    }

    /// Hears of the end of each life from now on: OTP's monitor, for all lives.
    pub fn monitor(&self) -> Monitor {
        Monitor {
            downs: self.mailbox.monitor(),
        }
    }

    /// Calls `listener` at the end of each life, on the thread on which the life ended, until it returns `false`. A panic
    /// in it is logged and ends its calls.
    pub fn on_down(&self, listener: impl FnMut(&Arc<Down>) -> bool + Send + 'static) {
        self.mailbox.listen(Guarded::new(Box::new(listener)));
    }
}

/// Links two actors, as in OTP: a life of one that ends by a fault ends the present life of the other as well, with
/// [`Cause::Linked`]; whether they are started again is their supervisors' matter. An end of its own will, and one that a
/// supervisor asked for, does not count. The link holds until one of the two is over for good.
///
/// Only actors that are children of a running supervisor can be ended; a link to any other waits.
pub fn link<A, B>(one: &Handle<A>, other: &Handle<B>)
where
    A: Actor<Context = Context<A>>,
    B: Actor<Context = Context<B>>,
{
    one_way(one, other);
    one_way(other, one);
}

fn one_way<A, B>(from: &Handle<A>, to: &Handle<B>)
where
    A: Actor<Context = Context<A>>,
    B: Actor<Context = Context<B>>,
{
    let to = to.downgrade();
    from.on_down(move |down| {
        let Some(to) = to.upgrade() else { return false };
        if !matches!(down.cause, Cause::Stopped | Cause::Killed | Cause::Linked(_)) {
            to.mailbox.end_by_link(Arc::clone(&down.child));
        }
        !to.is_over()
    });
}

/// A handle that does not keep the waiting messages alive.
pub struct WeakHandle<A: Actor> {
    mailbox: Weak<PersistentMailbox<A>>,
}

impl<A: Actor> Clone for WeakHandle<A> {
    fn clone(&self) -> Self {
        Self {
            mailbox: Weak::clone(&self.mailbox),
        }
    }
}

impl<A: Actor> fmt::Debug for WeakHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakHandle")
    }
}

impl<A: Actor> WeakHandle<A> {
    /// The handle, unless the actor's supervisor and all other handles are gone.
    pub fn upgrade(&self) -> Option<Handle<A>> {
        self.mailbox.upgrade().map(|mailbox| Handle { mailbox })
    }
}

impl<A, M> Takes<M> for Handle<A>
where
    A: Handler<M> + Actor<Context = Context<A>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn send(&self, message: M) -> Answer<M> {
        Box::pin(Self::send(self, message))
    }

    fn put(&self, message: M, only_below_capacity: bool) -> Result<(), SendError<M>> {
        Self::put(self, message, only_below_capacity)
    }
}

/// Hears of the end of each life of an actor. Bounded: whoever is too slow misses the oldest ones.
#[derive(Debug)]
pub struct Monitor {
    downs: broadcast::Receiver<Arc<Down>>,
}

impl Monitor {
    /// The next end. `None` when the actor will never live again: its tree has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Arc<Down>> {
        loop {
            match self.downs.recv().await {
                Ok(down) => return Some(down),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a monitor was too slow");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next end if one was told already.
    pub fn try_next(&mut self) -> Option<Arc<Down>> {
        loop {
            match self.downs.try_recv() {
                Ok(down) => return Some(down),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
